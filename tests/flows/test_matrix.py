"""Every kind in every situation under every control: each claim is compared with what the sandbox holds.

One world holds a project per situation and control, so that each thread has exactly the controls of its
case. `docs/evidence.md` is the table that comes of it; TENURE_TEST_WRITE_DOCS=1 writes it anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest

from tests.world.world import POLICIES, World, make_world, project_document
from worker.model.evidence import Grade
from worker.model.thread import Kind, ThreadState
from worker.providers.table import KINDS
from worker.sandbox.faults import FAULTS, Fault, FaultRule
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import SandboxOptions
from worker.store.threads import StoredThread

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "evidence.md"
# Which controls a project has: a live sibling, a canary alone, or nothing.
CONTROLS = ("sibling", "canary", "none")
# What stood at the provider when Tenure came: the thread, or nothing any more.
HISTORIES = ("present", "gone")
# These lie about one object in a way that no client can tell from the truth; they are tried on whole kinds.
UNDETECTABLE = frozenset({"object-404", "everything-404", "wrong-key-404"})
# Waiting for these takes real time: the slow ones end as an error does, the throttled ones only wait.
SLOW = frozenset({"slow", "slow-body", "timeout", "timeout-after", "throttled", "throttled-silent"})
A_DAY = timedelta(hours=25)
LATER = (timedelta(minutes=2), timedelta(minutes=11), *(timedelta(hours=1, minutes=1),) * 10, A_DAY)
_GONE = frozenset({"confirmed", "inferred", "sustained", "absent"})


# One worker runs them all: the world that they look at is made once.
# One fixture works through every case, so it may take longer than a test of one thing.
pytestmark = [pytest.mark.xdist_group("matrix"), pytest.mark.timeout(400)]


def situations() -> list[str]:
    """Return the sandbox's faults that strike one object, and none at all."""
    return ["none", *(one.value for one in FAULTS if one.value not in UNDETECTABLE | SLOW)]


