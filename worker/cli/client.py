"""The one way in which commands act: the HTTP API, over the network or inside this process.

With TENURE_URL the requests go there, with TENURE_API_KEY. Without it the same application serves them
in this process, on the local data folder and with every right. What takes long to load is in `wires`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol, TypeAlias, cast

from worker.cli.exits import Ended, Exit, Misused
from worker.cli.output import Record

_PAGE = 100
_AN_ID = re.compile(r"[A-Za-z0-9_-]{1,160}")
_UNAVAILABLE = frozenset({502, 503, 504})
_UNAUTHORIZED = 401
_SUCCESS = range(200, 300)
Params: TypeAlias = Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: ``body`` is what is sent, of this media type."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, whole."""

    status: int
    body: bytes


class Wire(Protocol):
    """Carries one call and brings its answer."""

    def send(self, call: Call) -> Answer:
        """Send it, so that it is done once; raises Unreachable."""
        ...


class Fetching(Wire, Protocol):
    """A wire that can also bring an answer of any length into a file."""

    def fetch(self, path: str, into: BinaryIO, told: Callable[[int, int], None]) -> Answer:
        """Write the answer's body into the file, piece by piece; the answer of a refusal comes whole."""
        ...


class Refused(Ended):
    """The API said no. ``status`` and ``problem_code`` are those of its problem (RFC 9457)."""

    def __init__(self, problem: str, *, repair: str = "", status: int, problem_code: str) -> None:
        exit_code = Exit.UNREACHABLE if status in _UNAVAILABLE else Exit.FAILED
        super().__init__(problem, repair=repair, exit_code=exit_code)
        self.status = status
        self.problem_code = problem_code


class Unreachable(Ended):
    """Nobody answers at TENURE_URL."""

    def __init__(self, problem: str, *, repair: str) -> None:
        super().__init__(problem, repair=repair, exit_code=Exit.UNREACHABLE)


class Client:
    """Speaks the API: every method returns the answer's JSON, and raises Refused for a problem."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def get(self, path: str, params: Params | None = None) -> dict[str, Any]:
        """Read."""
        return self._ask(Call(method="GET", path=path, params=_given(params)))

    def post(self, path: str, body: Record | None = None) -> dict[str, Any]:
        """Order something."""
        return self._ask(Call(method="POST", path=path, body=_json(body or {})))

    def put(self, path: str, body: Record) -> dict[str, Any]:
        """Set something."""
        return self._ask(Call(method="PUT", path=path, body=_json(body)))

    def bulk(self, lines: Sequence[bytes], *, dry_run: bool) -> list[dict[str, Any]]:
        """Register lines of ndjson; returns one answer per line. Raises Refused where it broke off."""
        answer = self._send(
            Call(
                method="POST",
                path="/v1/threads/bulk",
                params=_given({"dry_run": dry_run}),
                body=b"\n".join(lines) + b"\n",
                media_type="application/x-ndjson",
            )
        )
        told = [json.loads(line) for line in answer.body.splitlines() if line.strip()]
        broken = told[-1].get("error") if told and "line" not in told[-1] else None
        if broken:
            repair = "Run it again: what was registered before stays as it is."
            raise Refused(str(broken["detail"]), repair=repair, status=503, problem_code=str(broken["code"]))
        return [one for one in told if "line" in one]

    def fetch(self, path: str, into: BinaryIO, told: Callable[[int, int], None]) -> None:
        """Bring a file; ``told`` hears (bytes, of how many). Raises Refused, Unreachable for half of one."""
        answer = cast("Fetching", self._wire).fetch(path, into, told)
        if answer.status not in _SUCCESS:
            raise _refused(answer)

    def listed(
        self, path: str, params: Params | None = None, *, limit: int | None = None
    ) -> Iterator[Record]:
        """Yield what a list holds, page by page, up to ``limit``."""
        left, after = limit, (params or {}).get("after")
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            page = self.get(path, {**(params or {}), "limit": size, "after": after})
            data = cast("list[Record]", page["data"])
            yield from data
            left = None if left is None else left - len(data)
            after = page["last_id"]
            if not page["has_more"] or not data:
                return

    def _ask(self, call: Call) -> dict[str, Any]:
        return cast("dict[str, Any]", json.loads(self._send(call).body))

    def _send(self, call: Call) -> Answer:
        answer = self._wire.send(call)
        if answer.status in _SUCCESS:
            return answer
        raise _refused(answer)


def path_of(collection: str, named: str, rest: str = "") -> str:
    """Return the path of one thing; raises Misused for what can be no id, so that none leads elsewhere."""
    if not _AN_ID.fullmatch(named):
        raise Misused(f"{named!r} is no id.", repair="Ids have letters, digits, - and _ only.")
    return f"/v1/{collection}/{named}{rest}"


def _json(body: Record) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _given(params: Params | None) -> dict[str, str]:
    named = {name: value for name, value in (params or {}).items() if value is not None}
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in named.items()
    }


def _refused(answer: Answer) -> Refused:
    """Turn a problem (RFC 9457), or whatever else stands there, into an error that a person can act on."""
    try:
        problem = json.loads(answer.body)
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        told = f"The service answered {answer.status} in a form that Tenure does not use."
        repair = "Check TENURE_URL: is it Tenure, or something before it?"
        return Refused(told, repair=repair, status=answer.status, problem_code="error")
    lines = [detail, *(place for place in _places(problem) if place not in detail)]
    repair = "Set TENURE_API_KEY to a key that stands." if answer.status == _UNAUTHORIZED else ""
    return Refused("\n".join(lines), repair=repair, status=answer.status, problem_code=code)


def _places(problem: Record) -> Iterator[str]:
    """Yield the places that the problem names, and how a conflict differs."""
    for one in problem.get("errors") or ():
        # One place whose reason is the whole problem would only say it twice.
        if one.get("detail") != problem["detail"]:
            yield f"  {one.get('pointer') or '/'}: {one.get('detail', '')}"
    for one in problem.get("diff") or ():
        yield f"  {one.get('field')}: registered {one.get('registered')!r}, given {one.get('given')!r}"


@contextmanager
def open_client(*, policies: bool = True) -> Iterator[Client]:
    """Open the API, remote or local; ``policies`` False leaves the local policies folder alone."""
    from worker.cli.wires import in_process, remote
    from worker.settings import load_settings
    from worker.telemetry import set_up_logging

    settings = load_settings()
    if settings.url:
        set_up_logging(settings.log_format, "warning")
    with remote(settings) if settings.url else in_process(policies=policies) as wire:
        yield Client(wire)


def is_remote() -> bool:
    """Whether TENURE_URL is set."""
    from worker.settings import load_settings

    return bool(load_settings().url)


def refuse_remote(command: str) -> None:
    """Raise Misused where TENURE_URL is set: this command works on the data folder itself.

    It needs the database, the signing key or a provider's key, which no route hands out.
    """
    if is_remote():
        problem = f"`tenure {command}` works on the local data folder, and TENURE_URL is set."
        raise Misused(problem, repair="Unset TENURE_URL, and run it where the service's database is.")
