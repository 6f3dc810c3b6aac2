"""A preview decides the whole registry under both bundles, in one snapshot, and changes nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.world.approving import previewed
from tests.world.world import POLICIES, POLICY, PROJECT, World, project_document
from worker.flows.activate import Source
from worker.flows.erase import order_erasure
from worker.flows.preview import KEPT_FOR, BundleRefused, preview, propose
from worker.model.clock import rfc3339
from worker.model.decision import HoldScope, TagSelector
from worker.model.errors import Invalid
from worker.model.thread import Kind, ThreadState
from worker.store import previews, threads
from worker.store.threads import StoredThread

DAY = timedelta(days=1)
OTHER = "demo-other"
# Everything that a decision can say, under the rules below.
BASE = """
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: a-30d, owner: tests}
spec:
  mode: enforce
  match: {owners: [team]}
  delete: {after: 30d, from: created_at}
  guards: {max_deletes: 5, max_percent: 100, min_population: 0, window: 24h}
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: b-notice, owner: tests}
spec:
  mode: enforce
  match: {owners: [noticed]}
  delete: {after: 30d}
  before_delete: [{notify: {to: owner, grace: 7d}}]
  guards: {max_deletes: 5, max_percent: 100, min_population: 0, window: 24h}
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: c-active, owner: tests}
spec:
  mode: enforce
  match: {owners: [active]}
  delete: {after: 30d, from: last_activity_at}
  guards: {max_deletes: 5, max_percent: 100, min_population: 0, window: 24h}
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: keep, owner: tests}
spec:
  mode: enforce
  match: {tags: [{key: keep, operator: Exists}]}
  retain: {for: forever}
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: spare-default, owner: tests}
spec:
  mode: enforce
  tier: default
  match: {owners: [team]}
  delete: {after: 300d}
  guards: {max_deletes: 5, max_percent: 100, min_population: 0, window: 24h}
