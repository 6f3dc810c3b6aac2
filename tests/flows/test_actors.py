"""Who did it stands in every entry: a key, a policy at its commit, or a system at its version."""

from __future__ import annotations

import subprocess
from datetime import timedelta

from tests.world.world import ACTOR, POLICIES, World
from worker.audit.actors import is_actor
from worker.store import bundles


def test_a_scheduled_plan_names_its_policy_and_the_bundles_digest_outside_of_git(world: World) -> None:
    world.register()
    world.clock.move(timedelta(minutes=2))
    world.tick()
    (planned,) = world.entries("sweep.planned")
    with world.database.read() as db:
        digest = bundles.digest_in_force(db)
    assert planned["actor"] == f"policy:all-30d@{digest}"


def test_a_scheduled_plan_names_its_policy_and_the_commit_that_it_came_from(world: World) -> None:
    git = ("git", "-C", str(world.folder), "-c", "user.name=a", "-c", "user.email=a@example.org")
    for args in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run([*git, *args], check=True)
    world.rules(POLICIES.replace("all-30d, owner: tests", "all-30d, owner: others"))
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    world.register()
    world.clock.move(timedelta(minutes=2))
    world.tick()
    (planned,) = world.entries("sweep.planned")
    assert planned["actor"] == f"policy:all-30d@{commit.stdout.strip()}"


def test_a_plan_by_hand_names_who_ordered_it(world: World) -> None:
    world.register()
    world.sweep()
    (planned,) = world.entries("sweep.planned")
    assert planned["actor"] == ACTOR


def test_every_entry_of_a_deletion_names_an_actor(world: World) -> None:
    world.register()
    world.register(age=timedelta(days=3))
    world.clock.move(timedelta(minutes=2))
    world.tick()
    world.drain()
    told = {one["type"]: one["actor"] for one in world.entries()}
    assert {"thread.registered", "sweep.planned", "delete.intended", "thread.graded"} <= set(told)
    assert all(map(is_actor, told.values()))
