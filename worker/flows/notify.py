"""Notify: tell which policies owe notices that nobody can deliver, once for each.

There is no delivery channel yet. Until there is, a thread under a policy with `notify` stays NOTIFY and is
never deleted, unless an erasure orders it; deciding and arming see to that, and this only says why.
"""

from __future__ import annotations

from typing import Final

from worker.flows.decide import bundle_in_force
from worker.model.clock import Clock
from worker.policy.document import Bundle, Mode
from worker.store import keys
from worker.store.engine import Database
from worker.telemetry import raise_alert

UNDELIVERABLE: Final = "notice.undeliverable"
WHY = "It owes a notice before it deletes, and there is no delivery channel: its threads stay NOTIFY."


def undeliverable(bundle: Bundle) -> list[str]:
    """Return the enforced delete policies whose notices nobody can deliver, by name."""
    return sorted(
        one.name for one in bundle.policies if one.delete and one.notify and one.mode is Mode.ENFORCE
    )


def alert_undeliverable(database: Database, *, clock: Clock) -> list[str]:
    """Raise one alert for each such policy that is new since the last look; returns their names."""
    with database.read() as db:
        owing, known = undeliverable(bundle_in_force(db)), keys.read_fact(db, UNDELIVERABLE)
    told = list(known[0]) if known else []
    if owing == told:
        return []
    with database.write() as db:
        keys.note_fact(db, UNDELIVERABLE, owing, clock.now())
    new = [name for name in owing if name not in told]
    for name in new:
        raise_alert(UNDELIVERABLE, policy=name, why=WHY)
    return new
