"""Each difference between two bundles has a name, an effect and a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.model.clock import parse_rfc3339
from worker.model.decision import Circumstances, Notice, Outcome, TagSelector
from worker.model.ids import ThreadId
from worker.model.thread import Account, Kind, Thread
from worker.policy.canonical import make_bundle
from worker.policy.compare import Change, Effect, compare
from worker.policy.compare_text import change_line, comparison_lines
from worker.policy.document import (
    Basis,
    Bundle,
    CatchUp,
    Constraints,
    DeleteRule,
    Guards,
    KeyRef,
    Match,
    Mode,
    Notify,
    OnPartial,
    OwnProfile,
    Policy,
    ProducerTtl,
    Project,
    Rate,
    RetainRule,
    Schedule,
    Since,
    Tier,
)
from worker.policy.durations import parse_duration
from worker.policy.evaluate import decide
from worker.policy.load import bundle_from_canonical, load_folder

LOOSER, TIGHTER, NEUTRAL = Effect.LOOSENING, Effect.TIGHTENING, Effect.NEUTRAL

D = parse_duration
GUARDS = Guards(max_deletes=100, max_percent=10, min_population=50, window=D("24h"), require_approval_over=20)
DELETE = Policy(
    name="p",
    owner="team",
    mode=Mode.ENFORCE,
    match=Match(projects=("support-*",), kinds=(Kind.CONVERSATION, Kind.FILE)),
    except_=Match(owners=("team-legal", "team-audit")),
    delete=DeleteRule(after=D("30d")),
    notify=Notify(to="owner", grace=D("7d")),
    schedule=Schedule(cron="0 3 * * *"),
    guards=GUARDS,
    source="p.yaml:3",
)
RETAIN = Policy(
    name="p",
    owner="team",
    mode=Mode.ENFORCE,
    match=Match(projects=("support-*",)),
    except_=Match(owners=("team-a",)),
    retain=RetainRule(length=D("30d")),
)
PROJECT = Project(
    name="support-eu",
    owner="team",
    account=Account(provider="openai", base_url="https://api.openai.com/v1", organization="o"),
    api_key=KeyRef(env="OPENAI_API_KEY"),
    rate=Rate(limit=5.0),
    concurrency=16,
    controls=("sibling",),
    on_partial=OnPartial.KEEP,
    profile="openai",
)
CONSTRAINTS = Constraints(
    name="org",
    min_delete_after=D("7d"),
    max_delete_after=D("1000d"),
    max_guard_percent=25,
    new_policies_start_in=Mode.AUDIT,
)


def _deleting(**parts: Any) -> Policy:
    return replace(DELETE, **parts)


def _ceiling(**parts: Any) -> Policy:
    return replace(DELETE, delete=replace(DELETE.delete, **parts))  # type: ignore[type-var]


def _guarded(**parts: Any) -> Policy:
    return replace(DELETE, guards=replace(GUARDS, **parts))


def _floor(**parts: Any) -> Policy:
    return replace(RETAIN, retain=replace(RETAIN.retain, **parts))  # type: ignore[type-var]


def _only(base: Bundle | None, head: Bundle) -> Change:
    comparison = compare(base, head)
    assert len(comparison.changes) == 1, comparison.changes
    return comparison.changes[0]


def _bundle(*policies: Policy) -> Bundle:
    return make_bundle(policies, (), None)


def _match(**parts: Any) -> Match:
    return replace(DELETE.match, **parts)


_POLICY_CHANGES: list[tuple[str, Policy, Policy, str, Effect]] = [
    ("earlier", DELETE, _ceiling(after=D("29d")), "spec.delete.after", LOOSER),
    ("later", DELETE, _ceiling(after=D("31d")), "spec.delete.after", TIGHTER),
    ("days to a month that may be shorter", DELETE, _ceiling(after=D("P1M")), "spec.delete.after", LOOSER),
    (
        "days to a month never shorter",
        _ceiling(after=D("28d")),
        _ceiling(after=D("P1M")),
        "spec.delete.after",
        TIGHTER,
    ),
    ("another date", DELETE, _ceiling(since=Since.REGISTERED_AT), "spec.delete.from", LOOSER),
    ("TTL ignored", DELETE, _ceiling(producer_ttl=ProducerTtl.IGNORE), "spec.delete.producer_ttl", TIGHTER),
    ("TTL counts", _ceiling(producer_ttl=ProducerTtl.IGNORE), DELETE, "spec.delete.producer_ttl", LOOSER),
    ("all", DELETE, _deleting(match=Match(all=True)), "spec.match", LOOSER),
    ("narrower glob", DELETE, _deleting(match=_match(projects=("support-e?",))), "spec.match", TIGHTER),
    ("wider glob", DELETE, _deleting(match=_match(projects=("support*",))), "spec.match", LOOSER),
    ("other glob", DELETE, _deleting(match=_match(projects=("*-eu",))), "spec.match", LOOSER),
    ("kind gone", DELETE, _deleting(match=_match(kinds=(Kind.FILE,))), "spec.match", TIGHTER),
    ("kinds gone", DELETE, _deleting(match=_match(kinds=())), "spec.match", LOOSER),
    ("key added", DELETE, _deleting(match=_match(owners=("team-a",))), "spec.match", TIGHTER),
    (
        "selector added",
        DELETE,
        _deleting(match=_match(tags=(TagSelector(key="env", operator="Exists"),))),
        "spec.match",
        TIGHTER,
    ),
    (
        "same in other words",
        DELETE,
        _deleting(match=_match(projects=("support-*", "support-eu"))),
        "spec.match",
        NEUTRAL,
    ),
    ("except narrowed", DELETE, _deleting(except_=Match(owners=("team-legal",))), "spec.except", LOOSER),
    ("except removed", DELETE, _deleting(except_=None), "spec.except", LOOSER),
    ("except wider", DELETE, _deleting(except_=Match(owners=("team-*",))), "spec.except", TIGHTER),
    ("default tier", DELETE, _deleting(tier=Tier.DEFAULT), "spec.tier", LOOSER),
    ("specific tier", _deleting(tier=Tier.DEFAULT), DELETE, "spec.tier", LOOSER),
    ("audit", DELETE, _deleting(mode=Mode.AUDIT), "spec.mode", TIGHTER),
    ("enforced", _deleting(mode=Mode.AUDIT), DELETE, "spec.mode", LOOSER),
    ("disabled to audit", _deleting(mode=Mode.DISABLED), _deleting(mode=Mode.AUDIT), "spec.mode", NEUTRAL),
    ("notice removed", DELETE, _deleting(notify=None), "spec.before_delete", LOOSER),
    ("notice added", _deleting(notify=None), DELETE, "spec.before_delete", TIGHTER),
    (
        "less grace",
        DELETE,
        _deleting(notify=Notify(to="owner", grace=D("6d"))),
        "spec.before_delete.notify.grace",
        LOOSER,
    ),
    (
        "more grace",
        DELETE,
        _deleting(notify=Notify(to="owner", grace=D("2w"))),
        "spec.before_delete.notify.grace",
        TIGHTER,
    ),
    (
        "another recipient",
        DELETE,
        _deleting(notify=Notify(to="nobody", grace=D("7d"))),
        "spec.before_delete.notify.to",
        LOOSER,
    ),
    ("by itself", _deleting(schedule=None), DELETE, "spec.schedule", LOOSER),
    ("by hand", DELETE, _deleting(schedule=None), "spec.schedule", TIGHTER),
    (
        "more often, where large plans wait for approval",
        DELETE,
        _deleting(schedule=Schedule(cron="0 * * * *")),
        "spec.schedule.cron",
        LOOSER,
    ),
    (
        "more often, where none waits",
        _guarded(require_approval_over=None),
        replace(_guarded(require_approval_over=None), schedule=Schedule(cron="0 * * * *")),
        "spec.schedule.cron",
        NEUTRAL,
    ),
    (
        "missed slots",
        DELETE,
        _deleting(schedule=Schedule(cron="0 3 * * *", catch_up=CatchUp.SKIP)),
        "spec.schedule.catch_up",
        LOOSER,
    ),
    ("more deletes", DELETE, _guarded(max_deletes=101), "spec.guards.max_deletes", LOOSER),
    ("fewer deletes", DELETE, _guarded(max_deletes=0), "spec.guards.max_deletes", TIGHTER),
    ("more percent", DELETE, _guarded(max_percent=10.5), "spec.guards.max_percent", LOOSER),
    ("less percent", DELETE, _guarded(max_percent=0), "spec.guards.max_percent", TIGHTER),
    ("percent from later on", DELETE, _guarded(min_population=51), "spec.guards.min_population", LOOSER),
    ("percent from the start", DELETE, _guarded(min_population=0), "spec.guards.min_population", TIGHTER),
    ("shorter window", DELETE, _guarded(window=D("23h")), "spec.guards.window", LOOSER),
    ("longer window", DELETE, _guarded(window=D("25h")), "spec.guards.window", LOOSER),
    (
        "approval later",
        DELETE,
        _guarded(require_approval_over=21),
        "spec.guards.require_approval_over",
        LOOSER,
    ),
    (
        "no approval",
        DELETE,
        _guarded(require_approval_over=None),
        "spec.guards.require_approval_over",
        LOOSER,
    ),
    (
        "approval always",
        DELETE,
        _guarded(require_approval_over=0),
        "spec.guards.require_approval_over",
        TIGHTER,
    ),
    ("retained shorter", RETAIN, _floor(length=D("29d")), "spec.retain.for", LOOSER),
    ("retained longer", RETAIN, _floor(length=D("31d")), "spec.retain.for", TIGHTER),
    ("retained forever", RETAIN, _floor(length=None), "spec.retain.for", TIGHTER),
    ("forever no more", _floor(length=None), RETAIN, "spec.retain.for", LOOSER),
    ("retained from another date", RETAIN, _floor(since=Since.REGISTERED_AT), "spec.retain.from", LOOSER),
    ("legal", RETAIN, _floor(basis=Basis.LEGAL), "spec.retain.basis", TIGHTER),
    ("business", _floor(basis=Basis.LEGAL), RETAIN, "spec.retain.basis", LOOSER),
    ("protects more", RETAIN, replace(RETAIN, match=Match(all=True)), "spec.match", TIGHTER),
    ("protects less", RETAIN, replace(RETAIN, match=Match(projects=("support-eu",))), "spec.match", LOOSER),
    ("protects excepted ones", RETAIN, replace(RETAIN, except_=None), "spec.except", TIGHTER),
    ("protects fewer", RETAIN, replace(RETAIN, except_=Match(owners=("team-*",))), "spec.except", LOOSER),
    ("protection on paper", RETAIN, replace(RETAIN, mode=Mode.AUDIT), "spec.mode", LOOSER),
    ("protection enforced", replace(RETAIN, mode=Mode.AUDIT), RETAIN, "spec.mode", TIGHTER),
    ("retain rule added", _deleting(), _deleting(retain=RETAIN.retain), "spec.retain", TIGHTER),
    ("retain rule removed", _deleting(retain=RETAIN.retain), _deleting(), "spec.retain", LOOSER),
    ("another owner", DELETE, _deleting(owner="else"), "metadata.owner", NEUTRAL),
    (
        "earlier on paper",
        _deleting(mode=Mode.AUDIT),
        replace(_ceiling(after=D("1h")), mode=Mode.AUDIT),
        "spec.delete.after",
        NEUTRAL,
    ),
    (
        "covers and retains less and deletes less",
        _deleting(retain=RETAIN.retain),
        _deleting(retain=RETAIN.retain, match=_match(owners=("team-a",))),
        "spec.match",
        LOOSER,
    ),
]


@pytest.mark.parametrize(
    ("before", "after", "path", "effect"),
    [case[1:] for case in _POLICY_CHANGES],
    ids=[case[0] for case in _POLICY_CHANGES],
)
def test_a_changed_field_of_a_policy_is_named_and_judged(
    before: Policy, after: Policy, path: str, effect: Effect
) -> None:
    change = _only(_bundle(before), _bundle(after))
    assert (change.document, change.path, change.effect) == ("RetentionPolicy/p", path, effect)
    assert change.why.endswith(".")


_PROJECT_CHANGES: list[tuple[str, dict[str, Any], str, Effect]] = [
    (
        "provider",
        {"account": replace(PROJECT.account, provider="openai_compatible")},
        "spec.provider",
        LOOSER,
    ),
    ("address", {"account": replace(PROJECT.account, base_url="https://x/v1")}, "spec.base_url", LOOSER),
    ("organisation", {"account": replace(PROJECT.account, organization="")}, "spec.organization", LOOSER),
    (
        "project there",
        {"account": replace(PROJECT.account, provider_project="x")},
        "spec.provider_project",
        LOOSER,
    ),
    ("profile", {"profile": "openai_compatible"}, "spec.profile", LOOSER),
    (
        "profile of its own",
        {"profile": OwnProfile(extends="openai", written='{"extends":"openai"}')},
        "spec.profile",
        LOOSER,
    ),
    ("admin key", {"admin_key": KeyRef(env="OPENAI_ADMIN_KEY")}, "spec.admin_key", NEUTRAL),
    ("partial", {"on_partial": OnPartial.DELETE}, "spec.on_partial", LOOSER),
    ("canary", {"controls": ("sibling", "canary")}, "spec.controls", LOOSER),
    ("another control", {"controls": ("canary",)}, "spec.controls", LOOSER),
    ("no control", {"controls": ()}, "spec.controls", TIGHTER),
    ("rotated key", {"api_key": KeyRef(env="OPENAI_API_KEY_2")}, "spec.api_key.env", NEUTRAL),
    ("rate", {"rate": Rate(limit=10.0)}, "spec.rate.limit", NEUTRAL),
    ("concurrency", {"concurrency": 1}, "spec.concurrency", NEUTRAL),
    ("owner", {"owner": "else"}, "metadata.owner", NEUTRAL),
]


@pytest.mark.parametrize(
    ("parts", "path", "effect"),
    [case[1:] for case in _PROJECT_CHANGES],
    ids=[case[0] for case in _PROJECT_CHANGES],
)
def test_a_changed_field_of_a_project_is_named_and_judged(
    parts: dict[str, Any], path: str, effect: Effect
) -> None:
    change = _only(make_bundle((), (PROJECT,), None), make_bundle((), (replace(PROJECT, **parts),), None))
    assert (change.document, change.path, change.effect) == ("Project/support-eu", path, effect)


_CONSTRAINT_CHANGES: list[tuple[str, dict[str, Any], str, Effect]] = [
    ("floor lower", {"min_delete_after": D("6d")}, "spec.min_delete_after", LOOSER),
    ("floor higher", {"min_delete_after": D("8d")}, "spec.min_delete_after", TIGHTER),
    ("floor gone", {"min_delete_after": None}, "spec.min_delete_after", LOOSER),
    ("ceiling higher", {"max_delete_after": D("1001d")}, "spec.max_delete_after", LOOSER),
    ("ceiling lower", {"max_delete_after": D("999d")}, "spec.max_delete_after", TIGHTER),
    ("ceiling gone", {"max_delete_after": None}, "spec.max_delete_after", LOOSER),
    ("percent higher", {"max_guard_percent": 26}, "spec.max_guard_percent", LOOSER),
    ("percent lower", {"max_guard_percent": 24}, "spec.max_guard_percent", TIGHTER),
    ("percent gone", {"max_guard_percent": None}, "spec.max_guard_percent", LOOSER),
    ("start enforced", {"new_policies_start_in": Mode.ENFORCE}, "spec.new_policies_start_in", LOOSER),
    ("start disabled", {"new_policies_start_in": Mode.DISABLED}, "spec.new_policies_start_in", TIGHTER),
    ("start anyhow", {"new_policies_start_in": None}, "spec.new_policies_start_in", LOOSER),
    ("name", {"name": "house"}, "metadata.name", NEUTRAL),
]


@pytest.mark.parametrize(
    ("parts", "path", "effect"),
    [case[1:] for case in _CONSTRAINT_CHANGES],
    ids=[case[0] for case in _CONSTRAINT_CHANGES],
)
def test_a_changed_bound_is_named_and_judged(parts: dict[str, Any], path: str, effect: Effect) -> None:
    after = replace(CONSTRAINTS, **parts)
    change = _only(make_bundle((), (), CONSTRAINTS), make_bundle((), (), after))
    assert (change.document, change.path, change.effect) == (f"Constraints/{after.name}", path, effect)


def test_each_field_of_a_profile_of_ones_own_loosens() -> None:
    one, other = (
        replace(PROJECT, profile=OwnProfile(extends="openai", written=text))
        for text in (
            '{"extends":"openai","object_absent":["a"]}',
            '{"extends":"openai","object_absent":["b"]}',
        )
    )
    change = _only(make_bundle((), (one,), None), make_bundle((), (other,), None))
    assert (change.path, change.effect) == ("spec.profile.object_absent", LOOSER)


def test_documents_that_come_and_go_are_one_change_each() -> None:
    empty = _bundle()
    added = _only(empty, _bundle(DELETE))
    assert (added.path, added.before, added.effect) == ("spec", None, LOOSER)
    assert added.source == "p.yaml:3"
    removed = _only(_bundle(DELETE), empty)
    assert (removed.path, removed.after, removed.effect, removed.source) == ("spec", None, TIGHTER, None)
    assert _only(_bundle(RETAIN), empty).effect is LOOSER
    assert _only(empty, _bundle(RETAIN)).effect is TIGHTER
    assert _only(empty, _bundle(_deleting(mode=Mode.AUDIT))).effect is NEUTRAL
    assert _only(_bundle(replace(RETAIN, mode=Mode.AUDIT)), empty).effect is NEUTRAL
    assert _only(empty, make_bundle((), (), CONSTRAINTS)).effect is TIGHTER
    assert _only(make_bundle((), (), CONSTRAINTS), empty).effect is LOOSER


def test_a_project_that_comes_is_neutral_unless_it_has_threads_already_and_one_that_goes_loosens() -> None:
    empty, with_project = _bundle(), make_bundle((), (PROJECT,), None)
    assert _only(with_project, empty).effect is LOOSER
    assert _only(empty, with_project).effect is NEUTRAL
    assert compare(empty, with_project, inhabited=["support-eu"]).loosening
    assert not compare(empty, with_project, inhabited=["support-us"]).loosening


def test_a_first_bundle_is_compared_with_nothing() -> None:
    comparison = compare(None, _bundle(DELETE))
    assert comparison.base is None
    assert comparison.loosening
    assert not compare(None, _bundle()).changed


def _beside(name: str = "q", **parts: Any) -> Policy:
    given: dict[str, Any] = {"name": name, "match": Match(all=True), "except_": None}
    return replace(DELETE, **(given | parts))


_OTHERS: list[tuple[str, Policy, Policy | None, Policy, Effect, str]] = [
    ("removed beside a default rule", DELETE, None, _beside(tier=Tier.DEFAULT), LOOSER, "silenced"),
    (
        "disabled beside a default rule",
        DELETE,
        _deleting(mode=Mode.DISABLED),
        _beside(tier=Tier.DEFAULT),
        LOOSER,
        "silenced",
    ),
    (
        "narrowed beside a default rule",
        DELETE,
        _deleting(match=_match(projects=("support-eu",))),
        _beside(tier=Tier.DEFAULT),
        LOOSER,
        "silenced",
    ),
    (
        "later beside a default rule",
        DELETE,
        _ceiling(after=D("60d")),
        _beside(tier=Tier.DEFAULT),
        TIGHTER,
        "later",
    ),
    (
        "removed beside a default rule elsewhere",
        DELETE,
        None,
        _beside(tier=Tier.DEFAULT, match=Match(projects=("sales-*",))),
        TIGHTER,
        "no longer",
    ),
    (
        "removed beside a default rule on paper",
        DELETE,
        None,
        _beside(tier=Tier.DEFAULT, mode=Mode.AUDIT),
        TIGHTER,
        "no longer",
    ),
    ("removed beside an equal rule", DELETE, None, _beside(), TIGHTER, "no longer"),
    (
        "later beside a rule without notice",
        DELETE,
        _ceiling(after=D("60d")),
        _beside(notify=None),
        LOOSER,
        "less notice",
    ),
    (
        "removed beside a rule with less grace",
        DELETE,
        None,
        _beside(notify=Notify(to="owner", grace=D("1d"))),
        LOOSER,
        "less notice",
    ),
    (
        "removed beside a rule whose date is known more often",
        DELETE,
        None,
        _beside(delete=DeleteRule(after=D("90d"), since=Since.REGISTERED_AT)),
        LOOSER,
        "unknown",
    ),
    (
        "removed where it ignored the TTL",
        _ceiling(producer_ttl=ProducerTtl.IGNORE),
        None,
        _beside(),
        LOOSER,
        "TTL",
    ),
    (
        "TTL ignored where it lent a notice",
        DELETE,
        _ceiling(producer_ttl=ProducerTtl.IGNORE),
        _beside(notify=None),
        LOOSER,
        "less notice",
    ),
    (
        "removed beside bigger guards",
        DELETE,
        None,
        _beside(guards=replace(GUARDS, max_deletes=101)),
        LOOSER,
        "guards",
    ),
    ("removed by hand beside a schedule", _deleting(schedule=None), None, _beside(), LOOSER, "schedule"),
    (
        "default tier removed beside a specific rule",
        _deleting(tier=Tier.DEFAULT),
        None,
        _beside(notify=None),
        TIGHTER,
        "no longer",
    ),
]


@pytest.mark.parametrize(
    ("before", "after", "other", "effect", "why"),
    [case[1:] for case in _OTHERS],
    ids=[case[0] for case in _OTHERS],
)
def test_less_of_one_delete_rule_loosens_where_another_then_deletes_more_freely(
    before: Policy, after: Policy | None, other: Policy, effect: Effect, why: str
) -> None:
    change = _only(_bundle(before, other), _bundle(*([after] if after else []), other))
    assert change.effect is effect
    assert why in change.why


def test_comments_order_and_file_moves_are_no_change(tmp_path: Path) -> None:
    text = """
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: NAME, owner: team}
spec:
  mode: enforce
  match: {kinds: [file, conversation], projects: ["*"]}
  delete: {after: 4w}
  guards: {max_deletes: 5, max_percent: 10.0, min_population: 1, window: 24h}