"""


def whole(world: World, text: str) -> str:
    url = world.sandbox.base_url
    return text + project_document(url) + project_document(url, OTHER, extra="provider_project: other")


def look(world: World, text: str) -> dict[str, Any]:
    made = previewed(world.database, world.source, whole(world, text), clock=world.clock)
    return dict(made.result)


def of_policy(told: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in told["policies"] if one["policy"] == name)
    return found


def counts(before: int, after: int, newly: int) -> dict[str, int]:
    return {"before": before, "after": after, "newly": newly}


@pytest.fixture
def registry(world: World) -> dict[str, StoredThread]:
    """One thread for each outcome, and some more that are due or pending."""
    world.policies(whole(world, BASE))
    made = {
        "due": world.register(kind=Kind.FILE, age=40 * DAY),
        "due in 5": world.register(kind=Kind.FILE, age=25 * DAY),
        "due in 20": world.register(kind=Kind.FILE, age=10 * DAY),
        "elsewhere": world.register(kind=Kind.FILE, age=25 * DAY, project=OTHER),
        "held": world.register(kind=Kind.FILE, age=25 * DAY, tags={"case": "7"}),
        "retained": world.register(kind=Kind.FILE, age=40 * DAY, tags={"keep": "yes"}),
        "retained and held": world.register(kind=Kind.FILE, tags={"keep": "yes", "case": "7"}),
        "notify": world.register(kind=Kind.FILE, age=40 * DAY, owner="noticed"),
        "unmanaged": world.register(kind=Kind.FILE, age=40 * DAY, owner="nobody"),
        "quarantined": world.register(kind=Kind.FILE, age=4000 * DAY),
        "parked": world.register(kind=Kind.FILE, age=40 * DAY),
    }
    with world.database.write() as db:
        threads.set_state(db, made["parked"].thread.id, ThreadState.PARKED)
    world.hold(HoldScope(tags=(TagSelector(key="case", operator="Exists"),)))
    return made


@pytest.mark.usefixtures("registry")
def test_the_bundle_in_force_changes_nothing_against_itself(world: World) -> None:
    told = look(world, BASE)
    assert (told["changed"], told["loosening"], told["changes"]) == (False, False, [])
    assert told["outcomes"]["before"] == told["outcomes"]["after"]
    assert told["outcomes"]["after"] == {
        "DUE": 1,
        "HELD": 2,
        "NOTIFY": 1,
        "PENDING": 3,
        "QUARANTINED": 1,
        "RETAINED": 1,
        "UNMANAGED": 1,
    }
    assert (told["threads"], told["held"], told["unaffected"]) == (10, 2, 8)
    assert told["newly_due"] == {"threads": 0, "ids": []}


def test_a_shorter_ceiling_counts_what_is_newly_due_now_and_by_when(
    world: World, registry: dict[str, StoredThread]
) -> None:
    told = look(world, BASE.replace("after: 30d, from: created_at", "after: 20d, from: created_at"))
    assert (told["changed"], told["loosening"]) == (True, True)
    mine = of_policy(told, "a-30d")
    assert mine["due"] == {
        "now": counts(1, 3, 2),
        "in_7_days": counts(3, 3, 0),
        "in_30_days": counts(4, 4, 0),
    }
    assert (mine["earlier"], mine["later"]) == (3, 0)
    by_project = {one["project"]: one["due"]["now"] for one in mine["projects"]}
    assert by_project == {PROJECT: counts(1, 2, 1), OTHER: counts(0, 1, 1)}
    new = {registry[name].thread.id for name in ("due in 5", "elsewhere")}
    assert set(told["newly_due"]["ids"]) == new
    assert told["held"] == 2
    assert told["unaffected"] == 5


def test_a_longer_ceiling_moves_dates_later_and_needs_no_approval(
    world: World, registry: dict[str, StoredThread]
) -> None:
    del registry
    told = look(world, BASE.replace("after: 30d, from: created_at", "after: 60d, from: created_at"))
    assert told["loosening"] is False
    mine = of_policy(told, "a-30d")
    assert (mine["earlier"], mine["later"]) == (0, 4)
    assert mine["due"]["now"] == counts(1, 0, 0)


def test_a_floor_that_goes_names_its_threads_also_those_under_a_hold(
    world: World, registry: dict[str, StoredThread]
) -> None:
    told = look(world, BASE.replace("key: keep, operator", "key: never, operator"))
    lost = {registry[name].thread.id for name in ("retained", "retained and held")}
    removed = told["protection_removed"]
    assert (removed["threads"], set(removed["ids"])) == (2, lost)
    assert [(one["rule"], one["threads"]) for one in removed["rules"]] == [("keep", 2)]
    assert told["newly_due"]["ids"] == [registry["retained"].thread.id]


def test_a_floor_cut_so_short_that_it_is_over_protects_nobody_any_more(world: World) -> None:
    kept = BASE.replace("retain: {for: forever}", "retain: {for: 90d}")
    world.policies(whole(world, kept))
    one = world.register(kind=Kind.FILE, age=40 * DAY, tags={"keep": "yes"})
    removed = look(world, kept.replace("for: 90d", "for: 35d"))["protection_removed"]
    assert (removed["threads"], removed["ids"]) == (1, [one.thread.id])
    assert look(world, kept.replace("for: 90d", "for: 60d"))["protection_removed"]["threads"] == 0


@pytest.mark.usefixtures("registry")
def test_a_thread_that_moves_to_another_policys_sweep_is_not_newly_due(world: World) -> None:
    told = look(world, BASE.replace("name: a-30d", "name: other-30d"))
    assert of_policy(told, "a-30d")["due"]["now"] == counts(1, 0, 0)
    assert of_policy(told, "other-30d")["due"]["now"] == counts(0, 1, 0)
    assert told["newly_due"]["threads"] == 0


@pytest.mark.usefixtures("registry")
def test_what_nothing_manages_any_more_is_counted_by_outcome(world: World) -> None:
    told = look(world, BASE.replace("owners: [team]", "owners: [teams]"))
    assert (told["outcomes"]["before"]["UNMANAGED"], told["outcomes"]["after"]["UNMANAGED"]) == (1, 5)
    assert told["loosening"] is True  # another owner is matched


@pytest.mark.usefixtures("registry")
def test_guards_are_judged_as_a_sweep_now_would_be(world: World) -> None:
    text = BASE.replace("after: 30d, from: created_at", "after: 1d, from: created_at")
    told = look(world, text.replace("max_deletes: 5", "max_deletes: 3", 1))
    guard = next(one for one in told["guards"] if one["policy"] == "a-30d")
    # Held, retained, quarantined and parked threads are planned by no sweep; the held ones count as matched.
    assert (guard["verdict"], guard["planned"], guard["released"], guard["population"]) == (
        "blocked",
        4,
        0,
        8,
    )
    assert "max_deletes" in guard["reasons"][0]
    assert {one["verdict"] for one in told["guards"] if one["policy"] != "a-30d"} == {"fits"}


def test_the_guards_count_what_was_released_and_what_is_worked_on(world: World) -> None:
    world.register(kind=Kind.FILE)
    assert world.sweep().planned == 1
    world.register(kind=Kind.FILE)
    text = POLICIES + project_document(world.sandbox.base_url)
    told = previewed(world.database, world.source, text, clock=world.clock).result
    [guard] = told["guards"]
    assert (guard["planned"], guard["released"], guard["population"]) == (1, 1, 2)


def test_two_delete_rules_that_match_the_same_threads_are_shown_with_what_decides(
    world: World, registry: dict[str, StoredThread]
) -> None:
    del registry
    told = look(world, BASE)
    [overlap] = told["overlaps"]
    assert overlap["policies"] == ["a-30d", "spare-default"]
    assert overlap["threads"] == 8
    assert overlap["decided_by"] == {"QUARANTINED": 1, "a-30d": 5, "keep": 2}


def test_an_erasure_is_counted_under_its_own_name(world: World, registry: dict[str, StoredThread]) -> None:
    order_erasure(
        world.database,
        ids=(registry["unmanaged"].thread.id,),
        owner=None,
        reason="asked",
        at=None,
        actor="test tenure/0",
        clock=world.clock,
    )
    assert of_policy(look(world, BASE), "erasure")["due"]["now"] == counts(1, 1, 0)


def test_a_preview_writes_no_date_and_puts_nothing_in_force(
    world: World, registry: dict[str, StoredThread]
) -> None:
    before, thread = world.bundle.digest, world.thread(registry["due"])
    look(world, BASE.replace("30d", "1d"))
    assert world.bundle.digest == before
    assert world.thread(registry["due"]) == thread
    assert len(world.entries("bundle.activated")) == 2


def test_one_instant_and_one_snapshot_serve_the_whole_preview(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.flows.preview._PAGE", 1)
    threads_of = [world.register(kind=Kind.FILE) for _ in range(3)]
    looked: list[int] = []

    def meanwhile(done: int, _total: int) -> None:
        """Between two pages others register, place a hold, put a bundle in force; and hours pass."""
        if not looked:
            world.register(kind=Kind.FILE)
            world.hold(HoldScope(ids=(threads_of[2].thread.id,)))
            world.look_at(whole(world, POLICIES.replace("after: 30d", "after: 60d")))
            world.clock.move(40 * DAY)
        looked.append(done)

    base, now = world.bundle.digest, world.clock.now()
    proposed = propose(world.database, {"p.yaml": whole(world, POLICIES)}, world.source)
    made = preview(world.database, proposed, actor="test tenure/0", clock=world.clock, progress=meanwhile)
    assert looked == [1, 2, 3, 3]
    assert made.base_digest == base
    assert (made.result["threads"], made.result["held"]) == (3, 0)
    assert of_policy(dict(made.result), POLICY)["due"]["now"] == counts(3, 3, 0)
    assert made.made_at - now < DAY
    assert made.result["snapshot_at"] == rfc3339(made.made_at)


def test_more_threads_than_a_page_are_all_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.flows.preview._PAGE", 2)
    told: list[tuple[int, int]] = []
    for _ in range(4):
        world.register(kind=Kind.FILE)
    proposed = propose(world.database, {"p.yaml": whole(world, POLICIES)}, world.source)
    made = preview(
        world.database,
        proposed,
        actor="test tenure/0",
        clock=world.clock,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(2, 4), (4, 4), (4, 4)]
    assert of_policy(dict(made.result), POLICY)["due"]["now"] == counts(4, 4, 0)


def test_files_that_are_no_sound_bundle_are_refused_with_every_finding(world: World) -> None:
    with pytest.raises(BundleRefused) as refused:
        propose(world.database, {"p.yaml": "kind: nonsense\n"}, world.source)
    assert refused.value.findings
    with pytest.raises(Invalid):
        propose(world.database, {"p.yaml": "# nothing\n"}, world.source)


def test_a_project_may_name_only_the_keys_that_the_service_allows(world: World) -> None:
    text = whole(world, POLICIES).replace("TENURE_KEY_TEST", "AWS_SECRET_ACCESS_KEY")
    with pytest.raises(BundleRefused, match="refused"):
        propose(world.database, {"p.yaml": text}, world.source)


def test_the_services_own_documents_belong_to_every_proposed_bundle(world: World) -> None:
    own = world.folder.parent / "own.yaml"
    own.write_text(project_document(world.sandbox.base_url, OTHER, extra="provider_project: other"))
    source = Source(folder=world.folder, extra=[own], key_globs=("TENURE_KEY_*",))
    text = POLICIES + project_document(world.sandbox.base_url)
    proposed = propose(world.database, {"policies.yaml": text}, source)
    assert set(proposed.head.projects) == {PROJECT, OTHER}


def test_old_previews_that_nobody_approved_are_forgotten(world: World) -> None:
    text = POLICIES + project_document(world.sandbox.base_url)
    first = previewed(world.database, world.source, text, clock=world.clock)
    world.clock.move(KEPT_FOR + DAY)
    previewed(world.database, world.source, text, clock=world.clock)
    with world.database.read() as db:
        assert previews.get(db, first.id) is None
