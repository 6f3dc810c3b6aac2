"""The stage: real servers, and one contender after the other, each before a sandbox of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import contenders, per_thread
from tests.bench.measure import Provider, Run, Sandbox, run_json, sandbox, stand_in, wasted
from tests.bench.place import KEY, OLD, UNLIMITED, due, place
from tests.servers.postgres import Postgres
from tests.servers.valkey import delete_keys, new_prefix
from worker.model.clock import parse_rfc3339
from worker.model.thread import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all contenders of one comparison meet.

    ``rate`` is Tenure's own, and its project's ``concurrency`` is for each batch; a loop that verifies has
    ``at_once`` threads under way. ``faults`` begin with the run. Where the provider is ``plain`` it stands in
    for the sandbox: of ``provider`` only the latency counts.
    """

    count: int
    provider: Provider = field(default_factory=Provider)
    plain: bool = False
    rate: str = UNLIMITED
    at_once: int = 64
    concurrency: int = 64
    kind: Kind = Kind.THREAD
    children: int = 0
    faults: tuple[str, ...] = ()
    longest: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where contenders run."""

    server: Postgres
    redis_url: str
    folder: Path

    def run(self, name: str, what: str, setting: Setting) -> Run:
        """Let one contender delete what there is; returns what the sandbox and its own account say."""
        prefix = new_prefix()
        try:
            with _provider(setting) as box:
                return self._run(name, what, setting, box, prefix)
        finally:
            delete_keys(self.redis_url, prefix=prefix)

    def _run(self, name: str, what: str, setting: Setting, box: Sandbox, prefix: str) -> Run:
        if name in {"tenure", "pool"}:
            with place(self.server, self.redis_url, prefix, self.folder / prefix.strip(":")) as where:
                where.put_in_force(box.base_url, setting.rate, setting.concurrency)
                ids = due(box, where, setting.kind, setting.count, children=setting.children)
                told = self._contend(name, setting, box, ids, where.environment)
                claimed = where.called_deleted()
        else:
            created = int(time.time() - OLD.total_seconds())
            ids = box.seed(setting.kind.value, setting.count, created_at=created, children=setting.children)
            environment = {
                per_thread.REDIS: self.redis_url,
                per_thread.PREFIX: prefix,
                per_thread.URL: box.base_url,
            }
            told = self._contend(name, setting, box, ids, environment)
            claimed = told["claimed"]
        return _judged(what, box, ids, {**told, "claimed": claimed})

    def _contend(
        self, name: str, setting: Setting, box: Sandbox, ids: list[str], environment: dict[str, str]
    ) -> dict[str, Any]:
        file = self.folder / "ids.json"
        file.write_text(json.dumps(ids))
        box.set_faults(*setting.faults)
        order = contenders.Order(
            name=name,
            base_url=box.base_url,
            key=KEY,
            ids=str(file),
            at_once=setting.at_once,
            longest=setting.longest,
        )
        module = "tests.bench.per_thread" if name == "celery" else "tests.bench.contenders"
        told: dict[str, Any] = run_json(module, asdict(order), environment)
        return told


def _provider(setting: Setting) -> AbstractContextManager[Sandbox]:
    return stand_in(setting.provider.latency_ms) if setting.plain else sandbox(setting.provider)


def _deletes(requests: Sequence[Mapping[str, Any]]) -> list[float]:
    came = [parse_rfc3339(one["at"]) for one in requests if one["method"] == "DELETE"]
    return [(one - came[0]).total_seconds() for one in came]


def _judged(what: str, box: Sandbox, ids: list[str], told: dict[str, Any]) -> Run:
    requests = box.requests()
    still_there = box.still_there(ids)
    run = Run(
        what=what,
        wanted=len(ids),
        deleted=len(ids) - len(still_there),
        seconds=told["seconds"],
        cpu_seconds=told["cpu_seconds"],
        requests=len(requests),
        wasted=wasted(requests),
        claimed=len(told["claimed"]),
        false=len(still_there.intersection(told["claimed"])),
        megabytes=told["megabytes"],
        deletes=_deletes(requests),
    )
    print(f"{what}: {run}", flush=True)
    return run