"""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    (one / "all.yaml").write_text(text.replace("NAME", "a") + "---" + text.replace("NAME", "b"))
    (other / "b.yaml").write_text("# moved\n" + text.replace("NAME", "b").replace("4w", "P28D"))
    moved = text.replace("NAME", "a").replace("file, conversation", "conversation, file")
    (other / "a.yaml").write_text(
        moved.replace("10.0", "10").replace("{after: 4w}", "{after: 4w, from: created_at}")
    )
    before, after = (load_folder(folder, key_globs=()).bundle for folder in (one, other))
    assert before is not None
    assert after is not None
    assert not compare(before, after).changed
    assert not compare(before, after).loosening


def test_every_difference_of_the_digest_is_a_change_and_a_stored_bundle_compares_alike() -> None:
    base = make_bundle((DELETE, _beside()), (PROJECT,), CONSTRAINTS)
    assert not compare(base, bundle_from_canonical(base.canonical)).changed
    for _, before, after, *_rest in _POLICY_CHANGES:
        one, other = _bundle(before), _bundle(after)
        assert compare(one, other).changed
        stored = bundle_from_canonical(other.canonical)
        assert compare(one, stored).changes == compare(one, other).changes


def _thread(at: datetime) -> Thread:
    return Thread(
        id=ThreadId("thr_1"),
        kind=Kind.CONVERSATION,
        external_id="conv_1",
        project="support-eu",
        owner="team-a",
        registered_at=at,
        created_at=at,
    )


def test_a_notice_of_a_later_date_counts_again_once_the_head_is_that_late(
    bundle_of: Callable[..., Bundle],
) -> None:
    """The one exception to soundness, which surprises nobody: it is the date that was promised."""
    created = parse_rfc3339("2026-01-01T00:00:00Z")
    base, head = bundle_of(DELETE), bundle_of(_ceiling(after=D("60d")))
    promised = created + timedelta(days=60)
    notice = Notice(thread_id=ThreadId("thr_1"), at=created + timedelta(days=20), promised=promised)
    told = Circumstances(notices={ThreadId("thr_1"): (notice,)})
    at = promised + timedelta(days=1)
    assert decide(_thread(created), bundle=base, circumstances=told, now=at).outcome is Outcome.NOTIFY
    after = decide(_thread(created), bundle=head, circumstances=told, now=at)
    assert after.outcome is Outcome.DUE
    assert after.eligible_at == promised
    assert not compare(base, head).loosening


def test_a_comparison_reads_like_a_plan() -> None:
    base = make_bundle((DELETE,), (), CONSTRAINTS)
    head = make_bundle(
        (replace(_ceiling(after=D("20d")), notify=None, retain=RetainRule(length=None)),),
        (PROJECT,),
        CONSTRAINTS,
    )
    lines = comparison_lines(compare(base, head))
    assert lines[0] == "Project/support-eu"
    assert lines[1].startswith("  + spec  {")
    assert lines[1].endswith(
        "# neutral: No thread of it was registered, and nothing is until it is in force."
    )
    before_delete = '{"notify": {"grace": "P7D", "to": "owner"}}'
    retain = '{"basis": "business", "for": "forever", "from": "created_at"}'
    assert lines[2:] == (
        "RetentionPolicy/p (p.yaml:3)",
        f"  - spec.before_delete  {before_delete}   # loosening: Threads are deleted without a notice.",
        "  ~ spec.delete.after  P30D -> P20D   # loosening: Threads may be deleted earlier.",
        f"  + spec.retain  {retain}   # tightening: A retain rule is added.",
        "2 loosening, 1 tightening, 1 neutral. It needs approval.",
    )


def test_equal_bundles_say_so_and_hostile_text_stays_on_its_line() -> None:
    assert comparison_lines(compare(_bundle(DELETE), _bundle(DELETE))) == (
        "Nothing changes: both bundles mean the same.",
    )
    sly = _only(_bundle(DELETE), _bundle(_deleting(ticket="RET-1\n\x1b[2J" + "x" * 500)))
    line = change_line(sly)
    assert line.isprintable()
    assert "..." in line
    tighter = comparison_lines(compare(_bundle(DELETE), _bundle(_ceiling(after=D("31d")))))
    assert tighter[-1] == "0 loosening, 1 tightening, 0 neutral. It needs no approval."
