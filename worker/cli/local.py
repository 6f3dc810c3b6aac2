"""Opening the local data folder: what a command does where TENURE_URL is not set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from worker.cli.output import say
from worker.flows.await_approval import HOW
from worker.model.errors import TenureError
from worker.settings import Settings, load_settings
from worker.store import bundles
from worker.store.engine import reachable
from worker.telemetry import set_up_logging
from worker.wiring import Tenure, prepare, put_in_force, require_ready, wire

_LEVEL = "warning"  # a command says what it did itself; the service's events are not its output


def open_local(*, policies: bool = True) -> Tenure:
    """Wire this process to the data folder, migrated, with the policies folder in force.

    Only SQLite is migrated and given policies here: a shared database belongs to its `tenure beat`, and a
    command from another machine must not put its own folder in force there. ``policies`` False is for
    commands that decide nothing.
    """
    settings = load_settings()
    set_up_logging(settings.log_format, _LEVEL)
    tenure = wire(settings, role="cli")
    if not settings.is_sqlite:
        require_ready(tenure)
        return tenure
    prepare(tenure)
    if policies:
        _put_in_force(tenure, settings)
    return tenure


@contextmanager
def local(*, policies: bool = True) -> Iterator[Tenure]:
    """Open the local data folder and close its connections afterwards."""
    tenure = open_local(policies=policies)
    try:
        yield tenure
    finally:
        tenure.database.dispose()


def _put_in_force(tenure: Tenure, settings: Settings) -> None:
    from worker.cli.service import service_lock

    with service_lock(settings) as ours:
        # Where a service runs it looks at the folder itself, at every tick.
        if not ours:
            return
        try:
            with reachable(tenure.database):
                awaiting = put_in_force(tenure).awaiting
            if awaiting:
                say(f"warning: the policies folder loosens what is in force, and waits for approval. {HOW}")
        except TenureError as e:
            with tenure.database.read() as db:
                known = bundles.digest_in_force(db)
            if known is None:
                raise
            say(f"warning: {e.problem} The last good policies stay in force. {e.repair}")
