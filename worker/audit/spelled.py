r"""Bodies as the writer spells them, read by one regular expression for each of the most common types.

Nearly every line of a bundle holds one of a few types of body, its fields sorted, without white space and
without a character that JSON would escape. A pattern of that spelling proves in one match what reading JSON
twice would tell (a body stands as a string in its line, and is JSON itself): that this is an object with
these fields and no other, none of them twice. Of the fields it hands out those that the verifier asks for.

A pattern says yes or nothing. Whatever it does not know is read as JSON by ``reading``, which alone refuses
and says why; a type that has no pattern, or a field that its pattern lacks, only costs time. Tests hold both
readings equal. No line can make a pattern try for long: what a repetition takes ends with a character that
it does not take, so that there is one way to match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from worker.audit.entry import EntryType
from worker.audit.reading import Body, load_body_line, load_text

# The texts of a match by name; None where nothing stood there.
_Texts: TypeAlias = "dict[str, Any]"
# Makes of them what JSON makes of them; None where something is no such thing.
_Finish: TypeAlias = "Callable[[_Texts], Body | None]"


# A body's exact bytes, and its fields where they were read with it. Those are not all of them: only what the
# verifier asks for.
Told: TypeAlias = "tuple[bytes, Body | None]"

# Within the line's own string a quotation mark has a backslash before it. No other character has one.
_QUOTE = r"\\" + '"'
# Latin-1 first, which is looked up in one table of bits: a set that says what it does not take costs a
# quarter more for each match.
_PLAIN = r"[ !#-\[\]-~\x7f-\xff]*+"
_WIDE = r'[^"\\\x00-\x1f]*+'
_TEXT = f"{_QUOTE}{_PLAIN}{_QUOTE}"
_WHOLE = "(?:0|[1-9][0-9]{0,15}+)"


def _kept(name: str, pattern: str = "") -> str:
    """Hand out a text, or as text what the pattern takes."""
    return f"(?P<{name}>{pattern})" if pattern else f"{_QUOTE}(?P<{name}>{_PLAIN}){_QUOTE}"


def _maybe(pattern: str) -> str:
    return f"(?:null|{pattern})"


def _many(pattern: str) -> str:
    return rf"\[(?:{pattern}(?:,{pattern})*)?\]"


def _members(required: Mapping[str, str], optional: Mapping[str, str]) -> str:
    """Spell what stands between the braces; the first name has to be a required one, for the commas' sake."""
    every = {**required, **optional}
    first, *others = sorted(every)
    spelled = f"{_QUOTE}{first}{_QUOTE}:{every[first]}"
    for name in others:
        member = f",{_QUOTE}{name}{_QUOTE}:{every[name]}"
        spelled += member if name in required else f"(?:{member}|)"
    return spelled


def _object(required: Mapping[str, str], optional: Mapping[str, str] = {}) -> str:
    return rf"\{{{_members(required, optional)}\}}"


def _unread(name: str) -> str:
    """Hand out what stands between the outermost braces of a list of objects that hold no others."""
    return rf"\[(?:\{{(?P<{name}>[^}}]*+(?:\}},\{{[^}}]*+)*)\}})?\]"


_EVERY: Final = {
    "actor": _TEXT,
    "project": _kept("project"),
    "salt": _TEXT,
    "subject": _kept("subject"),
    "type": _kept("type"),
}
_OWNED: Final = {
    "owner": _kept("owner"),
    "owner_commitment": _kept("owner_commitment"),
    "salt": _kept("salt"),
}
_TRY: Final = {"fence": _kept("fence", _WHOLE), "item": _kept("item")}
_ACCOUNT: Final = _kept(
    "account",
    _maybe(_object(dict.fromkeys(("base_url", "organization", "provider", "provider_project"), _TEXT))),
)
_TAKEN: Final = {"at": _kept("at"), "class": _kept("class"), "step": _kept("step")}
_OF_ANSWER: Final = {
    "body_sha256": _TEXT,
    "child": _kept("child"),
    "detail": _TEXT,
    "latency_ms": _WHOLE,
    "provider_created_at": _TEXT,
    "provider_date": _TEXT,
    "request_id": _TEXT,
    "status": _WHOLE,
    "subject": _TEXT,
}
_OBSERVED: Final = _object(
    _TAKEN, {**_OF_ANSWER, "status": _kept("status", _WHOLE), "subject": _kept("seen")}
)
_OBSERVATION: Final = re.compile(
    _members(
        _TAKEN,
        {
            **_OF_ANSWER,
            "request_id": _kept("request_id"),
            "status": _kept("status", _WHOLE),
            "subject": _kept("subject"),
        },
    )
)
_DECISION: Final = _object(
    {
        "bundle": _TEXT,
        "decided_by": _maybe(_TEXT),
        "eligible_at": _maybe(_TEXT),
        "outcome": _kept("outcome"),
        "rules": _many(_TEXT),
    },
    {"rules_count": _WHOLE, "rules_sha256": _TEXT},
)
_READ: Final = _many(rf"\[{_TEXT},{_TEXT}\]")
_PASS: Final = re.compile(
    # What most threads share, and behind it the only name that none shares.
    _kept(
        "saw",
        _members(
            {
                "afters": _READ,
                "answer": _TEXT,
                "armed": "(?:true|false)",
                "before": _TEXT,
                "children": _TEXT,
                "control": _TEXT,
                "fence": _WHOLE,
            },
            {},
        ),
    )
    + f",{_QUOTE}item{_QUOTE}:{_kept('item')}"
)


