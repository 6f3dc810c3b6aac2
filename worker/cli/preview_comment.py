"""A preview as a comment on a pull request: Markdown that fits one screen."""

from __future__ import annotations

from collections.abc import Iterator

from worker.cli.output import Record
from worker.cli.preview_words import (
    HORIZONS,
    MOST_OVERLAPS,
    MOST_ROWS,
    affected,
    and_more,
    arrow,
    by_project,
    code_span,
    guard_text,
    guards_of,
    ids_of,
    next_step,
    outcome_of,
    overlap_text,
    rules_of,
    unaffected,
    verdict,
)

_SHORT = 12


def markdown(made: Record) -> str:
    """Return the comment: at most 10 rows a table and 10 ids a list."""
    return "\n".join(_markdown(made))


def _markdown(made: Record) -> Iterator[str]:
    yield f"### Retention preview: {verdict(made)}"
    yield ""
    sides = f"proposed {code_span(_brief(made['head']))}, in force {code_span(_brief(made['base']))}"
    yield f"{code_span(made['id'])}, registry at {made['snapshot_at']}, {sides}"
    if not made["changed"]:
        yield ""
        yield "Nothing changes: both bundles mean the same."
        return
    yield from _change_table(made)
    yield from _policy_table(made)
    yield ""
    yield from _points(made)
    yield ""
    yield next_step(made, code=True)


def _change_table(made: Record) -> Iterator[str]:
    yield from ("", "| change | before | after | effect |", "|---|---|---|---|")
    for one in made["changes"][:MOST_ROWS]:
        effect = f"**{one['effect']}**" if one["effect"] == "loosening" else one["effect"]
        name = f"{one['document'].rpartition('/')[2]} {one['path'].removeprefix('spec.')}"
        yield f"| {code_span(name)} | {code_span(one['before'])} | {code_span(one['after'])} | {effect} |"
    yield from _below(len(made["changes"]) - MOST_ROWS + made["more_changes"], "changes")


def _policy_table(made: Record) -> Iterator[str]:
    yield from ("", "| policy | due now | in 7 d | in 30 d | earlier | later | guards, if swept now |")
    yield "|---|---|---|---|---|---|---|"
    policies = list(affected(made))
    for one in policies[:MOST_ROWS]:
        due = [arrow(one["due"][key]) for key, _ in HORIZONS]
        due[0] = f"{due[0]} {by_project(one, 'now', escape=True)}".strip()
        guard = "; ".join(guard_text(guard, strong=True) for guard in guards_of(made, one["policy"]))
        cells = [code_span(one["policy"]), *due, str(one["earlier"]), str(one["later"]), guard or "none"]
        yield f"| {' | '.join(cells)} |"
    yield from _below(len(policies) - MOST_ROWS, "policies")


def _points(made: Record) -> Iterator[str]:
    removed, due = made["protection_removed"], made["newly_due"]
    if removed["threads"]:
        rules = rules_of(removed, escape=True)
        yield f"- **protection removed from {removed['threads']}** ({rules}): {ids_of(removed, escape=True)}"
    if due["threads"]:
        yield f"- newly due now: {due['threads']}: {ids_of(due, escape=True)}"
    before, after = outcome_of(made, "UNMANAGED")
    yield f"- unmanaged {before} -> {after}, held {made['held']}, unaffected {unaffected(made)}"
    for overlap in made["overlaps"][:MOST_OVERLAPS]:
        yield f"- overlap: {overlap_text(overlap, escape=True)}"


def _brief(side: Record) -> str:
    if side["digest"] is None:
        return "nothing yet"
    commit = f" at {side['commit'][:_SHORT]}" if side["commit"] else ""
    return f"{side['digest'].removeprefix('sha256:')[:_SHORT]}{commit}"


def _below(count: int, what: str) -> Iterator[str]:
    """Tell what a table leaves out; the empty line ends the table."""
    for line in and_more(count, what):
        yield from ("", line)
