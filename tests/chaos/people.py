"""The people beside the storm: who registers, holds, pauses, erases, withdraws and sweeps, over the HTTP API.

They note what was answered, and when: an answer is what Tenure promised, and the storm may not break it.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from tests.chaos.fleet import Fleet
from worker.model.clock import SystemClock, rfc3339
from worker.sandbox.control import make_sample
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.server import SandboxServer

MAIN, SIDE, ASTRAY = "chaos-main", "chaos-side", "chaos-astray"
POLICY = "all-30d"
_CLOCK = SystemClock()
_TTL = timedelta(days=30)
_AGAIN_SECONDS = 0.2
_SUPERVISED_EVERY = 0.5
_PATIENCE_SECONDS = 240.0
# Longer than any silence, so that a call that was given up is not carried out behind a later one's back.
_CALL_SECONDS = 60.0
_SERVER_ERROR = 500


@dataclass(slots=True, kw_only=True)
class Told:
    """One thread whose registration was answered. ``fate`` is what has to become of it.

    Instants are seconds since 1970 on the machine's own clock, which the sandbox uses too.
    """

    thread_id: str
    external_id: str
    kind: str
    project: str
    owner: str
    fate: str
    due_at: float
    ordered: bool = False
    withdrawn_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """From an answered pause to the call that ended it: nothing of the project may be deleted."""

    project: str
    begun: float
    ended: float


# How often of a hundred each fate is drawn, and the kinds it is drawn from.
_FILE, _RESPONSE, _CONVERSATION = ObjectKind.FILE, ObjectKind.RESPONSE, ObjectKind.CONVERSATION
_FATES: dict[str, tuple[int, tuple[ObjectKind, ...]]] = {
    "due": (56, (_FILE, _FILE, _RESPONSE, _CONVERSATION)),
    "young": (10, (_FILE, _RESPONSE, _CONVERSATION)),
    "nearly": (8, (_FILE, _RESPONSE)),
    "kept": (4, (_FILE,)),
    "held": (8, (_FILE, _CONVERSATION)),
    "withdrawn": (3, (_FILE, _RESPONSE)),
    "erased": (3, (_FILE, _CONVERSATION)),
    "vanished": (2, (_FILE, _RESPONSE)),
    "retired": (3, (ObjectKind.THREAD,)),
    "astray": (3, (_FILE,)),
}
_MATTERS = 6


@dataclass(slots=True, kw_only=True)
class People:
    """Everybody who calls the API, and what they were told. Both halves run in threads of their own."""

    fleet: Fleet
    sandbox: SandboxServer
    seed: int
    nearly: timedelta
    told: dict[str, Told] = field(default_factory=dict)
    pauses: list[Paused] = field(default_factory=list)
    holds: dict[str, float] = field(default_factory=dict)
    bystanders: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)
    problems: list[str] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self, *, every: float) -> None:
        """Register a first lot, then go on in the background, one thread each ``every`` seconds."""
        dice = random.Random(self.seed)
        for _ in range(3):
            for project in (MAIN, SIDE):
                for kind in (_FILE, _RESPONSE, _CONVERSATION):
                    self.bystanders.append(self._make(kind, days=40, project=project))
                    self._register(dice, "young", kind=kind, project=project)
        for _ in range(40):
            self._register(dice, self._fate(dice))
        for target in (lambda: self._registering(dice, every), lambda: self._meddling(every)):
            self._threads.append(threading.Thread(target=self._guarded(target), daemon=True))
            self._threads[-1].start()

    def end(self) -> None:
        """Finish what is under way; whatever role ends by itself meanwhile is started again."""
        self.over.set()
        until = _CLOCK.monotonic() + 2 * _PATIENCE_SECONDS
        while any(one.is_alive() for one in self._threads):
            assert _CLOCK.monotonic() < until, "a call never came to an end"
            self.fleet.supervise()
            for one in self._threads:
                one.join(_SUPERVISED_EVERY)
        assert not self.problems, "\n".join(self.problems)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Call until somebody answers; what a server could not do is asked again."""
        until = _CLOCK.monotonic() + _PATIENCE_SECONDS
        while True:
            answer = self._once(method, path, body)
            if not isinstance(answer, str):
                return answer.status_code, answer.json()
            assert _CLOCK.monotonic() < until, f"nobody answers {method} {path}: {answer}"
            self.done["calls without an answer"] += 1
            _CLOCK.wait(_AGAIN_SECONDS)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call, and fail for anything but success."""
        status, told = self.call(method, path, body)
        assert status < 400, f"{method} {path}: {status} {told}"
        return told

    def _once(self, method: str, path: str, body: dict[str, Any] | None) -> httpx2.Response | str:
        """The answer, or what came instead of one."""
        url, key = self.fleet.url, self.fleet.key
        if not url or not key:
            return "no API listens" if not url else "no admin key was made"
        bearer = {"Authorization": f"Bearer {key}"}
        try:
            answer = httpx2.request(
                method, url + path, json=body, headers=bearer, timeout=_CALL_SECONDS, trust_env=False
            )
        except httpx2.TransportError as e:
            return f"{type(e).__name__}: {e}"
        return f"{answer.status_code} {answer.text}" if answer.status_code >= _SERVER_ERROR else answer

    def _guarded(self, target: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                target()
            except Exception as e:  # noqa: BLE001 - told by end(), in the thread of the test
                self.problems.append(repr(e))

        return run

    def _registering(self, dice: random.Random, every: float) -> None:
        while not self.over.wait(every):
            self._register(dice, self._fate(dice))

    def _fate(self, dice: random.Random) -> str:
        return dice.choices(list(_FATES), [often for often, _ in _FATES.values()])[0]

    def _make(self, kind: ObjectKind, *, days: float, project: str) -> str:
        made = _CLOCK.now() - timedelta(days=days)
        return make_sample(
            self.sandbox.store,
            kind,
            created_at=int(made.timestamp()),
            project="proj_elsewhere" if project == ASTRAY else _header(project),
            children=2 if kind is _CONVERSATION else 0,
        )

    def _register(
        self, dice: random.Random, fate: str, *, kind: ObjectKind | None = None, project: str | None = None
    ) -> None:
        kind = kind or dice.choice(_FATES[fate][1])
        project = ASTRAY if fate == "astray" else project or dice.choice((MAIN, MAIN, SIDE))
        days = {"young": 3.0, "erased": 3.0, "nearly": 30 - self.nearly / timedelta(days=1)}.get(fate, 40.0)
        owner = f"{fate}-{dice.randrange(_MATTERS)}"
        created = datetime.fromtimestamp(int((_CLOCK.now() - timedelta(days=days)).timestamp()), UTC)
        external_id = self._make(kind, days=days, project=project)
        if fate == "vanished":
            self.sandbox.store.delete(kind, external_id)
        told = self.ask(
            "POST",
            "/v1/threads",
            {
                "external_id": external_id,
                "project": project,
                "owner": owner,
                "created_at": rfc3339(created),
                "tags": {"keep": "yes"} if fate == "kept" else {},
            },
        )
        self.done["registered"] += 1
        self.told[told["id"]] = Told(
            thread_id=told["id"],
            external_id=external_id,
            kind=kind.value,
            project=project,
            owner=owner,
            fate=fate,
            due_at=(created + _TTL).timestamp(),
        )

    def _meddling(self, every: float) -> None:
        dice = random.Random(self.seed + 1)
        acts = {
            "hold": self._hold,
            "erasure": self._erase,
            "withdrawal": self._withdraw,
            "pause": self._pause,
            "same registration": self._again,
        }
        while not self.over.is_set():
            for name in dice.sample(sorted(acts), len(acts)):
                # Sweeps in between, so that there is always something under way to disturb.
                self._sweep()
                if self.over.wait(every * dice.uniform(2, 6)):
                    return
                self.done[name] += acts[name](dice)

    def _sweep(self) -> None:
        self.ask("POST", "/v1/sweeps", {"policy": POLICY})
        self.done["sweep"] += 1

    def _hold(self, dice: random.Random) -> int:
        free = sorted({one.owner for one in self._of("held")} - set(self.holds))
        if not free:
            return 0
        owner = dice.choice(free)
        self.ask("POST", "/v1/holds", {"matter": owner, "reason": "court", "scope": {"owners": [owner]}})
        self.holds[owner] = _now()
        return 1

    def _erase(self, dice: random.Random) -> int:
        open_ = [one for one in self._of("erased") if not one.ordered]
        if not open_:
            return 0
        one = dice.choice(open_)
        at = _CLOCK.now()
        one.due_at = min(one.due_at, at.timestamp())
        body = {"ids": [one.thread_id], "reason": "asked for", "at": rfc3339(at)}
        status, told = self.call("POST", "/v1/erasures", body)
        # Where the API's clock is wrong the order may lie ahead, or before the registration.
        assert status in {201, 422}, told
        one.ordered = status == 201 and bool(told["threads"])
        return int(one.ordered)

    def _withdraw(self, dice: random.Random) -> int:
        open_ = [one for one in self._of("withdrawn") if one.withdrawn_at is None]
        if not open_:
            return 0
        one = dice.choice(open_)
        status, told = self.call("POST", f"/v1/threads/{one.thread_id}/withdraw", {"reason": "by mistake"})
        # Refused where its DELETE may have left, or done before by a call that was not answered.
        assert status in {200, 409}, told
        if status == 409:
            told = self.ask("GET", f"/v1/threads/{one.thread_id}")
        if told["state"] == "withdrawn":
            one.withdrawn_at = _now()
        else:
            one.fate = "due"
        return 1

    def _pause(self, dice: random.Random) -> int:
        project = dice.choice((MAIN, SIDE))
        switch = {"project": project, "reason": "drill"}
        self.ask("PUT", "/v1/switches/deletes", {"enabled": False, **switch})
        begun = _now()
        self.over.wait(dice.uniform(1, 3))
        ended = _now()
        self.ask("PUT", "/v1/switches/deletes", {"enabled": True, **switch})
        self.pauses.append(Paused(project=project, begun=begun, ended=ended))
        return 1

    def _again(self, dice: random.Random) -> int:
        one = dice.choice(list(self.told.values()))
        body = {"external_id": one.external_id, "project": one.project, "owner": one.owner}
        assert self.ask("POST", "/v1/threads", body)["id"] == one.thread_id
        return 1

    def _of(self, fate: str) -> list[Told]:
        return [one for one in list(self.told.values()) if one.fate == fate]


def _now() -> float:
    return _CLOCK.now().timestamp()


def _header(project: str) -> str:
    """The provider's project in which a project's objects lie."""
    return f"proj_{project.replace('-', '_')}"


def documents(base_url: str) -> str:
    """The policies and the three projects; the third one's objects lie in another project of the provider."""
    return _POLICIES + "".join(
        f"""---
apiVersion: retention/v1
kind: Project
metadata: {{name: {name}, owner: tests}}
spec:
  provider: openai
  base_url: {base_url}
  provider_project: {_header(name)}
  api_key: {{env: TENURE_KEY_{name.rpartition("-")[2].upper()}}}
  rate: {{limit: 40/s, burst: 5, share: 1.0}}
  concurrency: 8
"""
        for name in (MAIN, SIDE, ASTRAY)
    )


_POLICIES = """
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: all-30d, owner: tests}
spec:
  mode: enforce
  match: {all: true}
  delete: {after: 30d}
  schedule: {cron: "* * * * *"}
  guards: {max_deletes: 100000, max_percent: 100, min_population: 100000, window: 24h}
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: keep, owner: tests}
spec:
  mode: enforce
  match: {tags: [{key: keep, operator: Exists}]}
  retain: {for: forever}
"""
