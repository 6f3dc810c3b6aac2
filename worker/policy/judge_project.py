"""Judge one difference between two versions of a project or of the constraints, by its path."""

from __future__ import annotations

from collections.abc import Mapping

from worker.policy.document import Constraints, Mode, OnPartial, Project
from worker.policy.durations import Duration
from worker.policy.effects import Judgement, loosening, neutral, tightening
from worker.policy.lengths import lasts_as_long

_ACCOUNT = ("spec.provider", "spec.base_url", "spec.organization", "spec.provider_project")
_PACE = ("spec.rate", "spec.concurrency")
# How narrowly new policies must start: nothing said is the same as enforce.
_STARTS: Mapping[Mode | None, int] = {None: 0, Mode.ENFORCE: 0, Mode.AUDIT: 1, Mode.DISABLED: 2}


def judge_project(path: str, before: Project, after: Project) -> Judgement:
    """Judge the difference at that path; one that is not known is loosening."""
    if path in _ACCOUNT:
        return loosening("Another account: the same ids may mean other objects there, or none.")
    if path == "spec.profile" or path.startswith("spec.profile."):
        return loosening("Another profile reads other answers as gone.")
    if path == "spec.on_partial":
        return _on_partial(after)
    if path == "spec.controls":
        return _controls(before, after)
    if path.startswith("spec.admin_key"):
        return neutral("No deletion is sent with it.")
    if path.startswith("spec.api_key"):
        return neutral("A rotated key is no change of account.")
    if path.startswith(_PACE):
        return neutral("Only the pace of requests changes.")
    if path.startswith("metadata."):
        return neutral("It is a name for people; no decision reads it.")
    return loosening("Nobody has proven what this field does.")


def judge_added_project(*, has_threads: bool) -> Judgement:
    """Judge a project that the base does not have; threads left from an earlier time go on being deleted."""
    if has_threads:
        return loosening("Threads of that project are still registered, and may be deleted again.")
    return neutral("No thread of it was registered, and nothing is until it is in force.")


def judge_removed_project() -> Judgement:
    """Judge a project that the head no longer has."""
    return loosening("Its threads lose their account: nothing is deleted or looked at there any more.")


def _on_partial(after: Project) -> Judgement:
    if after.on_partial is OnPartial.KEEP:
        return tightening("A container is kept while some of its children would not go.")
    return loosening("A container is deleted although some of its children would not go.")


def _controls(before: Project, after: Project) -> Judgement:
    if set(after.controls) <= set(before.controls):
        return tightening("There are fewer ways to go on deleting where no other thread can be read.")
    return loosening("Deleting goes on where it stopped for want of a control.")


def judge_constraints(path: str, before: Constraints | None, after: Constraints | None) -> Judgement:
    """Judge the difference at that path; ``spec`` is the whole document, added or removed."""
    if before is None:
        return tightening("Policies must keep bounds from now on.")
    if after is None:
        return loosening("Policies need keep no bounds any more.")
    if path.startswith("metadata."):
        return neutral("It is a name for people; no decision reads it.")
    if path in _BOUNDS and _as_narrow(path, before, after):
        return tightening("Policies must keep a narrower bound.")
    return loosening("Policies may keep a wider bound.")


_BOUNDS = (
    "spec.min_delete_after",
    "spec.max_delete_after",
    "spec.max_guard_percent",
    "spec.new_policies_start_in",
)


def _as_narrow(path: str, before: Constraints, after: Constraints) -> bool:
    match path:
        case "spec.min_delete_after":
            return _none_is_widest(before.min_delete_after, after.min_delete_after, floor=True)
        case "spec.max_delete_after":
            return _none_is_widest(before.max_delete_after, after.max_delete_after, floor=False)
        case "spec.max_guard_percent":
            was, now = before.max_guard_percent, after.max_guard_percent
            return now is not None and (was is None or now <= was)
        case _:
            return _STARTS[after.new_policies_start_in] >= _STARTS[before.new_policies_start_in]


def _none_is_widest(was: Duration | None, now: Duration | None, *, floor: bool) -> bool:
    if was is None or now is None:
        return was is None
    return lasts_as_long(now, was) if floor else lasts_as_long(was, now)
