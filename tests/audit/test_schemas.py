"""Every entry type has its fields, its bytes are those of RFC 8785, and nothing else gets into the log."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit.test_bodies import ENTRIES
from worker.audit import bodies
from worker.audit.actors import is_actor, key_actor, policy_actor, system_actor
from worker.audit.bodies import Graded, Plan, Tried
from worker.audit.entry import BodyRefused, Entry, EntryType
from worker.audit.envelope import MAX_ENVELOPE, Leaf, make_leaf
from worker.audit.reading import MAX_BODY
from worker.audit.schemas import SCHEMAS, flaw_in
from worker.audit.shapes import Either
from worker.model.decision import Decision, Erasure, Hold, HoldScope, Outcome, TagSelector
from worker.model.evidence import Class, Control, Grade, Observation, Pass, Step
from worker.model.ids import HoldId, ThreadId
from worker.model.receipt import LineStatus, OrderStatus
from worker.model.thread import Account, Kind, Thread
from worker.model.work import Stage

AT = datetime(2026, 11, 22, 8, tzinfo=UTC)
# DESIGN section 8, word for word, and `bundle.approved`, which came with the approvals of loosenings.
DESIGN = (
    "thread.registered|changed|withdrawn|retried|accepted notice.delivered delete.intended|spared "
    "thread.preread delete.answered thread.reread control.probed thread.graded delete.late_result "
    "hold.placed|released erasure.ordered|answered sweep.planned|blocked|approved "
    "bundle.activated|refused|approved switch.changed key.created|revoked|rotated log.sealed|pruned|epoch "
    "body.shredded export.made access.read"
)
LONG = '\U0001f9f5\\"\x01' * 5000
THREAD = Thread(
    id=ThreadId("thr_" + "0" * 36),
    kind=Kind.CONVERSATION,
    external_id="conv_" + "x" * 128,
    project="\u00fc" * 200,
    owner="\U0001f9f5" * 200,
    registered_at=AT,
    created_at=AT,
    ttl="P99Y",
    tags={f"{n}{'k' * 150}": "\U0001f9f5" * 200 for n in range(64)},
    account=Account(
        provider="openai", base_url="https://" + "h" * 390, organization="o" * 200, provider_project="p" * 200
    ),
)
SEEN = Observation(
    step=Step.BEFORE,
    seen=Class.PRESENT,
    at=AT,
    subject=LONG,
    status=200,
    request_id=LONG,
    latency_ms=2**40,
    body_sha256="0" * 64,
    provider_date=LONG,
    detail=LONG,
    provider_created_at=AT,
)
GRADED = bodies.thread_graded(
    THREAD,
    Graded(
        item="itm_" + "1" * 36,
        fence=7,
        sweep="swp_1",
        policy="p" * 100,
        bundle="sha256:" + "0" * 64,
        grade=Grade.CONFIRMED,
        tried=[
            Tried(
                item="itm_" + "1" * 36,
                fence=n,
                saw=Pass(
                    before=Class.PRESENT,
                    armed=True,
                    answer=Class.ACKNOWLEDGED,
                    afters=((Class.OBJECT_ABSENT, Control.ROUTE_ONLY),) * 9,
                ),
            )
            for n in range(30)
        ],
        observations=[replace(SEEN, step=step, seen=seen) for step in Step for seen in Class],
        deletion_semantics=LONG,
        attempts=30,
        credential="env:" + "K" * 76,
        eligible_at=AT,
    ),
    at=AT,
    actor="worker tenure/0",
)
SMALL = bodies.thread_graded(
    replace(THREAD, project="support-eu", owner="team"),
    Graded(
        item="itm_1",
        fence=1,
        sweep="swp_1",
        policy="p",
        bundle="sha256:0",
        grade=Grade.ABSENT,
        tried=[Tried(item="itm_1", fence=1, saw=Pass(before=Class.OBJECT_ABSENT, control=Control.GOOD))],
        observations=[Observation(step=Step.BEFORE, seen=Class.OBJECT_ABSENT, at=AT, status=404)],
        deletion_semantics="Items may remain.",
        attempts=1,
    ),
    at=AT,
    actor="worker tenure/0",
)
EXAMPLES = [*ENTRIES, SMALL]
BY_TYPE = {entry.type: entry for entry in EXAMPLES}


def written(entry: Entry) -> Leaf:
    return make_leaf(entry, entry_id="0" * 32, salt=bytes(16), pseudonym_key=b"k" * 32)


def test_the_types_are_those_of_the_design_and_each_has_a_schema_and_an_example() -> None:
    named = set()
    for group in DESIGN.split():
        noun, _, verbs = group.partition(".")
        named |= {f"{noun}.{verb}" for verb in verbs.split("|")}
    assert {one.value for one in EntryType} == named
    assert set(SCHEMAS) == set(EntryType) == set(BY_TYPE)


Path = tuple[str | int, ...]


def parts(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Yield every value of a body with the way to it."""
    yield path, value
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from parts(one, (*path, key))
    elif isinstance(value, list | tuple):
        for at, one in enumerate(value):
            yield from parts(one, (*path, at))


