"""Who is claimed first, where several projects share one credential."""

from __future__ import annotations

import pytest

from worker.flows.claim import _turns


@pytest.mark.parametrize(
    ("chance", "order"),
    [(0.0, ["a", "b", "c"]), (0.34, ["b", "c", "a"]), (0.67, ["c", "a", "b"]), (0.999, ["c", "a", "b"])],
)
def test_every_project_begins_now_and_then(chance: float, order: list[str]) -> None:
    assert list(_turns(["a", "b", "c"], chance)) == order


def test_no_project_takes_no_turns() -> None:
    assert list(_turns([], 0.5)) == []
