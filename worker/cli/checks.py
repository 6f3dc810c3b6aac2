"""What `tenure doctor` looks at. It changes nothing: no migration, no policies put in force, no key made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from worker.cli.check import Check, Status, problem_of
from worker.cli.client import Client
from worker.cli.folder_checks import folder_check
from worker.cli.log_checks import log_checks
from worker.cli.machine_checks import clocks_agree, machine_checks
from worker.cli.wires import remote
from worker.flows.await_approval import HOW, awaiting
from worker.flows.compare import Log
from worker.flows.notify import WHY, undeliverable
from worker.flows.tick import LAST_TICK
from worker.model.clock import Clock, SystemClock, rfc3339
from worker.model.errors import TenureError
from worker.model.work import SweepState
from worker.policy.document import Project
from worker.policy.load import bundle_from_canonical
from worker.providers.keys import resolve_key
from worker.settings import Settings
from worker.store import (
    bundles,
    coverages,
    failures,
    keys,
    migrate,
    orders,
    protections,
    stops,
    sweeps,
    threads,
)
from worker.store.engine import Database, open_database, reachable
from worker.store.unwritable import unavailable
from worker.wiring import read_anchors

PROVIDER_KEY = "provider key"
_REFUSED = "bundle.refused"
_SANDBOX_KEY = "TENURE_KEY_SANDBOX"
_SANDBOX_REPAIR = f"The sandbox takes any key: set {_SANDBOX_KEY}=sandbox."
_NEWEST_SWEEPS = 200
# Beat may be late by this many ticks before it counts as gone.
_TICKS = 4
_LEAST_PATIENCE = timedelta(minutes=1)


def remote_checks(settings: Settings) -> list[Check]:
    """Ask a service elsewhere whether it is alive and ready."""
    found = []
    with remote(settings) as wire:
        client = Client(wire)
        for name, path in (("service", "/healthz"), ("ready", "/readyz")):
            try:
                told = client.get(path)
            except TenureError as e:
                found.append(problem_of(name, e.problem, e.repair or "Look at the service's log."))
                break
            what = " ".join(f"{key}={value}" for key, value in told.items() if key != "status")
            found.append(Check(check=name, status=Status.OK, what=what))
    return found


def local_checks(settings: Settings) -> list[Check]:
    """Look at the data folder and the database; stops at what makes the rest meaningless."""
    found = [_data_folder(settings), *machine_checks(settings)]
    if found[0].is_problem and settings.is_sqlite:
        return found
    try:
        database = open_database(settings.database)
    except TenureError as e:
        return [*found, problem_of("database", e.problem, e.repair)]
    try:
        schema = _missing_file(database) or _schema(database)
        found.append(schema)
        if schema.is_problem:
            return found
        clock = SystemClock()
        known = Log(origin=settings.audit_origin, anchors=read_anchors(settings))
        found += log_checks(database, known, clock)
        found.append(folder_check(database, settings, clock))
        with database.read() as db:
            found.append(clocks_agree(db, clock))
            found += _in_database(db, settings, clock)
    except DBAPIError as e:
        told = unavailable(e, database.place)
        found.append(problem_of("database", told.problem, told.repair))
    except SQLAlchemyError as e:
        found.append(
            problem_of("database", f"It failed: {type(e).__name__}.", "Look at the database's own log.")
        )
    finally:
        database.dispose()
    return found


def _in_database(db: Connection, settings: Settings, clock: Clock) -> Iterator[Check]:
    looks: Sequence[Callable[[], Iterator[Check]]] = (
        lambda: _policies(db, settings),
        lambda: _beat(db, settings, clock.now()),
        lambda: _house(db),
        lambda: _stopped(db),
        lambda: _blocked(db),
        lambda: _notices(db),
        lambda: _parked(db),
        lambda: _erasures(db, clock.now()),
        lambda: _coverage(db, settings, clock.now()),
    )
    for look in looks:
        yield from look()


def _data_folder(settings: Settings) -> Check:
    folder = settings.data_dir
    if not folder.is_dir():
        return problem_of(
            "data folder", f"{folder} does not exist yet.", "Run `tenure up`, or `tenure db upgrade`."
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        repair = "Give this user the right to it, mount it writable, or set TENURE_DATA_DIR."
        return problem_of("data folder", f"{folder} cannot be written.", repair)
    return Check(check="data folder", status=Status.OK, what=str(folder))


def _missing_file(database: Database) -> Check | None:
    file = database.engine.url.database
    # Connecting would make an empty one.
    if not database.is_sqlite or not file or Path(file).exists():
        return None
    return problem_of("database", f"{file} does not exist yet.", "Run `tenure up`, or `tenure db upgrade`.")


def _schema(database: Database) -> Check:
    try:
        with reachable(database):
            # A database that a newer version upgraded has another repair than one that is behind.
            migrate.require_current(database)
    except TenureError as e:
        return problem_of("database", e.problem, e.repair)
    return Check(check="database", status=Status.OK, what=f"revision {migrate.head()}")


def _policies(db: Connection, settings: Settings) -> Iterator[Check]:
    found, refused = bundles.in_force(db), keys.read_fact(db, _REFUSED)
    if found is None:
        yield problem_of(
            "policies", "None are in force.", f"Put them into {settings.policies}; start the service."
        )
    else:
        what = f"{found.digest} since {rfc3339(found.activated_at)}"
        yield Check(check="policies", status=Status.OK, what=what)
        yield from _credentials(found.canonical, settings)
    if refused is not None and refused[0]:
        what = f"The folder is refused since {rfc3339(refused[1])}: {refused[0][0]}"
        yield problem_of("policies", what, "Mend it; `tenure policy validate` shows every finding.")
    waits = awaiting(db)
    if waits is not None:
        what = (
            f"The folder's bundle {waits.digest} loosens and waits for approval since "
            f"{rfc3339(waits.since)}: {waits.loosening[0]}"
        )
        yield problem_of("policies", what, HOW)


def _credentials(canonical: str, settings: Settings) -> Iterator[Check]:
    for project in bundle_from_canonical(canonical).projects.values():
        try:
            resolve_key(project.api_key, allowed=settings.provider_keys)
        except TenureError as e:
            # Only a warning: the workers may have what this shell has not.
            what = f"{project.name}: {e.problem} (as seen from this shell)"
            repair = key_repair(project, e)
            yield Check(check=PROVIDER_KEY, status=Status.WARNING, what=what, repair=repair)


def key_repair(project: Project, problem: TenureError) -> str:
    """Return what mends a key that does not resolve; the sandbox takes any."""
    return _SANDBOX_REPAIR if _is_sandbox(project) else problem.repair


def _is_sandbox(project: Project) -> bool:
    host = urlsplit(project.account.base_url).hostname
    return project.api_key.env == _SANDBOX_KEY and host in {"127.0.0.1", "::1", "localhost"}


def _beat(db: Connection, settings: Settings, now: datetime) -> Iterator[Check]:
    ticked = keys.read_fact(db, LAST_TICK)
    if ticked is None:
        what = "It never ticked: nothing is swept on schedule."
        # Beat sends ticks and workers run them: either may be the one that is missing.
        repair = "Run `tenure up`, or `tenure beat` and `tenure worker`."
        yield Check(check="beat", status=Status.WARNING, what=what, repair=repair)
        return
    age = now - ticked[1]
    if age > max(_LEAST_PATIENCE, _TICKS * timedelta(seconds=settings.tick_seconds)):
        what = f"The last tick was at {rfc3339(ticked[1])}: nothing is swept on schedule."
        yield problem_of("beat", what, "Start `tenure up`, or `tenure beat` and `tenure worker`.")
    else:
        yield Check(check="beat", status=Status.OK, what=f"ticked at {rfc3339(ticked[1])}")


def _house(db: Connection) -> Iterator[Check]:
    """Tell whether beat's last round of activating and sealing failed; its worker may tick all the same."""
    failed, kept = keys.read_fact(db, "house.failed"), keys.read_fact(db, "house.kept")
    if failed is None or (kept is not None and kept[1] >= failed[1]):
        return
    told, since = failed
    what = f"beat's house keeping fails: {told.get('problem') or told.get('code')} (at {rfc3339(since)})"
    yield problem_of("house", what, told.get("repair") or "The log of beat says more, at `house.failed`.")