def plain(body: object) -> Any:
    """Return a body as plain dicts and lists that can be changed."""
    if isinstance(body, Mapping):
        return {key: plain(one) for key, one in body.items()}
    return [plain(one) for one in body] if isinstance(body, list | tuple) else deepcopy(body)


def changed(entry: Entry, path: Path, change: Callable[[Any, Any], None]) -> Entry:
    """Return the entry with something done to what holds the value at ``path``."""
    whole = {"": plain(entry.body)}
    holder: Any = whole
    *way, last = ("", *path)
    for step in way:
        holder = holder[step]
    change(holder, last)
    return replace(entry, body=whole[""])


def put(value: object) -> Callable[[Any, Any], None]:
    def change(holder: Any, last: Any) -> None:
        holder[last] = value

    return change


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
# rfc8785 stops one short of 2^53.
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)


@pytest.mark.parametrize("type_", EntryType)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_the_bytes_of_every_type_equal_those_of_rfc_8785(type_: EntryType, data: st.DataObject) -> None:
    entry = BY_TYPE[type_]
    for path, value in list(parts(plain(entry.body)))[1:]:
        if isinstance(value, bool) or not isinstance(value, str | int):
            continue
        tried = changed(entry, path, put(data.draw(TEXTS if isinstance(value, str) else INTEGERS)))
        # A word of a vocabulary, an instant or a digest stays as it is.
        if flaw_in(type_, tried.body) is None and len(json.dumps(tried.body)) < MAX_BODY - 1000:
            entry = tried
    leaf = written(entry)
    assert leaf.body == rfc8785.dumps(json.loads(leaf.body))
    assert leaf.envelope == rfc8785.dumps(json.loads(leaf.envelope))
    assert len(leaf.envelope) < 400
    assert {name: value for name, value in json.loads(leaf.body).items() if name in entry.body} == plain(
        entry.body
    )


def test_no_schema_lets_a_key_pass_that_two_languages_could_sort_otherwise() -> None:
    """What a schema took is written as it is: the profile's other rules are its checks' own."""
    for entry in EXAMPLES:
        for _, value in parts(plain(entry.body)):
            if isinstance(value, dict):
                assert all(re.fullmatch("[a-z0-9_.]{1,64}", key) for key in value)
    for schema in SCHEMAS.values():
        for form in (schema.having, schema.lacking) if isinstance(schema, Either) else (schema,):
            for key in (*form.required, *form.optional):
                assert re.fullmatch("[a-z0-9_.]{1,64}", key)


@pytest.mark.parametrize("entry", EXAMPLES, ids=lambda entry: entry.type.value)
def test_a_text_beyond_its_limit_and_half_a_surrogate_pair_are_refused(entry: Entry) -> None:
    for path, value in list(parts(plain(entry.body)))[1:]:
        if isinstance(value, str):
            for wrong in ("x" * 8193, "\ud800"):
                with pytest.raises(BodyRefused):
                    written(changed(entry, path, put(wrong)))


def test_a_mapping_that_is_no_dict_is_written_as_one() -> None:
    for entry in EXAMPLES:
        assert written(replace(entry, body=MappingProxyType(dict(entry.body)))).body == written(entry).body
    intended = BY_TYPE[EntryType.DELETE_INTENDED]
    decision = MappingProxyType(dict(intended.body)["decision"])  # type: ignore[arg-type]
    assert (
        written(replace(intended, body={**intended.body, "decision": decision})).body
        == written(intended).body
    )


