"""A registry of any size, loaded in bulk; its dates rise with its ids, so the clock says how many are due."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from worker.flows.decide import schedule_of
from worker.model.decision import Circumstances
from worker.model.thread import ThreadState
from worker.policy.canonical import make_bundle
from worker.policy.document import Bundle, DeleteRule, Guards, Match, Mode, Policy
from worker.policy.durations import parse_duration
from worker.store import bundles, log, migrate, protections
from worker.store.engine import Database, open_database
from worker.store.listing import Filter, page

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(seconds=1)
KEPT = timedelta(days=30)
COLUMNS = [
    "id",
    "kind",
    "external_id",
    "project",
    "owner",
    "tags",
    "created_at",
    "registered_at",
    "state",
    "provider",
    "base_url",
    "organization",
    "provider_project",
    "children",
    "evaluate_at",
    "due_policy",
    "evaluated_under",
]
_GUARDS = Guards(max_deletes=10**9, max_percent=100, min_population=0, window=parse_duration("24h"))
# How many rows are checked against the decision, so that no figure rests on dates that nobody would store.
_CHECKED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """So many threads, dealt out to so many policies; one policy alone covers everything."""

    threads: int
    policies: int

    @property
    def bundle(self) -> Bundle:
        """The policies: each keeps the threads of its own project for 30 days."""
        return make_bundle([self._policy(number) for number in range(self.policies)], (), None)

    def _policy(self, number: int) -> Policy:
        alone = self.policies == 1
        return Policy(
            name=policy_name(number),
            owner="bench",
            match=Match(all=True) if alone else Match(projects=(f"project-{number}",)),
            mode=Mode.ENFORCE,
            delete=DeleteRule(after=parse_duration("30d")),
            guards=_GUARDS,
        )

    def when_due(self, count: int) -> datetime:
        """The instant at which so many threads are due."""
        return FIRST + STEP * (count - 1) + KEPT


def policy_name(number: int) -> str:
    return f"policy-{number:03d}"


def fill(url: str, registry: Registry) -> None:
    """Migrate the database, put the policies in force as recomputed, and load the threads."""
    database = open_database(url)
    migrate.upgrade(database)
    bundle = registry.bundle
    with database.write() as db:
        log.create_head(db)
        protections.ensure_rows(db, [protections.EVERYTHING])
        bundles.activate(db, digest=bundle.digest, canonical=bundle.canonical, origin={}, now=FIRST)
        bundles.advance_recompute(db, digest=bundle.digest, after=None)
    _load_sqlite(database, registry) if database.is_sqlite else _load_postgresql(database, registry)
    _check(database, bundle)
    database.dispose()


def _rows(registry: Registry, *, as_text: str) -> Iterator[tuple[object, ...]]:
    tags, digest = json.dumps({"env": "prod", "team": "support"}), registry.bundle.digest
    first = int(FIRST.timestamp() * 1000)
    for number in range(registry.threads):
        created = FIRST + STEP * number
        at, due = created.strftime(as_text), (created + KEPT).strftime(as_text)
        which = number % registry.policies
        yield (
            f"thr_{first + 1000 * number:012x}7{number:019x}",
            "file",
            f"file-{number:024x}",
            f"project-{which}",
            f"team-{number % 50}",
            tags,
            at,
            at,
            "live",
            "openai",
            "https://api.openai.com/v1",
            "",
            f"proj_{which}",
            "[]",
            due,
            policy_name(which),
            digest,
        )


def _load_sqlite(database: Database, registry: Registry) -> None:
    file = database.engine.url.database
    assert file is not None
    database.dispose()
    connection = sqlite3.connect(file)
    # Only for loading: what is lost when it fails is loaded again.
    for pragma in ("journal_mode=DELETE", "journal_mode=OFF", "synchronous=OFF", "cache_size=-400000"):
        connection.execute(f"PRAGMA {pragma}")
    places = ", ".join("?" * len(COLUMNS))
    insert = f"INSERT INTO thread ({', '.join(COLUMNS)}) VALUES ({places})"  # noqa: S608 - the names above
    connection.executemany(insert, _rows(registry, as_text="%Y-%m-%d %H:%M:%S.000000"))
    connection.commit()
    connection.execute("ANALYZE")
    connection.commit()
    connection.close()


def _load_postgresql(database: Database, registry: Registry) -> None:
    raw = database.engine.raw_connection()
    connection = raw.driver_connection
    assert connection is not None
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY thread ({', '.join(COLUMNS)}) FROM STDIN") as copy,
    ):
        for row in _rows(registry, as_text="%Y-%m-%d %H:%M:%S+00"):
            copy.write_row(row)
    connection.commit()
    connection.autocommit = True
    # As autovacuum would have left it.
    connection.execute("VACUUM ANALYZE thread")
    connection.autocommit = False
    raw.close()


def _check(database: Database, bundle: Bundle) -> None:
    with database.read() as db:
        for one in page(db, Filter(state=ThreadState.LIVE), limit=_CHECKED, ascending=True):
            wanted = schedule_of(one.thread, bundle=bundle, circumstances=Circumstances(), now=FIRST + KEPT)
            assert (one.evaluate_at, one.due_policy) == (wanted.evaluate_at, wanted.due_policy)
