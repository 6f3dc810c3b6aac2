"""What the own bodies of a window add up to; the writer states it, the verifier counts it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.audit.entry import EntryType
from worker.audit.pseudonyms import Pseudonyms
from worker.audit.reading import Body, Envelope, mapping, text, text_or_none
from worker.audit.standings import STATES, Standings
from worker.model.evidence import Grade

MAX_EXCEPTIONS = 1000
# Of what a hostile bundle could invent without end: kinds, accounts, words for controls.
_MOST_WORDS = 1000
_DELETED = frozenset(one.value for one in Grade if one.deleted)
_NAMED = frozenset({Grade.ABSENT.value, Grade.ACKNOWLEDGED.value})
_REGISTERED, _GRADED, _PROBED = (
    EntryType.THREAD_REGISTERED.value,
    EntryType.THREAD_GRADED.value,
    EntryType.CONTROL_PROBED.value,
)
_STATES = {
    _REGISTERED: "open",
    EntryType.THREAD_RETRIED.value: "open",
    EntryType.THREAD_WITHDRAWN.value: "withdrawn",
}
_CHANGING = frozenset({*_STATES, _GRADED})
_ENDED = frozenset({"deleted", "absent", "withdrawn"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceptional:
    """A thread whose newest grade in the window is not one that may be called deleted."""

    kind: str
    external_id: str
    owner: str
    grade: str
    graded_at: str
    entry: int


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts for the window [start, end), both as envelope instants. Counts are of threads, newest grade.

    ``first`` is the leaf that the range begins at: of what lies before it nothing is known. ``gone`` are
    own entries whose body was shredded or pruned.
    """

    start: str
    end: str
    first: int = 0
    entries: int = 0
    gone: int = 0
    exceptions: dict[int, Exceptional] = field(default_factory=dict)
    semantics: dict[str, str] = field(default_factory=dict)
    accounts: set[tuple[str, str]] = field(default_factory=set)
    controls: Counter[str] = field(default_factory=Counter)
    standings: Standings = field(default_factory=Standings)
    pseudonyms: Pseudonyms = field(default_factory=Pseudonyms)

    def covers(self, t: str) -> bool:
        """Tell whether an envelope's time is in the window."""
        return self.start <= t < self.end

    def feed(self, index: int, envelope: Envelope, body: Body | None) -> bool:
        """Count one own entry, without a body where that is gone; tells whether it is in the window.

        Raises Misshapen.
        """
        _, _, subject, t, kind = envelope
        if subject and kind in _CHANGING and t < self.end:
            state = _state(kind, body)
            thread = self.pseudonyms.number(subject)
            self.standings.enter(thread, state, early=t < self.start, registered=kind == _REGISTERED)
        if body is None:
            self.gone += 1
        if not self.start <= t < self.end:
            return False
        self.entries += 1
        if body is None:
            return True
        if kind == _GRADED and subject:
            self._grade(self.pseudonyms.number(subject), index, t, body)
        elif kind == _PROBED:
            self._control(text(body, "control"))
        return True

    @property
    def graded(self) -> int:
        """How many threads have a grade in the window."""
        return sum(self._newest().values())

    @property
    def grades(self) -> dict[str, int]:
        """How many threads have which grade, by the word before the slash."""
        words: Counter[str] = Counter()
        for grade, count in self._newest().items():
            words[grade.partition("/")[0]] += count
        return dict(sorted(words.items()))

    @property
    def exceptional(self) -> int:
        """How many threads may not be called deleted; ``exceptions`` lists the first thousand."""
        return sum(count for grade, count in self._newest().items() if grade not in _DELETED)

    @property
    def reconciliation(self) -> dict[str, int]:
        """``opening + registered + unregistered + earlier`` = the sum of the states at the end.

        ``opening`` were known and not at an end when the window began; ``unregistered`` have entries in
        the window but no registration in the log; ``earlier``, in a range that begins later than leaf 0,
        were registered before it, and what they were then is not for this range to say.
        """
        begun, ends = Counter[str](), Counter[str]()
        for one, count in self.standings.counted():
            if one.end is None or one.start in _ENDED:
                continue
            ends[one.end] += count
            if one.start is not None:
                begun["opening"] += count
            elif one.registered:
                begun["registered"] += count
            else:
                begun["earlier" if self.first else "unregistered"] += count
        return {
            **{name: begun[name] for name in ("opening", "registered", "unregistered", "earlier")},
            **{f"closing_{state}": ends[state] for state in STATES},
        }

    def _newest(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for one, count in self.standings.counted():
            if one.grade is not None:
                found[one.grade] += count
        return found

    def _control(self, word: str) -> None:
        if word in self.controls or len(self.controls) < _MOST_WORDS:
            self.controls[word] += 1

    def _grade(self, thread: int, index: int, t: str, body: Body) -> None:
        grade = text(body, "grade")
        account: Mapping[str, object] = mapping(body["account"]) if body.get("account") is not None else {}
        known = (text_or_none(account, "base_url") or "", text(body, "credential"))
        if known not in self.accounts and len(self.accounts) < _MOST_WORDS:
            self.accounts.add(known)
        kind = text(body, "kind")
        if kind in self.semantics or len(self.semantics) < _MOST_WORDS:
            self.semantics[kind] = text(body, "deletion_semantics")
        self.standings.grade(thread, grade)
        if grade in _DELETED:
            self.exceptions.pop(thread, None)
        elif thread in self.exceptions or len(self.exceptions) < MAX_EXCEPTIONS:
            self.exceptions[thread] = Exceptional(
                kind=kind,
                external_id=text(body, "external_id"),
                owner=text(body, "owner"),
                grade=grade,
                graded_at=t,
                entry=index,
            )


def _state(kind: str, body: Body | None) -> str:
    """Return the state that an entry of a type that changes one leaves a thread in."""
    if kind != _GRADED:
        return _STATES[kind]
    if body is None:
        return "unknown"
    grade = text(body, "grade")
    if grade in _DELETED:
        return "deleted"
    return grade if grade in _NAMED else "parked"