def _stopped(db: Connection) -> Iterator[Check]:
    for scope, reason in sorted(protections.paused(db).items()):
        name = "all projects" if scope == protections.EVERYTHING else scope
        what = f"Deletes are paused for {name}: {reason}"
        option = "" if scope == protections.EVERYTHING else f" --project {scope}"
        repair = f"`tenure resume{option}` lets them go on."
        yield Check(check="pause", status=Status.WARNING, what=what, repair=repair)
    for (project, kind), times in sorted(stops.stopped_pairs(db).items()):
        what = f"No {kind} of {project} is deleted: the control failed {times} times."
        yield problem_of(
            "control", what, "Check the project's key and base_url; it goes on once a control holds."
        )


def _blocked(db: Connection) -> Iterator[Check]:
    seen: set[str] = set()
    for one in sweeps.page(db, limit=_NEWEST_SWEEPS):
        if one.policy in seen or one.dry_run:
            continue
        seen.add(one.policy)
        what = f"The newest sweep of {one.policy} ({one.id}) is {one.state.value}: {', '.join(one.reasons)}"
        if one.state is SweepState.BLOCKED:
            yield problem_of(
                "sweep", what, f"`tenure sweeps show {one.id}`; then mend the policy or its guards."
            )
        elif one.state is SweepState.AWAITING_APPROVAL:
            repair = f"`tenure sweeps show {one.id}`, then `tenure sweeps approve`."
            yield problem_of("sweep", what, repair)


