"""Checks across the documents of a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from urllib.parse import urlsplit

from worker.model.thread import Kind
from worker.policy.document import Constraints, Mode, Policy, Project, Provider
from worker.policy.match import glob_matches
from worker.policy.overlaps import check_overlaps
from worker.policy.read_documents import Draft

_OPENAI_HOST = "api.openai.com"


def check_across(drafts: Sequence[Draft], known_policies: frozenset[str] | None) -> None:
    """Note what is wrong between documents, in the notes of the file that it stands in."""
    _check_names(drafts)
    projects = [draft.value for draft in drafts if isinstance(draft.value, Project)]
    owners = {draft.value.owner for draft in drafts if isinstance(draft.value, Policy | Project)}
    known = {"project": {project.name for project in projects}, "owner": owners}
    constraints = _one_constraints(drafts)
    for draft in drafts:
        if isinstance(draft.value, Policy):
            _check_patterns(draft, draft.value, known)
            _check_endpoints(draft, draft.value, projects)
            if constraints:
                _check_bounds(draft, draft.value, constraints)
                _check_start(draft, draft.value, constraints, known_policies)
    check_overlaps(drafts)


def _check_names(drafts: Sequence[Draft]) -> None:
    first: dict[tuple[str, str], Draft] = {}
    for draft in drafts:
        match draft.value:
            case Policy(name=name):
                code, what = "RP015", "policy"
            case Project(name=name):
                code, what = "RP032", "project"
            case _:
                continue
        earlier = first.setdefault((what, name), draft)
        if earlier is not draft:
            place = f"{earlier.notes.file}:{earlier.site('metadata.name').line}"
            draft.notes.error(
                draft.site("metadata.name"),
                code,
                f'{what} name "{name}" already defined in {place}.',
                "Rename one of them.",
            )


def _one_constraints(drafts: Sequence[Draft]) -> Constraints | None:
    found: Constraints | None = None
    for draft in drafts:
        if isinstance(draft.value, Constraints):
            if found:
                draft.notes.error(
                    draft.site("metadata.name"),
                    "RP038",
                    "there is more than one Constraints document.",
                    f'Merge it into "{found.name}".',
                )
            found = found or draft.value
    return found


def _check_patterns(draft: Draft, policy: Policy, known: Mapping[str, AbstractSet[str]]) -> None:
    """Warn of an exact name that nobody has: a slip there covers nothing, or excepts nothing."""
    for field, match in (("match", policy.match), ("except", policy.except_)):
        for what, patterns in (("project", match.projects), ("owner", match.owners)) if match else ():
            for index, pattern in enumerate(patterns):
                if "*" not in pattern and "?" not in pattern and pattern not in known[what]:
                    draft.notes.warn(
                        draft.site(f"spec.{field}.{what}s[{index}]"),
                        "RP018",
                        f'pattern "{pattern}" has no wildcard and matches only that exact {what}.',
                        f"No such {what} is known. Patterns are anchored globs.",
                    )


def _check_endpoints(draft: Draft, policy: Policy, projects: Iterable[Project]) -> None:
    """Warn where a kind has no endpoint that could show a deletion: OpenAI's threads, since 2026-08-26."""
    if policy.delete is None or policy.mode is not Mode.ENFORCE or Kind.THREAD not in policy.match.kinds:
        return
    covered = [project for project in projects if _covers(policy, project.name)]
    # With no project known, it may be OpenAI's; with some known, they say where the threads are.
    if not covered or any(_is_openai(project) for project in covered):
        draft.notes.warn(
            draft.site(f"spec.match.kinds[{policy.match.kinds.index(Kind.THREAD)}]"),
            "RP019",
            'kind "thread" has no working provider endpoint since 2026-08-26: a 404 proves nothing.',
            "Use mode: audit.",
        )


def _covers(policy: Policy, project: str) -> bool:
    return not policy.match.projects or any(glob_matches(one, project) for one in policy.match.projects)


def _is_openai(project: Project) -> bool:
    account = project.account
    return account.provider == Provider.OPENAI and urlsplit(account.base_url).hostname == _OPENAI_HOST


def _check_bounds(draft: Draft, policy: Policy, constraints: Constraints) -> None:
    least, most, percent = (
        constraints.min_delete_after,
        constraints.max_delete_after,
        constraints.max_guard_percent,
    )
    after = policy.delete.after if policy.delete else None
    if after and least and after.ends_before(least):
        what = f"delete.after ({after}) is shorter than min_delete_after ({least})"
        _refuse(draft, "spec.delete.after", what, f"Write at least {least}.")
    if after and most and most.ends_before(after):
        what = f"delete.after ({after}) is longer than max_delete_after ({most})"
        _refuse(draft, "spec.delete.after", what, f"Write at most {most}.")
    if percent is not None and policy.guards and policy.guards.max_percent > percent:
        what = f"guards.max_percent ({policy.guards.max_percent:g}) is above max_guard_percent ({percent:g})"
        _refuse(draft, "spec.guards.max_percent", what, f"Write at most {percent:g}.")


def _refuse(draft: Draft, site: str, what: str, fix: str) -> None:
    draft.notes.error(draft.site(site), "RP033", f"{what} of the Constraints document.", fix)


def _check_start(
    draft: Draft, policy: Policy, constraints: Constraints, known_policies: frozenset[str] | None
) -> None:
    """A new delete rule begins where the constraints say. Floors may protect from the first day."""
    wanted = constraints.new_policies_start_in
    if wanted is None or known_policies is None or policy.delete is None or policy.name in known_policies:
        return
    if policy.mode not in {wanted, Mode.DISABLED} and wanted is not Mode.ENFORCE:
        draft.notes.error(
            draft.site("spec.mode"),
            "RP017",
            f"new policies must be merged with mode: {wanted} first (constraints).",
            f"Write mode: {wanted}; change it once the policy was in force.",
        )
