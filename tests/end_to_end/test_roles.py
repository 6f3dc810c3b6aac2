"""The main job in production's shape: one API, one worker, two beats, PostgreSQL and Redis."""

from __future__ import annotations

import gzip
import json
import re
import zipfile
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from tests.end_to_end.conftest import PROVIDER_KEY, Fleet
from tests.world.world import ORIGIN, PROJECT
from worker.audit.note import Ed25519Signer
from worker.audit.verify import verify_bundle
from worker.model.clock import SystemClock, rfc3339
from worker.sandbox.control import make_sample
from worker.sandbox.kinds import ObjectKind
from worker.store.tables import sweep

_CLOCK = SystemClock()


def _register(
    fleet: Fleet, kind: ObjectKind, *, days: int = 40, owner: str = "team", children: int = 0
) -> Any:
    created = _CLOCK.now() - timedelta(days=days)
    external_id = make_sample(
        fleet.sandbox.store,
        kind,
        created_at=int(created.timestamp()),
        children=children,
        project="proj_test",
    )
    body = {
        "external_id": external_id,
        "project": PROJECT,
        "owner": owner,
        "created_at": rfc3339(created.replace(microsecond=0)),
    }
    return fleet.call("POST", "/v1/threads", body)


@pytest.mark.timeout(240)
def test_beats_own_tick_deletes_what_is_due_and_never_what_is_held(fleet: Fleet) -> None:
    fleet.start("beat")
    fleet.start("beat")
    fleet.start("worker")
    fleet.start("api")
    fleet.eventually(lambda: fleet.call("GET", "/v1/policies").get("digest"), within=60)
    due = [_register(fleet, ObjectKind.CONVERSATION, children=2) for _ in range(4)]
    due += [_register(fleet, ObjectKind.RESPONSE) for _ in range(3)]
    young = [_register(fleet, kind, days=3) for kind in (ObjectKind.CONVERSATION, ObjectKind.RESPONSE)]
    held = _register(fleet, ObjectKind.CONVERSATION, owner="witness")
    placed = fleet.call(
        "POST", "/v1/holds", {"matter": "case-7", "reason": "court", "scope": {"owners": ["witness"]}}
    )
    assert placed["matched"] == 1

    def settled() -> bool:
        return all(fleet.call("GET", f"/v1/threads/{one['id']}")["state"] == "deleted" for one in due)

    try:
        # The policy's slot comes each minute; nobody but beat starts this sweep.
        fleet.eventually(settled, within=150)
    except pytest.fail.Exception:
        pytest.fail(fleet.logs())
    grades = {fleet.call("GET", f"/v1/threads/{one['id']}")["evidence"]["grade"] for one in due}
    assert grades == {"confirmed"}
    store = fleet.sandbox.store
    assert not any(store.exists(ObjectKind(one["kind"]), one["external_id"]) for one in due)
    assert all(store.exists(ObjectKind(one["kind"]), one["external_id"]) for one in [*young, held])
    assert fleet.call("GET", f"/v1/threads/{held['id']}")["decision"]["outcome"] == "HELD"
    _two_beats_made_one_sweep_per_slot(fleet)
    _nothing_ambient_was_sent(fleet)
    _every_role_tells_its_health_and_what_it_did(fleet, deleted=len(due))
    _the_export_verifies(fleet, deleted=len(due))
    _no_output_holds_a_secret(fleet)


def _two_beats_made_one_sweep_per_slot(fleet: Fleet) -> None:
    with fleet.database.read() as db:
        slots = db.execute(
            select(sweep.c.policy, sweep.c.slot, func.count()).group_by("policy", "slot")
        ).all()
    assert slots
    assert all(count == 1 for _, _, count in slots)


def _nothing_ambient_was_sent(fleet: Fleet) -> None:
    requests = fleet.sandbox.requests()
    assert requests
    for one in requests:
        assert one.headers["authorization"] == f"Bearer {PROVIDER_KEY}"
        assert one.headers.get("openai-project") == "proj_test"
        assert "openai-organization" not in one.headers
        assert "x-ambient" not in one.headers


