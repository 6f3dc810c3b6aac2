"""What a preview says, in the words that the terminal and the comment share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from worker.cli.output import Record, printable

HORIZONS = (("now", "now"), ("in_7_days", "in 7 d"), ("in_30_days", "in 30 d"))
MOST_ROWS = 10
MOST_OVERLAPS = 3
_MOST_PROJECTS = 3
_LONGEST_VALUE = 60
_HOW = {
    "superseded": "It was previewed anew since: approve that preview.",
    "base_changed": "Another bundle came into force since: preview it anew.",
    "expired": "More than 72 hours have passed: preview it anew.",
    "in_force": "It is in force.",
}


def verdict(made: Record) -> str:
    """Return what it comes to, for the first line."""
    if not made["changed"]:
        return "nothing changes"
    if made["base"]["digest"] is None:
        return "the first bundle"
    if not made["loosening"]:
        return "changes, and loosens nothing"
    if made["approval"] and made["approval"]["lives"]:
        return f"LOOSENING, approved by {made['approval']['approved_by']}"
    return "LOOSENING, needs an approval"


def next_step(made: Record, *, code: bool = False) -> str:
    """Return what is to be done, with the whole command where somebody must approve."""
    if made["base"]["digest"] is None:
        return "Nothing is in force yet, so this needs no approval."
    if not made["loosening"]:
        return "It needs no approval: beat puts it in force once the policies folder holds it."
    if made["state"] in _HOW:
        return _HOW[made["state"]]
    if made["approval"]:
        return f"Approved until {made['approval']['expires_at']}; beat puts it in force."
    order = f"tenure policy approve {made['id']} --digest {made['head']['digest']} --reason R"
    return f"To approve it, by another key: {code_span(order, short=False) if code else order}"


def affected(made: Record) -> Iterator[Record]:
    """Yield the policies whose threads are affected, or which the guards would stop."""
    for one in made["policies"]:
        moves = any(counts["before"] != counts["after"] or counts["newly"] for counts in one["due"].values())
        blocked = any(guard["verdict"] != "fits" for guard in guards_of(made, one["policy"]))
        if moves or one["earlier"] or one["later"] or blocked:
            yield one if one["policy"] else {**one, "policy": "(no policy)"}


def guards_of(made: Record, policy: str) -> list[Record]:
    """Return what the guards say to a sweep of this policy."""
    return [one for one in made["guards"] if one["policy"] == policy]


def guard_text(guard: Record, *, strong: bool = False) -> str:
    """Return the verdict with its figures."""
    figures = (
        f"{guard['planned']} planned, {guard['released']} released in {guard['limits']['window']}, "
        f"of {guard['population']}"
    )
    match guard["verdict"]:
        case "blocked":
            # The reasons hold the figures and the limit that they exceed.
            told = f"BLOCKED by {'; '.join(guard['reasons'])}"
        case "needs_approval":
            told = f"{figures}: fit, and the sweep needs an approval"
        case _:
            return f"{figures}: fit"
    return f"**{told}**" if strong else told


def arrow(counts: Record) -> str:
    """Return how many before and after, and how many of those are new."""
    gain = f" (+{counts['newly']})" if counts["newly"] else ""
    return f"{counts['before']} -> {counts['after']}{gain}"


def by_project(one: Record, key: str, *, escape: bool = False) -> str:
    """Return where the new ones are."""
    found = [(each["project"], each["due"][key]["newly"]) for each in one["projects"]]
    new = sorted((pair for pair in found if pair[1]), key=lambda pair: (-pair[1], pair[0]))
    named = [
        f"{code_span(name) if escape else printable(name)} {count}" for name, count in new[:_MOST_PROJECTS]
    ]
    more = [f"{len(new) - _MOST_PROJECTS} more projects"] if len(new) > _MOST_PROJECTS else []
    return ", ".join(named + more)


def rules_of(removed: Record, *, escape: bool = False) -> str:
    """Return the retain rules that no longer protect, with their counts."""
    rules = [(one["rule"], one["threads"]) for one in removed["rules"]]
    return ", ".join(f"{code_span(name) if escape else name} {count}" for name, count in rules[:MOST_ROWS])


def ids_of(listed: Record, *, escape: bool = False) -> str:
    """Return the first ids."""
    ids: Sequence[str] = listed["ids"]
    shown = [code_span(one, short=False) if escape else one for one in ids]
    return ", ".join(shown) + (", ..." if listed["threads"] > len(ids) else "")


def overlap_text(overlap: Record, *, escape: bool = False) -> str:
    """Return which two rules match the same threads, and which decides."""
    names = [code_span(one) if escape else one for one in overlap["policies"]]
    by = ", ".join(
        f"{code_span(name) if escape else name} {count}" for name, count in overlap["decided_by"].items()
    )
    return f"{' and '.join(names)} on {overlap['threads']} threads, decided by {by}"


def outcome_of(made: Record, name: str) -> tuple[int, int]:
    """Return how many threads have this outcome before and after."""
    before, after = (made["outcomes"][side].get(name, 0) for side in ("before", "after"))
    return before, after


def unaffected(made: Record) -> str:
    """Return how many threads are decided as before."""
    return f"{made['unaffected']} of {made['threads']}"


def and_more(count: int, what: str) -> Iterator[str]:
    """Yield a line that tells what was left out, where anything was."""
    if count > 0:
        yield f"... and {count} more {what}."


def code_span(value: Any, *, short: bool = True) -> str:  # noqa: ANN401 - any cell of a preview
    """Write a value that came from a policy file so that it cannot end its cell or begin anything."""
    if value is None:
        return ""
    text = printable(" ".join(str(value).split())).replace("`", "'").replace("|", "\\|")
    if short and len(text) > _LONGEST_VALUE:
        text = f"{text[:_LONGEST_VALUE]}..."
    return f"`{text}`"
