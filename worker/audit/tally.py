"""What the own bodies of a window add up to; the writer states it, the verifier counts it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.audit.entry import EntryType
from worker.audit.reading import Body, mapping, text, text_or_none
from worker.model.evidence import Grade

MAX_EXCEPTIONS = 1000
_DELETED = frozenset(one.value for one in Grade if one.deleted)
_ENDED = frozenset({"deleted", "absent", "withdrawn"})
_STATES = ("open", "deleted", "absent", "acknowledged", "parked", "withdrawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one thread stood at the window's start (None: not known then) and at its end."""

    start: str | None
    end: str
    registered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceptional:
    """A thread whose newest grade in the window is not one that may be called deleted."""

    thread: str
    kind: str
    external_id: str
    owner: str
    grade: str
    graded_at: str
    entry: int


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts for the window [start, end), both as envelope instants. Counts are of threads, newest grade."""

    start: str
    end: str
    entries: int = 0
    newest: dict[str, str] = field(default_factory=dict)
    exceptions: dict[str, Exceptional] = field(default_factory=dict)
    semantics: dict[str, str] = field(default_factory=dict)
    accounts: set[tuple[str, str]] = field(default_factory=set)
    controls: Counter[str] = field(default_factory=Counter)
    standing: dict[str, Standing] = field(default_factory=dict)

    def covers(self, t: str) -> bool:
        """Tell whether an envelope's time is in the window."""
        return self.start <= t < self.end

    def feed(self, index: int, t: str, kind: str, body: Body) -> None:
        """Count one own entry; raises Misshapen."""
        self._stand(t, kind, body)
        if not self.covers(t):
            return
        self.entries += 1
        if kind == EntryType.THREAD_GRADED:
            self._grade(index, t, body)
        elif kind == EntryType.CONTROL_PROBED:
            self.controls[text(body, "control")] += 1

    @property
    def grades(self) -> dict[str, int]:
        """How many threads have which grade, by the word before the slash."""
        return dict(sorted(Counter(grade.partition("/")[0] for grade in self.newest.values()).items()))

    @property
    def exceptional(self) -> int:
        """How many threads may not be called deleted; ``exceptions`` lists the first thousand."""
        return sum(1 for grade in self.newest.values() if grade not in _DELETED)

    @property
    def reconciliation(self) -> dict[str, int]:
        """``opening + registered + unregistered`` = the sum of the states at the end.

        ``opening`` were known and not at an end when the window began; ``unregistered`` have entries in
        the window but no registration in the log.
        """
        part = [one for one in self.standing.values() if one.start not in _ENDED]
        ends = Counter(one.end for one in part)
        new = [one for one in part if one.start is None]
        registered = sum(1 for one in new if one.registered)
        return {
            "opening": len(part) - len(new),
            "registered": registered,
            "unregistered": len(new) - registered,
            **{f"closing_{state}": ends[state] for state in _STATES},
        }

    def _grade(self, index: int, t: str, body: Body) -> None:
        thread, grade = text(body, "subject"), text(body, "grade")
        account: Mapping[str, object] = mapping(body["account"]) if body.get("account") is not None else {}
        self.accounts.add((text_or_none(account, "base_url") or "", text(body, "credential")))
        self.semantics[text(body, "kind")] = text(body, "deletion_semantics")
        self.newest[thread] = grade
        if grade in _DELETED:
            self.exceptions.pop(thread, None)
        elif thread in self.exceptions or len(self.exceptions) < MAX_EXCEPTIONS:
            self.exceptions[thread] = Exceptional(
                thread=thread,
                kind=text(body, "kind"),
                external_id=text(body, "external_id"),
                owner=text(body, "owner"),
                grade=grade,
                graded_at=t,
                entry=index,
            )

    def _stand(self, t: str, kind: str, body: Body) -> None:
        state = _state(kind, body)
        if state is None or t >= self.end:
            return
        thread = text(body, "subject")
        before = self.standing.get(thread)
        self.standing[thread] = Standing(
            start=state if t < self.start else before.start if before else None,
            end=state,
            registered=kind == EntryType.THREAD_REGISTERED or bool(before and before.registered),
        )


def _state(kind: str, body: Body) -> str | None:
    """Return the state that an entry leaves a thread in; None where it changes none."""
    if kind in {EntryType.THREAD_REGISTERED, EntryType.THREAD_RETRIED}:
        return "open"
    if kind == EntryType.THREAD_WITHDRAWN:
        return "withdrawn"
    if kind != EntryType.THREAD_GRADED:
        return None
    grade = text(body, "grade")
    if grade in _DELETED:
        return "deleted"
    return grade if grade in {Grade.ABSENT.value, Grade.ACKNOWLEDGED.value} else "parked"
