"""Read one RetentionPolicy document."""

from __future__ import annotations

import re
from datetime import datetime

from worker.model.decision import RESERVED_POLICY_NAMES
from worker.model.errors import Invalid
from worker.policy import schedule as slots
from worker.policy.document import (
    Basis,
    CatchUp,
    DeleteRule,
    Guards,
    Mode,
    Notify,
    Policy,
    ProducerTtl,
    RetainRule,
    Schedule,
    Since,
    Tier,
)
from worker.policy.durations import Duration
from worker.policy.nodes import ListNode, Node
from worker.policy.read_match import read_except, required_match
from worker.policy.readers import (
    Fields,
    Path,
    Reader,
    all_done,
    choice,
    duration,
    number,
    scalar,
    text,
    whole,
)

POLICY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MAX_COUNT = 1_000_000_000


def policy_name(node: Node, path: Path) -> str:
    """Read the name of a policy: it is part of addresses and metrics, so its characters are few."""
    name = text(node, path)
    if name in RESERVED_POLICY_NAMES:
        raise path.notes.error(node, "RP031", f'the policy name "{name}" is reserved.', "Choose another.")
    if not POLICY_NAME.fullmatch(name):
        raise path.notes.error(
            node,
            "RP035",
            "a policy name has 1 to 100 of A-Z a-z 0-9 . _ - and starts with a letter or digit.",
            "Rename it.",
        )
    return name


def read_policy(metadata: Node, spec: Node, path: Path, *, since: datetime) -> Policy:
    """Read metadata and spec; raises Refused when anything was noted as an error."""
    about = Fields(metadata, path.down("metadata"))
    name = about.required("name", policy_name)
    owner = about.required("owner", text)
    ticket = about.optional("ticket", text, "")
    fields = Fields(spec, path.down("spec"))
    parts = _Parts(fields, since)
    all_done(about, fields)
    return Policy(
        name=name,
        owner=owner,
        ticket=ticket,
        mode=parts.mode,
        tier=parts.tier,
        match=parts.match,
        except_=parts.except_,
        delete=parts.delete,
        retain=parts.retain,
        notify=parts.notify,
        schedule=parts.schedule,
        guards=parts.guards,
    )


class _Parts:
    """The fields of a policy's spec, and what must hold between them."""

    def __init__(self, fields: Fields, since: datetime) -> None:
        self.mode = fields.optional("mode", choice(Mode), Mode.AUDIT)
        self.tier = fields.optional("tier", choice(Tier), Tier.SPECIFIC)
        self.match = required_match(fields)
        self.except_ = fields.optional("except", read_except, None)
        self.delete = fields.optional("delete", _delete, None)
        self.retain = fields.optional("retain", _retain, None)
        self.notify = fields.optional("before_delete", _before_delete, None)
        self.schedule = fields.optional("schedule", _schedule(since), None)
        self.guards = fields.optional("guards", _guards, None)
        _check_parts(fields)
        _check_lengths(fields, self.delete, self.retain)


def _check_parts(fields: Fields) -> None:
    if not fields.has("delete") and not fields.has("retain"):
        fields.refuse(
            fields.node, "RP024", "spec has neither delete nor retain.", "Say what the policy is to do."
        )
    if fields.has("delete") and not fields.has("guards"):
        fields.refuse(
            fields.key("delete"),
            "RP010",
            "spec.guards is required when spec.delete is present.",
            "Write guards: {max_deletes: 500, max_percent: 10, min_population: 100, window: 24h}.",
        )
    if fields.has("retain") and not fields.has("mode"):
        fields.refuse(
            fields.key("retain"),
            "RP021",
            "a retain rule must state its mode: the default, audit, protects nothing.",
            "Write mode: enforce.",
        )
    for name in ("before_delete", "schedule", "guards"):
        if fields.has(name) and not fields.has("delete"):
            fields.refuse(
                fields.key(name), "RP036", f"spec.{name} has no effect without spec.delete.", "Leave it out."
            )