_INTENT_NUMBERS: Final = ("fence", "children_found", "children_confirmed")
# Between two texts of a list: no text holds a quotation mark.
_BETWEEN: Final = r"\",\""


def _one_observed(texts: _Texts) -> Body:
    take = texts.pop
    status = take("status")
    return {
        "at": take("at"),
        "class": take("class"),
        "child": take("child"),
        "status": int(status) if status is not None else None,
        "step": take("step"),
        # The body has a subject of its own.
        "subject": take("seen"),
    }


def _observed(texts: _Texts) -> Body:
    texts["observation"] = _one_observed(texts)
    texts["fence"] = int(texts["fence"])
    return texts


def _registered(texts: _Texts) -> Body:
    texts["account"] = _account(texts["account"])
    return texts


def _intended(texts: _Texts) -> Body:
    texts["account"] = _account(texts["account"])
    texts["before"] = _one_observed(texts)
    texts["decision"] = {"outcome": texts.pop("outcome")}
    for name in _INTENT_NUMBERS:
        texts[name] = int(texts[name])
    return texts


def _probed(texts: _Texts) -> Body | None:
    observations, supports = _observations(texts["observations"]), texts["supports"]
    texts["observations"] = observations
    texts["supports"] = supports[2:-2].split(_BETWEEN) if supports else []
    return texts if observations is not None else None


def _graded(texts: _Texts) -> Body | None:
    observations, passes = _observations(texts["observations"]), _passes(texts["passes"])
    if observations is None or passes is None:
        return None
    texts["observations"], texts["passes"] = observations, passes
    texts["account"] = _account(texts["account"])
    reread = {"class": texts.pop("reread_class"), "control": texts.pop("reread_control")}
    texts["reread"] = None if reread["class"] is None else reread
    texts["attempts"], texts["fence"] = int(texts["attempts"]), int(texts["fence"])
    texts["grader_version"], texts["passes_made"] = int(texts["grader_version"]), int(texts["passes_made"])
    return texts


def _observations(unread: str | None) -> list[Body] | None:
    """Read what ``_unread`` handed out; None if one of the objects is none as the writer spells it."""
    read: list[Body] = []
    for one in unread.split("},{") if unread is not None else ():
        found = _OBSERVATION.fullmatch(one)
        if found is None:
            return None
        texts: _Texts = found.groupdict()
        if texts["status"] is not None:
            texts["status"] = int(texts["status"])
        read.append(texts)
    return read


def _passes(unread: str | None) -> list[Body] | None:
    read: list[Body] = []
    for one in unread.split("},{") if unread is not None else ():
        found = _PASS.fullmatch(one)
        if found is None:
            return None
        saw, item = found.groups()
        read.append({**_saw(saw), "item": item})
    return read


@lru_cache(maxsize=1024)
def _saw(members: str) -> Body:
    return load_text("{" + members.replace('\\"', '"') + "}")


@lru_cache(maxsize=64)
def _account(spelled: str) -> Body | None:
    """Read an account, the same for each thread that has it: who compares finds it to be one object."""
    return None if spelled == "null" else load_text(spelled.replace('\\"', '"'))


def _pattern(required: Mapping[str, str], optional: Mapping[str, str]) -> re.Pattern[str]:
    body = _object({**_EVERY, **required}, {"request_id": _TEXT, **optional})
    return re.compile(rf'\{{"i": (0|[1-9][0-9]{{0,15}}+), "body": "{body}"\}}')


