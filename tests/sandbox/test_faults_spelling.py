from __future__ import annotations

from datetime import timedelta

import pytest

from worker.sandbox.fault_book import FaultBook, Strike
from worker.sandbox.faults import FAULTS, Fault, FaultRule, UnknownFault, parse_fault, parse_faults
from worker.sandbox.kinds import CONTAINERS, FACTS, ObjectKind, read_target
from worker.sandbox.options import (
    DIALECTS,
    Dialect,
    MalformedRate,
    SandboxOptions,
    UnknownDialect,
    parse_dialect,
    parse_rate,
)
from worker.sandbox.throttle import TokenBucket

CONVERSATION = "/v1/conversations/conv_1"
ITEM = "/v1/conversations/conv_1/items/msg_1"


def strikes(text: str, method: str, path: str) -> bool:
    return parse_fault(text).strikes(read_target(method, path))


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_is_described_and_reads_back_as_it_is_written(fault: Fault) -> None:
    assert FAULTS[fault].summary
    assert str(parse_fault(fault.value)) == fault.value
    assert str(parse_fault(f"{fault}:conversation@delete*2")) == f"{fault}:conversation@delete*2"


def test_a_rule_carries_kind_method_and_count() -> None:
    assert parse_fault("lost-reply:conversation@post*1") == FaultRule(
        fault=Fault.LOST_REPLY, kind=ObjectKind.CONVERSATION, method="POST", count=1
    )


@pytest.mark.parametrize(
    ("text", "repair"),
    [
        ("lost-replies", "lying-200"),
        ("", "Known faults"),
        ("lost-reply:assistant", "conversation"),
        ("lost-reply@patch", "delete"),
        ("lying-200@get", "DELETE only"),
        ("lost-reply*x", "name[:kind][@method][*count]"),
    ],
)
def test_a_fault_that_is_not_known_is_refused_with_what_is(text: str, repair: str) -> None:
    with pytest.raises(UnknownFault) as refused:
        parse_fault(text)
    assert repair in refused.value.repair


def test_a_deletion_fault_without_a_method_spares_everything_but_delete() -> None:
    assert strikes("lost-reply", "DELETE", CONVERSATION)
    assert not strikes("lost-reply", "GET", CONVERSATION)
    assert strikes("lost-reply@post", "POST", "/v1/conversations")


def test_a_container_kind_covers_its_items_only_where_every_request_is_concerned() -> None:
    assert strikes("endpoint-retired:conversation", "GET", ITEM)
    assert not strikes("lost-reply:conversation", "DELETE", ITEM)
    assert strikes("lost-reply:item", "DELETE", ITEM)
    assert not strikes("endpoint-retired:thread", "GET", CONVERSATION)


def test_a_bare_fault_concerns_all_kinds_and_no_other_address() -> None:
    paths = [f"/v1/{FACTS[kind].path}" for kind in CONTAINERS]
    assert all(strikes("endpoint-retired", "POST", path) for path in paths)
    assert not strikes("endpoint-retired", "GET", "/v1/models")


def test_a_fault_about_one_object_spares_making_and_listing() -> None:
    assert strikes("object-404", "GET", CONVERSATION)
    assert strikes("object-404", "GET", f"{CONVERSATION}/items")
    assert not strikes("object-404", "POST", "/v1/conversations")
    assert not strikes("wrong-id", "GET", "/v1/files")
    assert strikes("everything-404", "POST", "/v1/conversations")


@pytest.mark.parametrize(
    ("fault", "path", "missing"),
    [
        ("object-404", CONVERSATION, (ObjectKind.CONVERSATION, "conv_1")),
        ("object-404", ITEM, (ObjectKind.ITEM, "msg_1")),
        ("object-404:item", ITEM, (ObjectKind.ITEM, "msg_1")),
        ("object-404:conversation", ITEM, (ObjectKind.CONVERSATION, "conv_1")),
        ("object-404", f"{CONVERSATION}/items", (ObjectKind.CONVERSATION, "conv_1")),
        ("everything-404", "/v1/conversations", None),
    ],
)
def test_an_absent_object_is_the_one_that_the_fault_and_the_address_name(
    fault: str, path: str, missing: tuple[ObjectKind, str] | None
) -> None:
    assert parse_fault(fault).missing(read_target("GET", path)) == missing


def test_a_kind_of_two_words_can_be_written() -> None:
    assert parse_fault("lost-reply:vector_store*1").kind is ObjectKind.VECTOR_STORE
    assert strikes("endpoint-retired:chatkit_thread", "GET", "/v1/chatkit/threads/cthr_1/items")


def test_a_counted_fault_ends_and_the_next_rule_takes_over() -> None:
    book = FaultBook(parse_faults(["lost-reply:conversation*1", "error-500@delete"]))
    target = read_target("DELETE", CONVERSATION)
    assert [book.strike(target).fault for _ in range(3)] == [
        Fault.LOST_REPLY,
        Fault.ERROR_500,
        Fault.ERROR_500,
    ]


def test_a_rule_can_let_requests_pass_first_and_name_one_object() -> None:
    rule = FaultRule(fault=Fault.ERROR_500, method="GET", object_id="conv_1", skip=1, count=1)
    book = FaultBook([rule])
    mine, other = read_target("GET", CONVERSATION), read_target("GET", "/v1/conversations/conv_2")
    assert [book.strike(target).fault for target in (other, mine, other, mine, mine)] == [
        None,
        None,
        None,
        Fault.ERROR_500,
        None,
    ]


@pytest.mark.parametrize("order", [["slow", "error-500"], ["error-500", "slow"]])
def test_slow_comes_on_top_of_another_fault_in_either_order(order: list[str]) -> None:
    book = FaultBook(parse_faults(order))
    assert book.strike(read_target("GET", CONVERSATION)) == Strike(fault=Fault.ERROR_500, slow=True)


def test_a_rate_per_minute_allows_one_second_of_burst() -> None:
    rate = parse_rate("300/min")
    assert (rate.limit, rate.per, rate.burst) == (300, timedelta(minutes=1), 5)
    assert parse_rate("6/min").burst == 1


@pytest.mark.parametrize("text", ["300", "0/min", "-1/s", "10/day", "ten/min", ""])
def test_a_malformed_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(MalformedRate, match="300/min"):
        parse_rate(text)


def test_a_token_bucket_refills_evenly_and_says_how_long_to_wait() -> None:
    clock = [0.0]
    bucket = TokenBucket(parse_rate("120/min"), lambda: clock[0])
    assert [bucket.take().wait for _ in range(3)] == [0, 0, 0.5]
    clock[0] = 0.5
    assert [bucket.take().wait for _ in range(2)] == [0, 0.5]
    clock[0] = 100.0
    assert [bucket.take().wait for _ in range(3)] == [0, 0, 0.5]


@pytest.mark.parametrize("dialect", list(DIALECTS))
def test_every_dialect_is_described_and_read_by_its_name(dialect: Dialect) -> None:
    assert DIALECTS[dialect]
    assert parse_dialect(f" {dialect} ") is dialect


@pytest.mark.parametrize("text", ["foundry", "klingon", ""])
def test_a_dialect_that_cannot_be_chosen_is_refused_with_those_that_can(text: str) -> None:
    with pytest.raises(UnknownDialect) as refused:
        parse_dialect(text)
    assert "openai, detail, gateway" in refused.value.repair


def test_options_do_not_show_the_keys() -> None:
    assert "sk-hidden" not in repr(SandboxOptions(api_keys=frozenset({"sk-hidden"})))
