"""The SQL expression means what the function means, on both databases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from worker.model.clock import parse_rfc3339
from worker.model.decision import HoldScope, TagSelector
from worker.model.errors import Invalid
from worker.model.ids import ThreadId
from worker.model.thread import Kind, Thread
from worker.policy.compile import Columns, match_clause, scope_clause
from worker.policy.document import Match, Policy
from worker.policy.match import matches, scope_matches

_THREADS = Table(
    "threads",
    MetaData(),
    Column("n", Integer, primary_key=True),
    Column("id", String, nullable=False),
    Column("external_id", String, nullable=False),
    Column("project", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("tags", JSON().with_variant(JSONB(), "postgresql"), nullable=False),
)
_COLUMNS = Columns.of(_THREADS)

_ODD = """%_!\\'"[]^$.+(|)#-:;{}\n\r\t\u00e4\u00c4\u0130\u2028\U0001f600 """
_NAMES = st.one_of(
    st.sampled_from(["support-eu", "Support-EU", "support_eu", "team-a", "team%a", "a]b", "50%", "a!b"]),
    st.sampled_from(["(?i)a", "***=", "^a$", "a|b", "(a)", "a.b", "a\\b", "a\nb", "b\n", "\n"]),
    st.text(alphabet="abAB-" + _ODD, min_size=1, max_size=6),
)
_PATTERNS = st.one_of(
    st.sampled_from(
        [
            "*",
            "?*",
            "support-*",
            "support?eu",
            "*-EU",
            "team_a",
            "team%*",
            "a]*",
            "*!*",
            "**",
            "a**b",
            "***=",
            "team*a",
            "*a",
            "a*a",
            "ab*ba",
        ]
    ),
    st.text(alphabet="abAB-*?" + _ODD.replace("[", ""), min_size=1, max_size=6),
    _NAMES,
)
_KEYS = st.one_of(st.sampled_from(["env", "keep", "a.b", '"', "$", "a\\b", "a[0]", "0"]), _NAMES)
_TAGS = st.dictionaries(_KEYS, _NAMES, max_size=3)
_ROWS = st.tuples(_NAMES, st.sampled_from(Kind), _NAMES, _TAGS)
_SELECTORS = st.one_of(
    st.builds(
        TagSelector,
        key=_KEYS,
        operator=st.sampled_from(["In", "NotIn"]),
        values=st.lists(_NAMES, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(TagSelector, key=_KEYS, operator=st.sampled_from(["Exists", "DoesNotExist"])),
)


def _tuples(items: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(items, max_size=2).map(tuple)


_MATCHES = st.one_of(
    st.builds(
        Match,
        projects=_tuples(_PATTERNS),
        kinds=st.lists(st.sampled_from(Kind), max_size=4).map(tuple),
        owners=_tuples(_PATTERNS),
        tags=st.lists(_SELECTORS, max_size=2).map(tuple),
    ),
    st.builds(Match, tags=st.lists(_SELECTORS, min_size=1, max_size=2).map(tuple)),
    st.just(Match(all=True)),
)
_IDS = st.sampled_from([f"thr_{number}" for number in range(8)] + [f"x{number}" for number in range(8)])
_SCOPES = st.builds(
    HoldScope,
    ids=st.one_of(st.just(()), st.lists(_IDS, max_size=20).map(tuple)),
    owners=st.one_of(_tuples(_PATTERNS), st.lists(_PATTERNS, min_size=9, max_size=60).map(tuple)),
    projects=_tuples(_PATTERNS),
    tags=st.lists(_SELECTORS, max_size=2).map(tuple),
)
_POLICIES = st.builds(
    Policy,
    name=st.just("p"),
    owner=st.just("o"),
    match=_MATCHES,
    except_=st.one_of(st.none(), _MATCHES),
)


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            _THREADS.create(connection)
            yield connection
    finally:
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with _connected(url) as connection:
        yield connection


def _thread(row: tuple[str, Kind, str, dict[str, str]], number: int) -> Thread:
    project, kind, owner, tags = row
    return Thread(
        id=ThreadId(f"thr_{number}"),
        kind=kind,
        external_id=f"x{number}",
        project=project,
        owner=owner,
        tags=tags,
        registered_at=parse_rfc3339("2026-11-22T00:00:00Z"),
    )


_EXAMPLES = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextlib.contextmanager
def _filled(connection: Connection, rows: Sequence[tuple[str, Kind, str, dict[str, str]]]) -> Iterator[None]:
    with connection.begin_nested() as savepoint:
        values = [
            {
                "n": number,
                "id": f"thr_{number}",
                "external_id": f"x{number}",
                "project": row[0],
                "kind": row[1].value,
                "owner": row[2],
                "tags": row[3],
            }
            for number, row in enumerate(rows)
        ]
        connection.execute(insert(_THREADS), values)
        yield
        savepoint.rollback()


def _assert_selects(connection: Connection, clause: ColumnElement[bool], wanted: set[int], all_: int) -> None:
    selected = set(connection.scalars(select(_THREADS.c.n).where(clause)))
    left = set(connection.scalars(select(_THREADS.c.n).where(~clause)))
    assert selected == wanted
    # Never NULL: what is not selected is selected by the opposite.
    assert left == set(range(all_)) - wanted


@_EXAMPLES
@given(st.lists(_ROWS, min_size=1, max_size=8), st.lists(_POLICIES, min_size=1, max_size=4))
def test_the_expression_selects_what_the_function_matches(
    connection: Connection,
    rows: Sequence[tuple[str, Kind, str, dict[str, str]]],
    policies: Sequence[Policy],
) -> None:
    with _filled(connection, rows):
        for policy in policies:
            wanted = {number for number, row in enumerate(rows) if matches(policy, _thread(row, number))}
            _assert_selects(connection, match_clause(policy, _COLUMNS), wanted, len(rows))


@_EXAMPLES
@given(st.lists(_ROWS, min_size=1, max_size=8), st.lists(_SCOPES, min_size=1, max_size=4))
def test_a_hold_selects_what_it_covers(
    connection: Connection, rows: Sequence[tuple[str, Kind, str, dict[str, str]]], scopes: Sequence[HoldScope]
) -> None:
    with _filled(connection, rows):
        for scope in scopes:
            wanted = {number for number, row in enumerate(rows) if scope_matches(scope, _thread(row, number))}
            _assert_selects(connection, scope_clause(scope, _COLUMNS), wanted, len(rows))


@pytest.mark.parametrize(
    "pattern",
    ["a.c", "a+c", "(a)", "a|c", "^ac$", "a\\c", "{a}", "a\nc", "A*", "a?", "ab*ba", "*c", "a*", "*b*"],
)
def test_only_the_two_wildcards_are_special(connection: Connection, pattern: str) -> None:
    others = ["abc", "aac", "aacc", "a", "c", "a\n", "a\nc", "\na", "ac", "Ac", "xacx"]
    _assert_fits(connection, pattern, [pattern, *others])


def _assert_fits(connection: Connection, pattern: str, texts: Sequence[str]) -> None:
    rows = [(text, Kind.THREAD, "o", dict[str, str]()) for text in texts]
    with _filled(connection, rows):
        for scope in (HoldScope(projects=(pattern,)), HoldScope(projects=(pattern, "x?*y"))):
            wanted = {number for number, row in enumerate(rows) if scope_matches(scope, _thread(row, number))}
            _assert_selects(connection, scope_clause(scope, _COLUMNS), wanted, len(rows))


def test_a_long_list_stays_within_what_a_statement_may_hold(connection: Connection) -> None:
    rows: list[tuple[str, Kind, str, dict[str, str]]] = [("p", Kind.THREAD, f"o{n}", {}) for n in range(3)]
    many = tuple(f"nobody-{number}*" for number in range(2000))
    exact = tuple(f"absent-{number}" for number in range(40_000))
    scope = HoldScope(ids=(*exact, "thr_1", "x2"), owners=(*many, "o?"), projects=(*exact, "p"))
    with _filled(connection, rows):
        _assert_selects(connection, scope_clause(scope, _COLUMNS), {1, 2}, len(rows))


def test_an_unknown_operator_is_not_compiled() -> None:
    match = Match(tags=(TagSelector(key="a", operator="Equals", values=("b",)),))
    with pytest.raises(Invalid, match="unknown"):
        match_clause(Policy(name="p", owner="o", match=match), _COLUMNS)