def _notices(db: Connection) -> Iterator[Check]:
    found = bundles.in_force(db)
    for name in undeliverable(bundle_from_canonical(found.canonical)) if found else ():
        repair = "`tenure threads list --outcome NOTIFY` lists what waits; take before_delete out, or wait."
        yield problem_of("notice", f"Nothing under {name} is deleted. {WHY}", repair)


def _erasures(db: Connection, now: datetime) -> Iterator[Check]:
    overdue = orders.count_overdue(db, now)
    if overdue:
        what = f"{overdue} orders are past their deadline, and something is left to do."
        repair = "`tenure erasures list --overdue` names them; `tenure erasures show ID` says what is left."
        yield problem_of("erasures", what, repair)
    else:
        yield Check(check="erasures", status=Status.OK, what="none is past its deadline")


def _coverage(db: Connection, settings: Settings, now: datetime) -> Iterator[Check]:
    """Tell of each project what the newest coverage sweep counted; nothing here stops a deletion."""
    found = bundles.in_force(db)
    projects = sorted(bundle_from_canonical(found.canonical).projects) if found else []
    looked = coverages.of_projects(db, projects)
    for project in projects:
        name, kinds = f"coverage {project}", looked.get(project, ())
        if not kinds:
            why = "Nobody looked yet." if settings.coverage_hours else "TENURE_COVERAGE_HOURS is 0."
            yield Check(check=name, status=Status.INFO, what=why)
            continue
        strangers, at = sum(one.unregistered for one in kinds), min(one.looked_at for one in kinds)
        total = sum(one.found for one in kinds)
        what = f"{strangers} of {total} objects found are not registered (looked at {rfc3339(at)})"
        failed = [f"{one.kind.value}: {one.problem}" for one in kinds if one.problem]
        status = Status.WARNING if strangers or failed else Status.OK
        repair = f"`tenure discover --project {project}` names them; --adopt registers them."
        if failed:
            what = f"{what}; no complete list of {'; '.join(failed)}"
            repair = (
                "Give the key the right to list, or say `unlisted` of that kind in the project's profile."
            )
        elif settings.coverage_hours and now - at > 3 * timedelta(hours=settings.coverage_hours):
            status, repair = Status.WARNING, "See that a beat and a worker run."
        yield Check(check=name, status=status, what=what, repair=repair if status is not Status.OK else "")


def _parked(db: Connection) -> Iterator[Check]:
    counts = threads.counts_by_state(db)
    parked = sum(one.threads for one in failures.groups(db, projects=None))
    if parked:
        yield problem_of("parked", f"{parked} threads wait for a person.", "`tenure failures list` says why.")
    else:
        total = sum(counts.values())
        yield Check(check="parked", status=Status.OK, what=f"none of {total} threads")
