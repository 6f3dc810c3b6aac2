"""Holds, pauses, withdrawals and erasures against a batch that is being drained, at random moments.

`TENURE_TEST_RACES=1000` runs that many rounds on each database, `TENURE_TEST_RACES_SEED` other ones.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from tests.world.racing import MEANS, Race, Round, Tally
from tests.world.world import POLICIES, World
from worker.model.thread import Kind

ROUNDS = int(os.environ.get("TENURE_TEST_RACES", "50"))
SEED = int(os.environ.get("TENURE_TEST_RACES_SEED", "1"))
# As long as the clock moves 2 minutes in a round, what is young stays young.
YOUNG = timedelta(days=3)


@pytest.mark.timeout(60 + 3 * ROUNDS)
def test_nothing_is_deleted_behind_a_protection_and_every_answer_is_true(world: World) -> None:
    # Most of the population goes here, again and again.
    world.rules(
        POLICIES.replace("min_population: 0", "min_population: 1000000").replace(
            "max_deletes: 1000", "max_deletes: 1000000"
        )
    )
    for kind in (Kind.FILE, Kind.CONVERSATION):
        world.register(kind=kind, age=YOUNG)
    tally = Tally()
    for number in range(ROUNDS):
        race = Race.of(SEED, number)
        Round(world, race).run(tally)
    print(tally)  # noqa: T201 - figures for whoever runs many
    assert tally.lost, "no DELETE came before a protection: the races were none"
    assert tally.saved, "no protection came before a DELETE: the races were none"
    assert set(tally.by_means) == set(MEANS)
    assert tally.too_late + tally.children + tally.uncertain, tally
    assert tally.refused, tally
