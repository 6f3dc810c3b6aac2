"""Measuring: the sandbox as a process of its own, what processes cost, and one row per contender.

A contender is whatever deletes: Tenure, or a baseline written for the comparison. Each runs in processes of
its own. `python -m tests.bench.measure JSON` is the sandbox itself, with the fields of `Provider`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import httpx2

from tests.servers.process import die_with_parent
from worker.sandbox.options import SandboxOptions, parse_faults, parse_rate
from worker.sandbox.server import serve

REPOSITORY = Path(__file__).resolve().parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS = 0.25
_SEED_AT_ONCE = 2000
_LONG = httpx2.Timeout(120)
# How a stop is asked for, so that pytest's own Ctrl-C does not reach the processes that it measures.
_STOP_SECONDS = 40.0
_LONGEST_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """How the sandbox behaves: rates as in `parse_rate`, faults as in `parse_faults`."""

    latency_ms: float = 50
    rate: str | None = None
    delete_rate: str | None = None
    faults: tuple[str, ...] = ()
    keep_requests: int = 1_000_000

    @property
    def options(self) -> SandboxOptions:
        """The sandbox's own options."""
        return SandboxOptions(
            latency=timedelta(milliseconds=self.latency_ms),
            rate=parse_rate(self.rate) if self.rate else None,
            delete_rate=parse_rate(self.delete_rate) if self.delete_rate else None,
            faults=parse_faults(self.faults),
            keep_requests=self.keep_requests,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A running sandbox; ``base_url`` ends in /v1."""

    base_url: str
    pid: int

    def seed(
        self, kind: str, count: int, *, created_at: int, children: int = 0, project: str | None = None
    ) -> list[str]:
        """Make so many objects and return their ids."""
        ids: list[str] = []
        while len(ids) < count:
            body = {
                "kind": kind,
                "count": min(_SEED_AT_ONCE, count - len(ids)),
                "created_at": created_at,
                "children": children,
                **({"project": project} if project else {}),
            }
            ids += self._call("POST", "/sandbox/seed", body)["ids"]
        return ids

    def set_faults(self, *faults: str) -> None:
        """Put these faults in force instead of the present ones."""
        self._call("POST", "/sandbox/faults", {"faults": list(faults)})

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the requests after that number: n, method, path, status, fault, at (RFC 3339)."""
        return list(self._call("GET", f"/sandbox/requests?since={since}")["data"])

    def last_request(self) -> int:
        """Return the number of the newest request, from which `requests` can go on."""
        found = self.requests()
        return int(found[-1]["n"]) if found else 0

    def still_there(self, ids: Sequence[str]) -> set[str]:
        """Return those of these objects that exist, whatever the sandbox answers on the wire."""
        live = self._call("GET", "/sandbox/state")["ids"]
        return set(ids) & {one for held in live.values() for one in held}

    def left(self, ids: Sequence[str]) -> int:
        """Return how many of these objects still exist."""
        return len(self.still_there(ids))

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        url = self.base_url.removesuffix("/v1") + path
        answer = httpx2.request(method, url, json=body, timeout=_LONG, trust_env=False)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def sandbox(provider: Provider) -> Iterator[Sandbox]:
    """Start a sandbox in a process of its own, for as long as the block runs."""
    with _listening("tests.bench.measure", json.dumps(asdict(provider))) as made:
        yield made


@contextmanager
def stand_in(latency_ms: float) -> Iterator[Sandbox]:
    """Start what stands in for the sandbox where only threads are asked for, and costs less than it."""
    with _listening("tests.bench.stand_in", str(latency_ms)) as made:
        yield made


@contextmanager
def _listening(module: str, given: str) -> Iterator[Sandbox]:
    with started([sys.executable, "-m", module, given], {}) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode().strip()
        assert line.startswith("http"), line
        yield Sandbox(base_url=line, pid=process.pid)


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str], *, out: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process group with its output on a pipe, or in ``out``; it ends with the block at the latest."""
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**_ambient(), **environment},
        stdout=out or subprocess.PIPE,
        stderr=out,
        start_new_session=True,
        preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - one system call, safe after fork
    )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process group as an operator would, then for certain."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def run_json(module: str, task: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Any:
    """Run `python -m module TASK` and return the JSON of its last line; its failure fails the test.

    So does a run that does not end: none that is measured takes nearly as long.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(task)],
        cwd=REPOSITORY,
        env={**_ambient(), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST_SECONDS,
        preexec_fn=die_with_parent(signal.SIGTERM),
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def _ambient() -> dict[str, str]:
    """The environment without what would change a target or a setting."""
    foreign = ("TENURE_", "OPENAI_", "CELERY_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What processes used: CPU seconds (user and system), and the most memory, summed, in MB (2**20)."""

    seconds: float
    cpu_seconds: float
    megabytes: float


class Meter:
    """Watches process trees from `start` to `stop`: children that come and go are counted.

    CPU is read from /proc (Linux). That of a child that has ended is what its parent collected, so it
    counts where the parent is watched and waited for it. Memory is the sum of each process's own peak,
    over the processes that were seen.
    """

    def __init__(self, *pids: int) -> None:
        self._roots = pids
        self._begun = 0.0
        self._before: dict[int, float] = {}
        self._cpu: dict[int, float] = {}
        self._peaks: dict[int, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="bench-meter", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._before = {pid: _cpu_of(pid) for pid in _tree(self._roots)}
        self._begun = time.perf_counter()
        self._thread.start()

    def stop(self) -> Cost:
        """Return what was used since the start."""
        seconds = time.perf_counter() - self._begun
        self._look()
        self._stopping.set()
        self._thread.join()
        used = sum(cpu - self._before.get(pid, 0.0) for pid, cpu in self._cpu.items())
        return Cost(seconds=seconds, cpu_seconds=used, megabytes=sum(self._peaks.values()))

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        for pid in _tree(self._roots):
            cpu, peak = _cpu_of(pid), _peak_of(pid)
            self._cpu[pid] = max(cpu, self._cpu.get(pid, 0.0))
            self._peaks[pid] = max(peak, self._peaks.get(pid, 0.0))


@contextmanager
def own_cost() -> Iterator[list[Cost]]:
    """Measure the calling process, and the CPU of children that it waited for; memory is its own."""
    told: list[Cost] = []
    begun, cpu = time.perf_counter(), time.process_time() + _cpu_of_children()
    yield told
    told.append(
        Cost(
            seconds=time.perf_counter() - begun,
            cpu_seconds=time.process_time() + _cpu_of_children() - cpu,
            megabytes=_peak_of(os.getpid()),
        )
    )


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree(roots: Sequence[int]) -> list[int]:
    """Return the processes and everything below them that lives now."""
    found, new = list[int](), list(roots)
    while new:
        pid = new.pop()
        found.append(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                new += [int(one) for one in children.read_text().split()]
            except OSError:
                continue
    return found


def _cpu_of(pid: int) -> float:
    """User and system seconds of one process, without its children; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak_of(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(one.split()[1]) / 1024 for one in lines if one.startswith("VmHWM:")), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One contender's run: what it did, at what cost, and what it left.

    ``deleted`` are the objects that are gone of ``wanted``. ``claimed`` is how many it called deleted;
    ``false`` how many of those are still there. ``wasted`` requests brought nothing nearer.
    """

    what: str
    wanted: int
    deleted: int
    seconds: float
    cpu_seconds: float
    requests: int
    wasted: int
    claimed: int
    false: int
    megabytes: float
    deletes: Sequence[float] = field(default=(), repr=False)
    """When each DELETE came, in seconds since the first, where that is told."""

    @property
    def rate(self) -> float:
        """Deletions per second."""
        return self.deleted / self.seconds if self.seconds else 0.0

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds per deletion; of all, where nothing was deleted."""
        return 1000 * self.cpu_seconds / max(1, self.deleted)

    @property
    def left(self) -> int:
        """How many objects of the order still exist."""
        return self.wanted - self.deleted

    @property
    def row(self) -> list[str]:
        """The cells under `COLUMNS`."""
        return [
            self.what,
            f"{self.deleted:,} of {self.wanted:,}",
            f"{self.seconds:.1f} s",
            f"{self.rate:.1f}/s",
            f"{self.cpu_ms:.1f} ms" if self.deleted else "none deleted",
            f"{self.requests:,}",
            f"{self.wasted:,}",
            f"{self.left:,}",
            f"{self.false:,}",
            f"{self.megabytes:.0f} MB",
        ]


COLUMNS = [
    "what",
    "deleted",
    "time",
    "rate",
    "CPU per deletion",
    "requests",
    "wasted",
    "ids left",
    "called deleted, still there",
    "peak memory",
]


def wasted(requests: Sequence[Mapping[str, Any]]) -> int:
    """Count the requests that brought nothing nearer.

    Those are: throttled ones, those without an answer or with a 5xx, a DELETE after one of the same object
    that was answered 200, and every later DELETE of one that answered 404.
    """
    gone: set[str] = set()
    count = 0
    for one in requests:
        status, path = one["status"], one["path"]
        if (
            status is None
            or status == httpx2.codes.TOO_MANY_REQUESTS
            or status >= httpx2.codes.INTERNAL_SERVER_ERROR
        ):
            count += 1
        elif one["method"] == "DELETE":
            count += path in gone
            gone.add(path)
    return count


def by_method(requests: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Count requests by their method."""
    return Counter(str(one["method"]) for one in requests)


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that at least ``part`` (0 to 1) of them do not exceed."""
    ordered = sorted(values)
    at = max(0, min(len(ordered) - 1, -(-int(part * 1_000_000) * len(ordered) // 1_000_000) - 1))
    return ordered[at]


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    made = Provider(**{**given, "faults": tuple(given.get("faults", ()))})
    serve(made.options, "127.0.0.1", 0, lambda url: print(url, flush=True))
