"""The storm: every kind of disturbance at least once, in the seed's order, upon work under way."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from tests.chaos.fleet import Fleet
from tests.chaos.proxy import Proxy
from tests.servers.postgres import OwnPostgres
from tests.servers.valkey import OwnValkey
from worker.model.clock import SystemClock
from worker.sandbox.faults import parse_faults
from worker.sandbox.request_log import NeverSeen
from worker.sandbox.server import SandboxServer

_CLOCK = SystemClock()
# So long at most the next disturbance waits for work: some of them keep everything from being done.
_PATIENCE_SECONDS = 2.5
# A lease of 20 s, and time for somebody else to claim and to finish.
_PAST_A_LEASE = 28.0

# The whole time: an endpoint that is gone. Whatever it answers, nothing of this kind may be called deleted.
ALWAYS = ("endpoint-retired:thread",)

# What a provider or a network may do for a while. A false 404 to a single read is not among them: nobody can
# know better than a provider that says so beside a good control.
PROVIDER = (
    "error-500",
    "error-500@delete",
    "error-after",
    "lost-request",
    "lost-reply",
    "timeout@get*6",
    "timeout-after*6",
    "throttled*20",
    "throttled-silent*20",
    "slow@delete",
    "slow-body@get*10",
    "truncated-json",
    "html-200",
    "redirect",
    "redirect-307@delete",
    "deleted-false",
    "lying-200",
    "wrong-id",
    "forbidden*6",
    "refused-key*6",
    "read-only-key*6",
    "route-404@delete*6",
    "route-404@get*6",
)

Act = Callable[["Storm"], None]


@dataclass(slots=True, kw_only=True)
class Storm:
    """What may be disturbed, and what is still to be ended."""

    fleet: Fleet
    sandbox: SandboxServer
    dice: random.Random
    postgres: OwnPostgres | None = None
    valkey: OwnValkey | None = None
    to_postgres: Proxy | None = None
    to_valkey: Proxy | None = None
    counts: Counter[str] = field(default_factory=Counter)
    endings: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def blow(self, acts: Mapping[str, Act], *, seconds: float) -> None:
        """Do every act once, then more of them at random until the time is over."""
        until = _CLOCK.monotonic() + seconds
        waiting = self.dice.sample(sorted(acts), len(acts))
        while waiting or _CLOCK.monotonic() < until:
            name = waiting.pop() if waiting else self.dice.choice(sorted(acts))
            acts[name](self)
            self.counts[name] += 1
            self._let_work_go_on()
            self._end_what_is_over()
            self.fleet.supervise()

    def calm(self) -> None:
        """End every disturbance that still goes on."""
        for _, end in self.endings:
            end()
        self.endings.clear()
        self.sandbox.set_faults(parse_faults(ALWAYS))
        self.fleet.supervise()
        for name in self.fleet.named("up"):
            # SQLite's leases run on the service's own clock: a start ends those that a wrong one gave.
            self.fleet.kill(name)

    def later(self, seconds: float, end: Callable[[], None]) -> None:
        """End something after that many seconds."""
        self.endings.append((_CLOCK.monotonic() + seconds, end))

    def some(self, *commands: str) -> str:
        """Draw one role that is not frozen."""
        names = [name for one in commands for name in self.fleet.named(one)]
        return self.dice.choice([name for name in names if not self.fleet.roles[name].frozen] or names)

    def _let_work_go_on(self) -> None:
        """Go on once the provider has been asked some more, so that the next act meets work under way."""
        last = max((one.n for one in self.sandbox.requests()), default=0)
        more = self.dice.randrange(4, 30)
        with suppress(NeverSeen):
            self.sandbox.wait_for(
                lambda log: bool(log) and log[-1].n >= last + more, timeout=_PATIENCE_SECONDS
            )

    def _end_what_is_over(self) -> None:
        now = _CLOCK.monotonic()
        for ending in [one for one in self.endings if one[0] <= now]:
            self.endings.remove(ending)
            ending[1]()


def _kill(command: str, storm: Storm) -> None:
    storm.fleet.kill(storm.some(command))


def _kill_child(storm: Storm) -> None:
    storm.fleet.kill_child(storm.some("worker"), storm.dice.random())


def _freeze(command: str, seconds: float, storm: Storm) -> None:
    """Longer than a lease: somebody else takes the work, and the frozen one wakes up in the middle of it."""
    name = storm.some(command)
    storm.fleet.freeze(name)
    storm.later(seconds, partial(storm.fleet.thaw, name))


def _replace_workers(storm: Storm) -> None:
    """Freeze every worker; another one takes over, and then they all wake up and tell what they saw."""
    for name in storm.fleet.named("worker"):
        if not storm.fleet.roles[name].frozen:
            storm.fleet.freeze(name)
            storm.later(_PAST_A_LEASE, partial(storm.fleet.thaw, name))
    storm.fleet.start("worker-3", "worker")
    storm.later(_PAST_A_LEASE + 8, partial(storm.fleet.retire, "worker-3"))


def _step_clock(steps: tuple[float, ...], commands: tuple[str, ...], storm: Storm) -> None:
    name = storm.some(*commands)
    storm.fleet.set_clock(name, storm.dice.choice(steps))
    storm.later(storm.dice.uniform(4, 12), partial(storm.fleet.set_clock, name, 0))


def _all_clocks_ahead(storm: Storm) -> None:
    """Everybody but PostgreSQL is an hour ahead: nothing may become due by that."""
    for name in storm.fleet.roles:
        storm.fleet.set_clock(name, 3600)
        storm.later(5, partial(storm.fleet.set_clock, name, 0))


def _provider(fault: str, storm: Storm) -> None:
    storm.sandbox.set_faults(parse_faults((*ALWAYS, fault)))
    storm.later(storm.dice.uniform(2, 4), lambda: storm.sandbox.set_faults(parse_faults(ALWAYS)))


def _restart_valkey(storm: Storm) -> None:
    assert storm.valkey is not None
    assert storm.to_valkey is not None
    storm.valkey.kill()
    storm.to_valkey.upstream = storm.valkey.start()


def _flush_valkey(storm: Storm) -> None:
    assert storm.valkey is not None
    storm.valkey.flush()


def _restart_postgres(crash: bool, storm: Storm) -> None:
    assert storm.postgres is not None
    assert storm.to_postgres is not None
    if crash:
        storm.postgres.crash()
    else:
        storm.postgres.stop()
    storm.to_postgres.upstream = storm.postgres.start()


def _proxy(storm: Storm, which: str) -> Proxy:
    found = storm.to_postgres if which == "postgres" else storm.to_valkey
    assert found is not None
    return found


def _silence(which: str, storm: Storm) -> None:
    proxy = _proxy(storm, which)
    proxy.silence()
    storm.later(storm.dice.uniform(3, 7), proxy.heal)


def _silence_and_cut(which: str, storm: Storm) -> None:
    """What a firewall does: nothing for a while, then a reset."""
    proxy = _proxy(storm, which)
    proxy.silence()

    def end() -> None:
        proxy.cut()
        proxy.heal()

    storm.later(storm.dice.uniform(2, 5), end)


def _refuse(which: str, storm: Storm) -> None:
    proxy = _proxy(storm, which)
    proxy.refuse()
    storm.later(storm.dice.uniform(1, 4), proxy.heal)


_FAULTS: dict[str, Act] = {f"provider: {fault}": partial(_provider, fault) for fault in PROVIDER}

ON_SEVERAL: dict[str, Act] = {
    "worker killed": partial(_kill, "worker"),
    "worker killed again": partial(_kill, "worker"),
    "worker's child killed": _kill_child,
    "worker frozen past its lease": partial(_freeze, "worker", 22.0),
    "workers frozen and replaced": _replace_workers,
    "beat killed": partial(_kill, "beat"),
    "api killed": partial(_kill, "api"),
    "worker's clock stepped": partial(_step_clock, (-3600.0, -90.0, 90.0, 3600.0), ("worker",)),
    "beat's clock stepped": partial(_step_clock, (-3600.0, -90.0, 90.0, 3600.0), ("beat",)),
    "api's clock stepped": partial(_step_clock, (-3600.0, -90.0, 90.0, 3600.0), ("api",)),
    "every clock an hour ahead": _all_clocks_ahead,
    "redis restarted": _restart_valkey,
    "redis flushed": _flush_valkey,
    "redis silent": partial(_silence, "redis"),
    "redis silent, then reset": partial(_silence_and_cut, "redis"),
    "redis refuses": partial(_refuse, "redis"),
    "postgresql crashed": partial(_restart_postgres, True),
    "postgresql restarted": partial(_restart_postgres, False),
    "postgresql silent": partial(_silence, "postgres"),
    "postgresql silent, then reset": partial(_silence_and_cut, "postgres"),
    "postgresql refuses": partial(_refuse, "postgres"),
    **_FAULTS,
}
"""Several processes on PostgreSQL and Redis."""

IN_ONE: dict[str, Act] = {
    **{f"service killed ({n})": partial(_kill, "up") for n in range(1, 6)},
    "service frozen": partial(_freeze, "up", 6.0),
    **{
        f"service's clock stepped ({n})": partial(_step_clock, (step,), ("up",))
        for n, step in enumerate((-3600.0, -90.0, 90.0, 3600.0), 1)
    },
    **_FAULTS,
}
"""The one-process service on SQLite."""
