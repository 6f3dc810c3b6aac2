"""The lines of a bulk registration: read, register in bounded transactions, answer in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from worker.flows.key import Principal
from worker.flows.register import MOST_AT_ONCE, Registered, Registration, register_many
from worker.http.problems import Problem, error_items, problem_of
from worker.http.refusals import unknown_project
from worker.http.services import Services
from worker.http.spool import Spool
from worker.http.thread_shapes import RegisterBody
from worker.model.errors import Invalid, TenureError

_LONGEST_LINE = 256 * 1024
_PIECE = 64 * 1024


@dataclass(slots=True)
class _Tally:
    """What became of all lines so far."""

    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("created", "exists", "conflict", "invalid"), 0)
    )

    def note(self, status: str) -> None:
        self.counts[status] += 1

    def summary(self, *, dry_run: bool, error: Mapping[str, Any] | None) -> dict[str, Any]:
        total = sum(self.counts.values())
        return {"object": "summary", "lines": total, **self.counts, "dry_run": dry_run, "error": error}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line: what it asks for, or why it cannot be read."""

    number: int
    wanted: Registration | None = None
    error: Mapping[str, Any] | None = None


def answer_lines(
    body: Spool, given: Services, who: Principal, *, dry_run: bool, broke_off: Callable[[], None]
) -> Iterator[bytes]:
    """Register every line and yield its answer; the last one is the summary.

    Each batch is one transaction, and is answered once that is committed. Where the database fails in the
    middle, the summary tells it, and ``broke_off`` hears of it: the lines that were answered stand, and
    sending all of it again is safe.
    """
    tally = _Tally()
    error = None
    with body:
        for batch in _batches(_read(body, who)):
            try:
                answers = _register(batch, given, who, dry_run=dry_run)
            except (TenureError, DBAPIError) as e:
                problem = problem_of(e)
                if not any(tally.counts.values()):
                    raise
                error = _told(problem)
                broke_off()
                break
            for answer in answers:
                tally.note(str(answer["status"]))
            yield from _pieces(answers)
    yield _written(tally.summary(dry_run=dry_run, error=error))


def _pieces(answers: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Write answers together: each piece costs a change of threads and a write to the socket."""
    piece = bytearray()
    for one in answers:
        piece += _written(one)
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _written(line: Mapping[str, Any]) -> bytes:
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _told(problem: Problem) -> dict[str, Any]:
    return {"code": problem.code, "detail": problem.detail, "errors": list(problem.errors), **problem.more}


def _batches(lines: Iterator[_Line]) -> Iterator[list[_Line]]:
    batch: list[_Line] = []
    for line in lines:
        batch.append(line)
        if len(batch) == MOST_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _read(body: Spool, who: Principal) -> Iterator[_Line]:
    number = 0
    while text := body.readline(_LONGEST_LINE + 1):
        number += 1
        too_long = len(text) > _LONGEST_LINE
        while text and not text.endswith(b"\n") and too_long:
            text = body.readline(_LONGEST_LINE)
        if too_long:
            yield _Line(number=number, error=_error("too_large", "The line is longer than 256 KiB."))
        elif text.strip():
            yield _line(number, text, who)


def _line(number: int, text: bytes, who: Principal) -> _Line:
    try:
        found = orjson.loads(text)
        if not isinstance(found, dict):
            return _Line(number=number, error=_error("invalid", "A line must be a JSON object."))
        body = RegisterBody.model_validate(found)
    except orjson.JSONDecodeError:
        return _Line(number=number, error=_error("malformed_json", "The line is not JSON."))
    except ValidationError as e:
        items = error_items(e.errors(include_url=False, include_input=False))
        return _Line(number=number, error=_error("invalid", "Some fields are not valid.", items))
    if not who.may_see(body.project):
        return _Line(number=number, error=_told(problem_of(unknown_project())))
    return _Line(number=number, wanted=body.registration())


def _error(code: str, detail: str, errors: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    return {"code": code, "detail": detail, "errors": list(errors)}


def _register(
    batch: Sequence[_Line], given: Services, who: Principal, *, dry_run: bool
) -> list[dict[str, Any]]:
    readable = [(line.number, line.wanted) for line in batch if line.wanted is not None]
    refused: dict[int, TenureError] = {}
    done: dict[int, Registered | None] = {}
    if readable:
        with given.database.write() as db:
            results = register_many(
                db,
                [wanted for _, wanted in readable],
                actor=who.actor,
                now=given.clock.now(),
                refused=lambda place, why: refused.update({readable[place][0]: why}),
            )
            if dry_run:
                db.rollback()
        done = {number: result for (number, _), result in zip(readable, results, strict=True)}
    return [_answer(line, done.get(line.number), refused.get(line.number), dry_run=dry_run) for line in batch]


def _answer(
    line: _Line, done: Registered | None, refused: TenureError | None, *, dry_run: bool
) -> dict[str, Any]:
    if done is not None:
        # A dry run makes no thread, so there is no id that would last.
        id_ = None if dry_run and done.created else done.stored.thread.id
        status = "created" if done.created else "exists"
        return {"line": line.number, "status": status, "id": id_, "error": None}
    if refused is None:
        return {"line": line.number, "status": "invalid", "id": None, "error": line.error}
    status = "invalid" if isinstance(refused, Invalid) else "conflict"
    told = _told(problem_of(refused))
    return {"line": line.number, "status": status, "id": told.get("existing"), "error": told}