def _check_lengths(fields: Fields, delete: DeleteRule | None, retain: RetainRule | None) -> None:
    if delete is None or retain is None:
        return
    if retain.length is None:
        when = "deletion can never happen"
    elif delete.since is retain.since and delete.after.ends_before(retain.length):
        when = f"deletion can only happen at {retain.length}"
    else:
        return
    length = retain.length or "forever"
    fields.warn(
        fields.key("delete"),
        "RP014",
        f"delete.after ({delete.after}) is shorter than retain.for ({length}) in the same policy: {when}.",
    )


def _delete(node: Node, path: Path) -> DeleteRule:
    fields = Fields(node, path)
    rule = DeleteRule(
        after=fields.required("after", duration),
        since=fields.optional("from", choice(Since), Since.CREATED_AT),
        producer_ttl=fields.optional("producer_ttl", choice(ProducerTtl), ProducerTtl.SHORTEN),
    )
    fields.done()
    return rule


def _retain(node: Node, path: Path) -> RetainRule:
    fields = Fields(node, path)
    rule = RetainRule(
        length=fields.required("for", _length),
        since=fields.optional("from", choice(Since), Since.CREATED_AT),
        basis=fields.optional("basis", choice(Basis), Basis.BUSINESS),
    )
    fields.done()
    return rule


def _length(node: Node, path: Path) -> Duration | None:
    return None if scalar(node, path).text == "forever" else duration(node, path)


def _before_delete(node: Node, path: Path) -> Notify:
    if not isinstance(node, ListNode) or len(node.items) != 1:
        raise path.notes.error(
            node,
            "RP025",
            "before_delete must be a list of one step.",
            "Write [{notify: {to: owner, grace: 7d}}].",
        )
    at = path.item(0)
    fields = Fields(node.items[0], at)
    notify = fields.required("notify", _notify)
    fields.done()
    return notify


def _notify(node: Node, path: Path) -> Notify:
    fields = Fields(node, path)
    notify = Notify(to=fields.optional("to", text, "owner"), grace=fields.required("grace", duration))
    fields.done()
    return notify


def _guards(node: Node, path: Path) -> Guards:
    fields = Fields(node, path)
    guards = Guards(
        max_deletes=fields.required("max_deletes", whole(0, _MAX_COUNT)),
        max_percent=fields.required("max_percent", number(0, 100)),
        min_population=fields.required("min_population", whole(0, _MAX_COUNT)),
        window=fields.required("window", duration),
        require_approval_over=fields.optional("require_approval_over", whole(0, _MAX_COUNT), None),
    )
    fields.done()
    for name, value in (("max_deletes", guards.max_deletes), ("max_percent", guards.max_percent)):
        if value == 0:
            fields.warn(
                fields.value(name) or node,
                "RP011",
                f"guards.{name}: 0 blocks every delete.",
                "Use mode: audit if that is intended.",
            )
    return guards


def _schedule(since: datetime) -> Reader[Schedule]:
    def read(node: Node, path: Path) -> Schedule:
        fields = Fields(node, path)
        schedule = Schedule(
            cron=fields.required("cron", _cron),
            timezone=fields.optional("timezone", _timezone, "Etc/UTC"),
            catch_up=fields.optional("catch_up", choice(CatchUp), CatchUp.LATEST),
        )
        fields.done()
        changes = slots.clock_changes(schedule, since=since)
        if changes:
            fields.warn(
                fields.value("cron") or node,
                "RP008",
                f'cron "{schedule.cron}": {changes} in {schedule.timezone}; the slot runs once.',
            )
        return schedule

    return read


def _cron(node: Node, path: Path) -> str:
    words = " ".join(scalar(node, path).text.split())
    try:
        slots.check_cron(words)
    except Invalid as error:
        raise path.notes.error(node, "RP007", error.problem, error.repair) from None
    return words


def _timezone(node: Node, path: Path) -> str:
    name = text(node, path)
    try:
        slots.check_zone(name)
    except Invalid as error:
        raise path.notes.error(node, "RP006", error.problem, error.repair) from None
    return name