def kinds() -> list[Kind]:
    """Return the kinds that both the providers and the sandbox know."""
    known = {one.value for one in ObjectKind}
    return [kind for kind in Kind if kind in KINDS and kind.value in known]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thread in its situation."""

    kind: Kind
    situation: str
    control: str
    history: str
    stored: StoredThread

    @property
    def project(self) -> str:
        return self.stored.thread.project


def _project(situation: str, control: str, history: str) -> str:
    return f"m-{situation}-{control}-{history}"


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, list[Case]]]:
    """Run all cases through one world until nothing moves any more."""
    folder = tmp_path_factory.mktemp("matrix")
    # What reappears does so when the test says it, not when a clock does.
    options = SandboxOptions(reappears_after=None)
    with make_world(f"sqlite:///{folder / 'tenure.db'}", folder / "policies", options) as world:
        world.policies(_documents(world))
        cases = [
            _case(world, *combination) for combination in product(kinds(), situations(), CONTROLS, HISTORIES)
        ]
        world.sandbox.set_faults(
            FaultRule(fault=Fault(case.situation), object_id=case.stored.thread.external_id)
            for case in cases
            if case.situation != "none"
        )
        world.sweep()
        world.drain(most=400)
        for later in LATER:
            if later is A_DAY:
                world.sandbox.store.reappear()
            world.clock.move(later)
            world.drain(most=400)
        yield world, cases


def _documents(world: World) -> str:
    """Return the policies with one project per situation, control and history."""
    documents = [POLICIES.replace("max_deletes: 1000", "max_deletes: 100000")]
    for situation, control, history in product(situations(), CONTROLS, HISTORIES):
        permitted = "[sibling, canary]" if control == "canary" else "[sibling]"
        name = _project(situation, control, history)
        documents.append(project_document(world.sandbox.base_url, name=name, extra=f"controls: {permitted}"))
    return "\n".join(documents)


def _case(world: World, kind: Kind, situation: str, control: str, history: str) -> Case:
    project = _project(situation, control, history)
    stored = world.register(kind=kind, project=project)
    if control == "sibling":
        world.register(kind=kind, project=project, age=timedelta(days=1))
    if history == "gone":
        world.sandbox.store.delete(ObjectKind(kind.value), stored.thread.external_id)
    return Case(kind=kind, situation=situation, control=control, history=history, stored=stored)


def _word(world: World, case: Case) -> str:
    found = world.thread(case.stored)
    if found.grade is None:
        return found.thread.state.value
    return found.grade.value


def test_there_are_at_least_a_thousand_cases(matrix: tuple[World, list[Case]]) -> None:
    _, cases = matrix
    assert len(cases) >= 1000


def test_no_claim_is_false_and_nothing_called_gone_is_there(matrix: tuple[World, list[Case]]) -> None:
    world, cases = matrix
    false = [
        (case.project, case.kind.value, _word(world, case))
        for case in cases
        if _word(world, case) in _GONE and world.exists(case.stored)
    ]
    assert false == []


def test_what_was_gone_before_is_never_called_deleted(matrix: tuple[World, list[Case]]) -> None:
    world, cases = matrix
    ours = [
        (case.project, case.kind.value, _word(world, case))
        for case in cases
        if case.history == "gone" and _word(world, case) in {"confirmed", "inferred", "sustained"}
    ]
    assert ours == []


def test_nothing_is_claimed_without_any_control(matrix: tuple[World, list[Case]]) -> None:
    world, cases = matrix
    claimed = [
        (case.project, case.kind.value, _word(world, case))
        for case in cases
        if case.control == "none" and _word(world, case) in _GONE
    ]
    assert claimed == []


def test_every_thread_has_come_to_an_end_that_a_person_can_see(matrix: tuple[World, list[Case]]) -> None:
    world, cases = matrix
    moving = [
        (case.project, case.kind.value)
        for case in cases
        if world.state(case.stored) in {ThreadState.LIVE, ThreadState.ACKNOWLEDGED}
    ]
    assert moving == []


def test_the_documented_matrix_is_what_happens(matrix: tuple[World, list[Case]]) -> None:
    world, cases = matrix
    text = _document(world, cases)
    if os.environ.get("TENURE_TEST_WRITE_DOCS") == "1":
        DOCUMENT.write_text(text, encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == text


def _document(world: World, cases: list[Case]) -> str:
    """Write the table: a row per situation, a column per control; kinds that agree share a cell."""
    lines = [
        "# Evidence: what Tenure says in every situation",
        "",
        f"Written by a test that runs {len(cases)} cases against the sandbox and compares each claim with",
        "what the sandbox really holds. A cell is the grade that is left when nothing moves any more; where",
        "kinds differ, each is named. Only `confirmed`, `inferred` and `sustained` are called deleted. A",
        "provider that throttles is waited for and never graded.",
        "",
        "Controls: *sibling* is a registered live thread of the same kind and project; *canary* means that",
        "there is none and the project permits one; *none* means neither. Kinds without a cheap canary are",
        "as *none*.",
        "",
    ]
    for history in HISTORIES:
        title = "The thread is there" if history == "present" else "The thread was gone before"
        lines += [f"## {title}", "", "| situation | sibling | canary | none |", "|---|---|---|---|"]
        for situation in situations():
            cells = [_cell(world, cases, situation, control, history) for control in CONTROLS]
            lines.append(f"| {_named(situation)} | {' | '.join(cells)} |")
        lines.append("")
    lines += ["## The grades", "", *(f"- `{grade.value}`" for grade in Grade), ""]
    return "\n".join(lines)


def _named(situation: str) -> str:
    if situation == "none":
        return "nothing goes wrong"
    return f"`{situation}`: {FAULTS[Fault(situation)].summary}"


def _cell(world: World, cases: list[Case], situation: str, control: str, history: str) -> str:
    told: dict[str, list[str]] = {}
    for case in cases:
        if (case.situation, case.control, case.history) == (situation, control, history):
            told.setdefault(_word(world, case), []).append(case.kind.value)
    if len(told) == 1:
        return next(iter(told))
    return "; ".join(f"{word} ({', '.join(sorted(names))})" for word, names in sorted(told.items()))
