"""Two who change one API key at once come one after the other, and neither fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.flows.test_late_registrations import is_waiting, only_where_writers_meet
from tests.servers.plugin import Eventually
from tests.world.world import ACTOR, PROJECT, World
from worker.flows.key import create_key, revoke_key
from worker.store import keys, log


def test_a_key_is_revoked_although_it_is_being_rotated(world: World, eventually: Eventually) -> None:
    only_where_writers_meet(world)
    made = create_key(
        world.database,
        label="ci",
        scopes=["threads:read"],
        projects=[PROJECT],
        actor=ACTOR,
        clock=world.clock,
    )
    with ThreadPoolExecutor(1) as pool:
        with world.database.write() as db:
            # As rotating does: the head first, and the key's row behind it.
            log.take_head(db)
            revoking = pool.submit(revoke_key, world.database, made.id, actor=ACTOR, clock=world.clock)
            eventually(lambda: is_waiting(world) or revoking.done())
            keys.end_key(db, made.id, world.clock.now())
        assert revoking.result(30)
    with world.database.read() as db:
        found = keys.get_key(db, made.id)
    assert found is not None
    assert found.revoked_at is not None
