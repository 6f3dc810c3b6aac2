"""Who is claimed first, where several projects share one credential."""

from __future__ import annotations

from datetime import timedelta

import pytest

from worker.flows.claim import MOST_ITEMS, _in_turns, _turns, most_items
from worker.model.ids import ItemId, ThreadId
from worker.model.work import Lease, WorkItem


@pytest.mark.parametrize(
    ("chance", "order"),
    [(0.0, ["a", "b", "c"]), (0.34, ["b", "c", "a"]), (0.67, ["c", "a", "b"]), (0.999, ["c", "a", "b"])],
)
def test_every_project_begins_now_and_then(chance: float, order: list[str]) -> None:
    assert list(_turns(["a", "b", "c"], chance)) == order


def test_no_project_takes_no_turns() -> None:
    assert list(_turns([], 0.5)) == []


def _item(number: int, project: str) -> WorkItem:
    return WorkItem(
        id=ItemId(f"itm_{number}"),
        thread_id=ThreadId(f"thr_{number}"),
        sweep_id="swp_1",
        policy="p",
        project=project,
        credential="c",
        fence=1,
    )


def test_projects_of_one_batch_are_worked_off_in_turn() -> None:
    items = [_item(number, project) for number, project in enumerate("aaaaabbc")]
    worked = _in_turns(items)
    assert "".join(one.project for one in worked) == "abcabaaa"
    assert [one.id for one in worked if one.project == "a"] == [one.id for one in items[:5]]
    assert _in_turns([]) == []


@pytest.mark.parametrize(
    ("per_second", "seconds", "items"),
    [(5.0, 300, 150), (1000.0, 300, MOST_ITEMS), (0.001, 300, 1), (5.0, 20, 10)],
)
def test_a_batch_is_what_can_be_sent_within_its_deadline(per_second: float, seconds: int, items: int) -> None:
    assert most_items(per_second, Lease(length=timedelta(seconds=seconds))) == items
