"""What supports an absent read, where the provider refuses for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import pytest

from worker.flows.control import ControlDesk, Support
from worker.model.clock import SystemClock
from worker.model.evidence import Class, Control, Observation, Step
from worker.model.ids import ThreadId
from worker.model.thread import Account, Kind, Thread
from worker.pacing.base import CoolingDown

CLOCK = SystemClock()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAIR = ("demo", "file")


def thread(number: int) -> Thread:
    return Thread(
        id=ThreadId(f"thr_{number}"),
        project="demo",
        kind=Kind.FILE,
        external_id=f"file-{number}",
        account=Account(provider="openai", base_url="https://example.test/v1"),
        owner="o",
        registered_at=NOW,
    )


def supported(*answers: Class, going: Collection[str] = ()) -> tuple[Support, list[str]]:
    """Ask for a control while siblings are answered so, one after the other; returns it and who was read.

    ``going`` are those that another worker deletes meanwhile.
    """
    left, asked = list(answers), list[str]()

    async def read(sibling: Thread, step: Step) -> Observation:
        asked.append(sibling.external_id)
        return Observation(step=step, seen=left.pop(0), at=CLOCK.now(), subject=sibling.external_id)

    async def siblings(of: Thread, exclude: Collection[str], limit: int) -> Sequence[Thread]:
        return [thread(1), thread(2)]

    async def is_expected(sibling: Thread) -> bool:
        return sibling.external_id not in going

    return asyncio.run(ControlDesk(read, siblings, is_expected, CLOCK).support(PAIR, thread(0))), asked


def test_a_throttled_control_has_not_failed_and_is_asked_again() -> None:
    told, asked = supported(Class.THROTTLED, Class.THROTTLED, Class.PRESENT)
    assert told.control is Control.GOOD
    assert asked == ["file-1"] * 3


def test_a_control_that_is_only_throttled_makes_its_reader_wait() -> None:
    with pytest.raises(CoolingDown):
        supported(*[Class.THROTTLED] * 9)


def test_siblings_that_are_gone_fail_the_control_whatever_was_throttled_before() -> None:
    told, asked = supported(Class.THROTTLED, Class.OBJECT_ABSENT, Class.OBJECT_ABSENT)
    assert (told.control, told.failed_class) == (Control.FAILED, Class.OBJECT_ABSENT)
    assert asked == ["file-1", "file-1", "file-2"]


def test_a_sibling_that_another_worker_deletes_meanwhile_speaks_for_nothing() -> None:
    absent, present = Class.OBJECT_ABSENT, Class.PRESENT
    told, _ = supported(absent, absent, going=["file-1", "file-2"])
    assert told == Support(control=Control.NONE)
    told, _ = supported(absent, absent, going=["file-1"])
    assert (told.control, told.failed_class) == (Control.FAILED, absent)
    told, asked = supported(absent, present, going=["file-1"])
    assert told.control is Control.GOOD
    assert asked == ["file-1", "file-2"]


@pytest.mark.parametrize("seen", [Class.ROUTE_ABSENT, Class.DENIED, Class.ERROR])
def test_a_sibling_that_was_not_found_gone_fails_the_control_whoever_deletes_it(seen: Class) -> None:
    told, _ = supported(seen, seen, going=["file-1", "file-2"])
    assert (told.control, told.failed_class) == (Control.FAILED, seen)