@pytest.mark.parametrize("entry", EXAMPLES, ids=lambda entry: entry.type.value)
def test_a_field_that_nobody_knows_is_refused_at_every_depth(entry: Entry) -> None:
    for path, value in parts(plain(entry.body)):
        if isinstance(value, dict):
            spoiled = changed(entry, path, lambda holder, last: holder[last].update(zzz=1))
            with pytest.raises(BodyRefused, match="zzz"):
                written(spoiled)


@pytest.mark.parametrize("entry", EXAMPLES, ids=lambda entry: entry.type.value)
def test_a_field_that_is_missing_or_of_another_form_is_refused(entry: Entry) -> None:
    optional = SCHEMAS[entry.type].optional
    for name in set(entry.body) - set(optional):
        with pytest.raises(BodyRefused, match=f"lacks {name}"):
            written(changed(entry, (name,), lambda holder, last: holder.pop(last)))
    for path, _ in list(parts(plain(entry.body)))[1:]:
        for wrong in (1.0, float("nan"), b"bytes", AT, object(), {"zzz": 1}):
            with pytest.raises(BodyRefused):
                written(changed(entry, path, put(wrong)))


@pytest.mark.parametrize("entry", EXAMPLES, ids=lambda entry: entry.type.value)
def test_an_integer_beyond_2_to_the_53_and_a_truth_value_are_no_count(entry: Entry) -> None:
    for path, value in list(parts(plain(entry.body)))[1:]:
        if isinstance(value, int) and not isinstance(value, bool):
            for wrong in (2**53 + 1, -(2**53) - 1, True, "1", None):
                with pytest.raises(BodyRefused):
                    written(changed(entry, path, put(wrong)))


MANY = tuple(LONG[:400] + str(n) for n in range(5000))
HOLD = Hold(
    id=HoldId("hld_" + "0" * 36),
    matter="\U0001f9f5" * 200,
    scope=HoldScope(
        ids=MANY,
        owners=MANY,
        projects=MANY,
        tags=tuple(TagSelector(key=one, operator="In", values=MANY[:3]) for one in MANY[:100]),
    ),
)
DECISION = Decision(
    outcome=Outcome.HELD, decided_by="hold:" + "\U0001f9f5" * 200, eligible_at=AT, rules=MANY, bundle="b" * 80
)
PLAN = Plan(
    sweep="s" * 40,
    policy="p" * 200,
    slot="s" * 80,
    bundle="b" * 80,
    digest="d" * 80,
    planned=2**40,
    population=2**40,
)
HUGE: list[Entry] = [
    bodies.thread_registered(THREAD, at=AT, actor="key:1", children=MANY),
    bodies.thread_changed(
        THREAD, changes=dict.fromkeys(("owner", "tags", "ttl"), (LONG, LONG)), at=AT, actor="key:1"
    ),
    bodies.thread_withdrawn(THREAD, reason=LONG, at=AT, actor="key:1"),
    bodies.thread_retried(THREAD, reason=LONG, at=AT, actor="key:1"),
    bodies.thread_accepted(THREAD, reason=LONG, at=AT, actor="key:1"),
    bodies.notice_delivered(
        THREAD, channel=LONG, promised=None, policies=MANY, at=AT, actor="worker tenure/0"
    ),
    bodies.delete_intended(
        THREAD,
        bodies.Intent(
            item="i" * 40,
            fence=1,
            stage=Stage.CONTAINER,
            sweep="s" * 40,
            policy="p" * 200,
            decision=DECISION,
            before=SEEN,
            protection_version=2**40,
        ),
        at=AT,
        actor="worker tenure/0",
    ),
    bodies.delete_spared(
        THREAD, item="i" * 40, fence=1, decision=DECISION, reason=LONG, at=AT, actor="worker tenure/0"
    ),
    bodies.delete_answered(
        THREAD, item="i" * 40, fence=1, stage=Stage.CHILDREN, answer=SEEN, at=AT, actor="worker tenure/0"
    ),
    bodies.delete_late_result(
        THREAD, item="i" * 40, fence=1, stage=Stage.CHILDREN, late=SEEN, at=AT, actor="worker tenure/0"
    ),
    bodies.thread_preread(THREAD, item="i" * 40, fence=1, seen=SEEN, at=AT, actor="worker tenure/0"),
    bodies.thread_reread(
        THREAD, item="i" * 40, fence=1, seen=SEEN, control=Control.GOOD, at=AT, actor="worker tenure/0"
    ),
    bodies.control_probed(
        "p" * 200,
        kind=Kind.FILE,
        control=Control.GOOD,
        seen=[replace(SEEN, step=step, seen=seen) for step in Step for seen in Class],
        supports=MANY,
        at=AT,
        actor="worker tenure/0",
    ),
    GRADED,
    bodies.hold_placed(HOLD, reason=LONG, matched=2**40, too_late=MANY, uncertain=MANY, at=AT, actor="key:1"),
    bodies.hold_released(HOLD, reason=LONG, at=AT, actor="key:1"),
    bodies.erasure_ordered(
        Erasure(at=AT, owner="\U0001f9f5" * 200, ids=MANY),
        id="e" * 40,
        reason=LONG,
        threads=2**40,
        deadline=AT,
        at=AT,
        actor="key:1",
    ),
    bodies.erasure_answered(
        id="e" * 40,
        status=OrderStatus.ANSWERED,
        counts=dict.fromkeys(LineStatus, 2**40),
        threads=MANY,
        at=AT,
        actor="beat tenure/0",
    ),
    bodies.sweep_planned(PLAN, state="releasing", at=AT, actor="beat tenure/0"),
    bodies.sweep_blocked(PLAN, guard=LONG, at=AT, actor="beat tenure/0"),
    bodies.sweep_approved(PLAN, reason=LONG, at=AT, actor="key:1"),
    bodies.bundle_refused(digest=None, problems=MANY, at=AT, actor="beat tenure/0"),
    bodies.switch_changed(enabled=False, reason=LONG, at=AT, actor="key:1"),
    bodies.key_created(key="k", label=LONG, scopes=MANY, projects=MANY, at=AT, actor="key:1"),
    bodies.access_read(what=LONG, rows=1, at=AT, actor="key:1"),
]