_NAMED: Final = {**_OWNED, "external_id": _kept("external_id"), "kind": _kept("kind")}
_IDENTITY: Final = {**_NAMED, "account": _ACCOUNT}
_ANSWERED: Final = _pattern({**_TRY, "observation": _OBSERVED, "stage": _kept("stage")}, {}), _observed
_SPELLED: Final[Mapping[str, tuple[re.Pattern[str], _Finish]]] = {
    EntryType.THREAD_REGISTERED.value: (
        _pattern(
            {
                **_IDENTITY,
                "created_at": _maybe(_TEXT),
                "last_activity_at": _maybe(_TEXT),
                "registered_at": _TEXT,
                "tags": _many(_TEXT),
                "ttl": _maybe(_TEXT),
            },
            {
                "children": _many(_TEXT),
                "children_count": _WHOLE,
                "children_sha256": _TEXT,
                "tags_count": _WHOLE,
                "tags_sha256": _TEXT,
            },
        ),
        _registered,
    ),
    EntryType.DELETE_INTENDED.value: (
        _pattern(
            {
                **_IDENTITY,
                **_TRY,
                "attempt": _WHOLE,
                "before": _OBSERVED,
                "children_confirmed": _kept("children_confirmed", _WHOLE),
                "children_found": _kept("children_found", _WHOLE),
                "decision": _DECISION,
                "policy": _TEXT,
                "protection_version": _WHOLE,
                "stage": _kept("stage"),
                "sweep": _TEXT,
            },
            {},
        ),
        _intended,
    ),
    EntryType.DELETE_ANSWERED.value: _ANSWERED,
    EntryType.DELETE_LATE_RESULT.value: _ANSWERED,
    EntryType.THREAD_PREREAD.value: (
        _pattern({**_TRY, "observation": _OBSERVED}, {}),
        _observed,
    ),
    EntryType.THREAD_REREAD.value: (
        _pattern({**_TRY, "control": _kept("control"), "observation": _OBSERVED}, {}),
        _observed,
    ),
    EntryType.CONTROL_PROBED.value: (
        _pattern(
            {
                "control": _kept("control"),
                "kind": _kept("kind"),
                "observations": _unread("observations"),
                "subject": _maybe(_kept("subject")),
                "supports": rf"\[(?P<supports>{_TEXT}(?:,{_TEXT})*)?\]",
            },
            {"supports_count": _WHOLE, "supports_sha256": _TEXT},
        ),
        _probed,
    ),
    EntryType.THREAD_GRADED.value: (
        _pattern(
            {
                **_IDENTITY,
                **_TRY,
                "attempts": _kept("attempts", _WHOLE),
                "bundle": _kept("bundle"),
                "children_seen": _many(_object({"class": _TEXT, "count": _WHOLE, "step": _TEXT})),
                "credential": _kept("credential"),
                "deletion_semantics": _kept("deletion_semantics"),
                "eligible_at": _maybe(_kept("eligible_at")),
                "grade": _kept("grade"),
                "grader_version": _kept("grader_version", _WHOLE),
                "observations": _unread("observations"),
                "observations_made": _WHOLE,
                "passes": _unread("passes"),
                "passes_made": _kept("passes_made", _WHOLE),
                "policy": _kept("policy"),
                "reread": _maybe(
                    _object({"class": _kept("reread_class"), "control": _kept("reread_control")})
                ),
                "sweep": _kept("sweep"),
            },
            {
                "children_chosen": _object(
                    {"confirmed": _WHOLE, "found": _WHOLE, "others": _many(_TEXT)},
                    {"others_count": _WHOLE, "others_sha256": _TEXT},
                )
            },
        ),
        _graded,
    ),
}
_UNKNOWN: Final = re.compile("(?!)"), _registered
# No field of these types is sorted behind its type.
_TYPE, _END = r"\"type\":\"", r'\"}"}'
_BEGIN = ', "body": "'


def read_line(line: bytes) -> tuple[int, Told]:
    """Read a line of ``bodies.jsonl.gz``: leaf index and body; raises Misshapen for what is no such line."""
    spelled = _spelled(line)
    if spelled is not None:
        return spelled
    index, body = load_body_line(line)
    return index, (body.encode(), None)


def _spelled(line: bytes) -> tuple[int, Told] | None:
    try:
        plain = line.decode()
    except UnicodeDecodeError:
        return None
    pattern, finish = _SPELLED.get(plain[plain.rfind(_TYPE) + len(_TYPE) : -len(_END)], _UNKNOWN)
    found = pattern.fullmatch(plain)
    if found is None and not plain.isascii():
        found = _wider(pattern).fullmatch(plain)
    if found is None:
        return None
    fields = finish(found.groupdict())
    if fields is None:
        return None
    # Each backslash of such a line stands before a quotation mark of the body; all before the body is ASCII.
    exact = line[found.end(1) + len(_BEGIN) : -len('"}')].translate(None, b"\\")
    return int(found[1]), (exact, fields)


@lru_cache
def _wider(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """Return the same pattern for texts of any characters."""
    return re.compile(pattern.pattern.replace(_PLAIN, _WIDE))
