"""Workers that arm one after another, and a hold that waits among them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.flows.test_late_registrations import is_waiting, only_where_writers_meet
from tests.servers.plugin import Eventually
from tests.world.world import PROJECT, World
from worker.model.decision import HoldScope
from worker.store import protections


@pytest.mark.parametrize("scope", [HoldScope(owners=("ann",)), HoldScope(projects=(PROJECT,))])
def test_workers_that_arm_one_after_another_keep_no_hold_waiting_for_ever(
    world: World, eventually: Eventually, scope: HoldScope
) -> None:
    only_where_writers_meet(world)

    def arm() -> None:
        with world.database.write() as db:
            protections.share(db, {PROJECT})

    with ThreadPoolExecutor(2) as background:
        with world.database.write() as db:
            protections.share(db, {PROJECT})
            holding = background.submit(world.hold, scope)
            eventually(lambda: is_waiting(world))
            arming = background.submit(arm)
            eventually(lambda: is_waiting(world, 2) or arming.done())
            assert not arming.done()
        holding.result(30)
        arming.result(30)