@pytest.mark.parametrize("entry", HUGE, ids=lambda entry: entry.type.value)
def test_an_entry_can_be_recorded_however_much_there_is_to_say(entry: Entry) -> None:
    leaf = written(entry)
    assert len(leaf.body) <= MAX_BODY
    assert len(leaf.envelope) <= MAX_ENVELOPE


def test_a_list_that_was_cut_says_how_long_it_was_and_what_it_held() -> None:
    registered = json.loads(written(HUGE[0]).body)
    assert len(registered["children"]) < registered["children_count"] == 5000
    assert len(registered["children_sha256"]) == 64


@pytest.mark.parametrize(
    "actor",
    [
        key_actor("aB3xK9pQ2mZ7"),
        policy_actor("support-30d", commit="9fceb02d0ae598e95dc970b74767f19372d61af8", bundle=""),
        policy_actor("p.1_x", commit=None, bundle="sha256:" + "0" * 64),
        system_actor("worker:host-1.example:4242", "0.1.0"),
        system_actor("local", "0.1.0+dirty"),
    ],
)
def test_an_actor_is_a_key_a_policy_at_a_commit_or_a_system_at_a_version(actor: str) -> None:
    assert is_actor(actor)
    assert json.loads(written(replace(ENTRIES[0], actor=actor)).body)["actor"] == actor


@pytest.mark.parametrize(
    "actor",
    [
        "",
        "worker",
        "key:",
        "key:a b",
        "key_1",
        "local",
        "policy:p",
        "policy:p@",
        "policy:p@main",
        "policy:p@" + "0" * 39,
        "policy:p q@" + "0" * 40,
        "worker tenure/",
        "worker tenure/0\n",
        " tenure/0",
        "worker:host:pid tenure/0",
        "somebody@example.org",
        "key:1 tenure/0 x",
    ],
)
def test_nothing_is_done_by_nobody(actor: str) -> None:
    assert not is_actor(actor)
    with pytest.raises(BodyRefused, match="names no actor"):
        written(replace(ENTRIES[0], actor=actor))