def _every_role_tells_its_health_and_what_it_did(fleet: Fleet, *, deleted: int) -> None:
    told = {}
    for log in sorted(fleet.folder.glob("*.log")):
        ports = [
            json.loads(line)["server.port"]
            for line in log.read_text().splitlines()
            if "metrics.served" in line
        ]
        for port in ports:
            url = f"http://127.0.0.1:{port}"
            assert httpx2.get(f"{url}/healthz", trust_env=False).json()["status"] == "ok"
            told[log.stem] = httpx2.get(f"{url}/metrics", trust_env=False).text
    assert [name.partition("-")[0] for name in told] == ["beat", "beat", "worker"]
    # Counted in the children of the worker, and told by its main process.
    (worker,) = (text for name, text in told.items() if name.startswith("worker"))
    graded = re.findall(
        r'^tenure_grades_total\{grade="confirmed",kind="\w+"\} ([0-9.]+)$', worker, re.MULTILINE
    )
    assert sum(map(float, graded)) == deleted
    assert f"tenure_due_to_proven_seconds_count {deleted}.0" in worker
    text = httpx2.get(f"{fleet.url}/metrics", trust_env=False).text
    assert f'tenure_threads{{state="deleted"}} {deleted}.0' in text
    assert "tenure_overdue_threads 0.0" in text


def _the_export_verifies(fleet: Fleet, *, deleted: int) -> None:
    """One of the beats makes it, who have the key; the API, which has none, hands it out."""
    now = _CLOCK.now()
    window = {"from": rfc3339(now - timedelta(days=1)), "to": rfc3339(now + timedelta(days=1))}
    asked = fleet.call("POST", "/v1/audit/exports", {"project": PROJECT, **window})

    def ready() -> bool:
        return bool(fleet.call("GET", f"/v1/audit/exports/{asked['id']}")["state"] == "ready")

    fleet.eventually(ready, within=60)
    admin = (fleet.folder / "data" / "admin.key").read_text().strip()
    headers = {"Authorization": f"Bearer {admin}"}
    file = httpx2.get(f"{fleet.url}/v1/audit/exports/{asked['id']}/file", headers=headers, trust_env=False)
    out = fleet.folder / "evidence.zip"
    out.write_bytes(file.raise_for_status().content)
    report = verify_bundle(out, keys=[Ed25519Signer.from_seed(ORIGIN, b"\7" * 32).vkey])
    assert report.verified, report.problems
    assert report.grades == {"confirmed": deleted}


def _no_output_holds_a_secret(fleet: Fleet) -> None:
    admin = (fleet.folder / "data" / "admin.key").read_text().strip()
    secrets = {PROVIDER_KEY, "07" * 32, admin.split("_")[2], "sk-ambient"}
    paths = (
        "/metrics",
        "/openapi.json",
        "/v1/threads",
        "/v1/policies",
        "/v1/keys",
        "/v1/audit/entries?limit=100",
    )
    told = {path: _answer(fleet, path, admin) for path in paths}
    # A problem tells nothing of what was sent, the key included.
    told["refused"] = _answer(fleet, "/v1/threads/thread_none", f"{admin}x")
    for log in fleet.folder.glob("*.log"):
        # The first admin key is shown once, in a line of its own.
        lines = [one for one in log.read_text().splitlines() if not one.startswith("First admin key")]
        told[log.name] = "\n".join(lines)
    with zipfile.ZipFile(fleet.folder / "evidence.zip") as bundle:
        for name in bundle.namelist():
            data = bundle.read(name)
            told[name] = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    assert len(told) > 15
    assert [(name, secret) for name, text in told.items() for secret in secrets if secret in text] == []


def _answer(fleet: Fleet, path: str, key: str) -> str:
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx2.get(fleet.url + path, headers=headers, timeout=60, trust_env=False)
    return f"{answer.headers} {answer.text}"
