"""`db`, `doctor` and `sandbox`."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ran import Run
from worker.sandbox.control import make_sample
from worker.sandbox.dialects import DIALECTS
from worker.sandbox.faults import FAULTS
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import parse_faults
from worker.sandbox.server import SandboxServer

_REPOSITORY = Path(__file__).resolve().parents[2]


def _sql(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "data" / "tenure.db")) as db, db:
        for statement in statements:
            db.execute(statement)


def _statuses(tenure: Run, code: int = 0) -> dict[str, str]:
    return {one["check"]: one["status"] for one in tenure("doctor", "-o", "json", code=code).json}


def test_a_database_is_migrated_once_and_checked(tenure: Run) -> None:
    assert tenure("db", "check", "-o", "json", code=3).json["revision"] is None
    done = tenure("db", "upgrade", "-o", "json").json
    assert done["before"] is None
    assert tenure("db", "upgrade", "-o", "json").json == {
        "before": done["revision"],
        "revision": done["revision"],
    }
    assert tenure("db", "current", "-o", "json").json["needed"] == done["revision"]
    assert tenure("db", "check", "-o", "json").json["differences"] == []


def test_a_database_that_was_changed_by_hand_is_told(tenure: Run, folder: Path) -> None:
    tenure("db", "upgrade")
    _sql(folder, "ALTER TABLE fact ADD COLUMN extra TEXT")
    assert "extra" in tenure("db", "check", code=1).out


def test_the_doctor_says_how_to_begin_and_makes_nothing(tenure: Run, folder: Path) -> None:
    told = tenure("doctor", code=1)
    assert "tenure up" in told.out
    assert not (folder / "data").exists()
    (folder / "data").mkdir()
    tenure("doctor", code=1)
    assert list((folder / "data").iterdir()) == []


def test_the_doctor_finds_a_sound_folder_sound(tenure: Run, register: Callable[..., Any]) -> None:
    register("conv_1")
    statuses = _statuses(tenure)
    assert {
        statuses[name]
        for name in (
            *("settings", "data folder", "database", "log", "anchors", "anchor folder", "guard rails"),
            *("policies", "parked"),
        )
    } == {"ok"}
    assert statuses["beat"] == "warning"


def test_the_doctor_reads_settings_that_cannot_be(tenure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENURE_TICK_SECONDS", "never")
    assert _statuses(tenure, code=1) == {"settings": "problem"}


@pytest.mark.parametrize(
    ("trigger", "statement"),
    [
        ("audit_leaf_no_delete", "DELETE FROM audit_leaf WHERE idx = 1"),
        ("audit_leaf_no_update", "UPDATE audit_leaf SET envelope = x'00' WHERE idx = 0"),
        (None, "INSERT INTO audit_leaf VALUES (99, x'00')"),
    ],
)
def test_the_doctor_sees_a_log_that_was_changed_below_tenure(
    tenure: Run, register: Callable[..., Any], folder: Path, trigger: str | None, statement: str
) -> None:
    register("conv_1")
    if trigger is not None:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            _sql(folder, statement)
        # Whoever owns the file takes the rail off first: the root shows it all the same.
        _sql(folder, f"DROP TRIGGER {trigger}")
        told = tenure("doctor", "-o", "json", code=1).json
        assert trigger in next(one["what"] for one in told if one["check"] == "guard rails")
    _sql(folder, statement)
    assert _statuses(tenure, code=1)["log"] == "problem"


@pytest.mark.parametrize(
    ("check", "statement"),
    [
        ("parked", "UPDATE thread SET state = 'parked', reason = 'partial'"),
        ("beat", "INSERT INTO fact VALUES ('beat.ticked', '{}', '2026-01-01 00:00:00.000000')"),
        (
            "house",
            """INSERT INTO fact VALUES
            ('house.kept', '{}', '2026-01-01 00:00:00.000000'),
            ('house.failed', '{"problem": "No key.", "repair": "Mend."}', '2026-01-02 00:00:00.000000')""",
        ),
        ("policies", "UPDATE fact SET value = '[\"p.yaml:1:1 RP005\"]' WHERE name = 'bundle.refused'"),
        (
            "control",
            """INSERT INTO stopped_pair (project, kind, since, probe_at, failures) VALUES
            ('demo-support', 'file', '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000', 3)""",
        ),
        ("database", "UPDATE alembic_version SET version_num = 'other'"),
    ],
)
def test_the_doctor_names_what_needs_a_person(
    tenure: Run, register: Callable[..., Any], folder: Path, statement: str, check: str
) -> None:
    register("conv_1")
    _sql(folder, statement)
    told = tenure("doctor", "-o", "json", code=1).json
    problems = {one["check"]: one for one in told if one["status"] == "problem"}
    assert set(problems) == {check}
    assert problems[check]["repair"]


@pytest.mark.parametrize(
    ("revision", "repair"), [("0007", "tenure db upgrade"), ("9999", "run that version here too")]
)
def test_the_doctor_tells_a_database_that_is_behind_from_one_that_is_ahead(
    tenure: Run, folder: Path, revision: str, repair: str
) -> None:
    tenure("db", "upgrade")
    with closing(sqlite3.connect(folder / "data" / "tenure.db")) as db, db:
        db.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    told = {one["check"]: one for one in tenure("doctor", "-o", "json", code=1).json}
    assert revision in told["database"]["what"]
    assert repair in told["database"]["repair"]


def test_a_house_that_was_kept_since_it_failed_is_no_problem(
    tenure: Run, register: Callable[..., Any], folder: Path
) -> None:
    register("conv_1")
    _sql(
        folder,
        """INSERT INTO fact VALUES ('house.failed', '{}', '2026-01-01 00:00:00.000000'),
        ('house.kept', '{}', '2026-01-02 00:00:00.000000')""",
    )
    assert "house" not in _statuses(tenure)


def test_the_doctor_knows_which_key_the_sandbox_takes(
    tenure: Run, register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    register("conv_1")
    monkeypatch.delenv("TENURE_KEY_SANDBOX")
    repairs = {one["repair"] for one in tenure("doctor", "-o", "json").json if one["check"] == "provider key"}
    assert len(repairs) == 1
    assert "TENURE_KEY_SANDBOX=sandbox" in repairs.pop()


def test_the_doctor_finds_a_database_url_that_is_none(tenure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENURE_DATABASE_URL", "foo")
    assert _statuses(tenure, code=1)["database"] == "problem"


@pytest.fixture
def provider(folder: Path) -> Iterator[SandboxServer]:
    """Point the projects at a sandbox of their own."""
    projects = folder / "policies" / "projects.yaml"
    with SandboxServer() as server:
        projects.write_text(projects.read_text().replace("http://127.0.0.1:9/v1", server.base_url))
        yield server


def _sample(server: SandboxServer, kind: ObjectKind = ObjectKind.CONVERSATION) -> str:
    return make_sample(server.store, kind, created_at=1_790_000_000)


def _projects(tenure: Run, code: int = 0) -> dict[str, dict[str, str]]:
    rows = tenure("doctor", "--projects", "-o", "json", code=code).json
    return {one["check"]: one for one in rows}


def test_the_doctor_finds_projects_that_answer_sound(
    tenure: Run, provider: SandboxServer, register: Callable[..., Any]
) -> None:
    register(_sample(provider))
    rows = _projects(tenure)
    names = ("project demo-support", "project demo-support conversation", "project demo-support clock")
    assert [rows[name]["status"] for name in names] == ["ok"] * 3
    assert provider.base_url in rows["project demo-support"]["what"]
    assert "nothing was asked" in rows["project demo-finance"]["what"]
    assert [one.method for one in provider.requests()] == ["GET"]
    assert "Nothing needs a person" in tenure("doctor", "--projects").err


@pytest.mark.parametrize(
    ("fault", "word"), [("refused-key", "key"), ("endpoint-retired", "retired"), ("object-404", "belongs")]
)
def test_the_doctor_names_the_repair_of_a_project_that_does_not_answer(
    tenure: Run, provider: SandboxServer, register: Callable[..., Any], fault: str, word: str
) -> None:
    register(_sample(provider))
    provider.set_faults(parse_faults([fault]))
    row = _projects(tenure, code=1)["project demo-support conversation"]
    assert row["status"] == "problem"
    assert word in row["repair"]


def test_the_doctor_warns_of_an_endpoint_whose_end_is_past(
    tenure: Run, provider: SandboxServer, register: Callable[..., Any]
) -> None:
    register(_sample(provider, ObjectKind.THREAD))
    row = _projects(tenure)["project demo-support end"]
    assert row["status"] == "warning"
    assert "2026-08-26" in row["what"]


def test_the_doctor_asks_nothing_without_a_key(
    tenure: Run, provider: SandboxServer, register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(_sample(provider))
    monkeypatch.delenv("TENURE_KEY_SANDBOX")
    rows = _projects(tenure, code=1)
    assert rows["project demo-support"]["status"] == "problem"
    assert "TENURE_KEY_SANDBOX=sandbox" in rows["project demo-support"]["repair"]
    assert not provider.requests()


def test_the_doctor_tells_the_names_of_ambient_variables_that_are_ignored(
    tenure: Run, provider: SandboxServer, register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(_sample(provider))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.invalid/v1")
    row = _projects(tenure)["environment"]
    assert row["status"] == "info"
    assert "OPENAI_BASE_URL" in row["what"]
    assert "elsewhere" not in row["what"]
    assert len(provider.requests()) == 1


def test_the_doctor_names_the_trust_store_and_ignores_other_programs_variables_for_it(
    tenure: Run, provider: SandboxServer, register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(_sample(provider))
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    rows = _projects(tenure)
    assert rows["trust store"]["status"] == "ok"
    assert "nowhere" not in rows["trust store"]["what"]
    assert "SSL_CERT_FILE, https_proxy" in rows["environment"]["what"]


_ADMIN_KEY = "sk-admin-very-secret"
_RETENTION = "project demo-support retention"


@pytest.fixture
def admin(folder: Path, provider: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let both projects name an admin key in a file."""
    file = folder / "admin-key"
    file.write_text(_ADMIN_KEY)
    projects = folder / "policies" / "projects.yaml"
    named = "provider: openai\n  admin_key: {file: " + str(file) + "}"
    projects.write_text(projects.read_text().replace("provider: openai", named))
    monkeypatch.setenv("TENURE_PROVIDER_KEYS", f"TENURE_KEY_*,{folder}/*")
    del provider
    return file


def test_the_doctor_tells_the_retention_of_an_organisation_and_never_its_admin_key(
    tenure: Run, provider: SandboxServer, admin: Path, register: Callable[..., Any], capfd: Any
) -> None:
    register(_sample(provider))
    told = [tenure("doctor", "--projects", "-o", form) for form in ("table", "json")]
    row = {one["check"]: one for one in told[1].json}[_RETENTION]
    assert (row["status"], row["repair"]) == ("ok", "")
    assert "modified_abuse_monitoring" in row["what"]
    sent = [one for one in provider.requests() if "organization" in one.path]
    assert {(one.method, one.path) for one in sent} == {("GET", "/v1/organization/data_retention")}
    assert {one.headers["authorization"] for one in sent} == {f"Bearer {_ADMIN_KEY}"}
    others = [one for one in provider.requests() if one not in sent]
    assert _ADMIN_KEY not in str([one.headers for one in others])
    printed = "".join(one.out + one.err for one in told) + "".join(capfd.readouterr())
    kept = [path.read_bytes() for path in (admin.parent / "data").rglob("*") if path.is_file()]
    assert _ADMIN_KEY not in printed
    assert not any(_ADMIN_KEY.encode() in one for one in kept)


def test_the_doctor_says_why_the_retention_of_an_organisation_is_not_known(
    tenure: Run, provider: SandboxServer, admin: Path, register: Callable[..., Any]
) -> None:
    register(_sample(provider))
    admin.write_text("sk-without-the-right")
    row = _projects(tenure)[_RETENTION]
    assert row["status"] == "warning"
    assert "no right to see it (403)" in row["what"]
    admin.unlink()
    so_far = len(provider.requests())
    row = _projects(tenure)[_RETENTION]
    assert "cannot be read" in row["what"]
    assert [one.path for one in provider.requests(so_far) if "organization" in one.path] == []


def test_the_doctor_does_not_examine_projects_from_afar(tenure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENURE_URL", "http://127.0.0.1:9")
    assert "Unset TENURE_URL" in tenure("doctor", "--projects", code=2).err


@pytest.mark.parametrize(
    ("name", "value", "command"),
    [
        ("TENURE_LISTEN", "foo", "up"),
        ("TENURE_LISTEN", "127.0.0.1:99999", "up"),
        ("TENURE_BROKER_URL", "redis://127.0.0.1:9/0", "up"),
        ("TENURE_BROKER_URL", "foo", "up"),
        ("TENURE_REDIS_URL", "foo", "db check"),
        ("TENURE_DATABASE_URL", "foo", "threads list"),
        ("TENURE_DATABASE_URL", "mysql://127.0.0.1:9/x", "threads list"),
        ("TENURE_LOG_LEVEL", "loud", "worker"),
        ("TENURE_TICK_SECONDS", "1", "api"),
    ],
)
def test_a_wrong_setting_is_a_usage_error_that_names_it(
    tenure: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, command: str
) -> None:
    monkeypatch.setenv(name, value)
    told = tenure(*command.split(), code=2).err
    assert "TENURE_" in told or "PostgreSQL" in told
    assert "Value error" not in told


@pytest.mark.parametrize("command", ["up", "threads list", "db upgrade"])
def test_a_data_folder_that_cannot_be_written_is_exit_5(
    tenure: Run, monkeypatch: pytest.MonkeyPatch, folder: Path, command: str
) -> None:
    (folder / "file").write_text("")
    monkeypatch.setenv("TENURE_DATA_DIR", str(folder / "file" / "data"))
    assert "TENURE_DATA_DIR" in tenure(*command.split(), code=5).err


def test_parked_threads_are_counted_by_reason(
    tenure: Run, register: Callable[..., Any], folder: Path
) -> None:
    for number in range(5):
        register(f"conv_{number}")
    _sql(
        folder, "UPDATE thread SET state = 'parked', reason = 'account_changed' WHERE external_id < 'conv_4'"
    )
    (told,) = tenure("failures", "list", "-o", "json").json
    assert (told["reason"], told["threads"]) == ("account_changed", 4)
    assert tenure("failures", "list", "--project", "demo-finance", "-o", "json").json == []
    assert tenure("failures", "list", "--reason", "endpoint_retired", "-o", "json").json == []
    each = tenure("failures", "list", "--each", "-o", "json").json
    assert [one["external_id"] for one in each] == ["conv_0", "conv_1", "conv_2", "conv_3"]
    assert {one["last_seen_at"] for one in each} == {None}


def test_parked_threads_are_taken_up_again_or_accepted_with_a_reason(
    tenure: Run, register: Callable[..., Any], folder: Path
) -> None:
    for number in range(2):
        register(f"conv_{number}")
    _sql(folder, "UPDATE thread SET state = 'parked', reason = 'still_present' WHERE external_id = 'conv_0'")
    _sql(folder, "UPDATE thread SET state = 'parked', reason = 'partial' WHERE external_id = 'conv_1'")
    by_reason = {one["reason"]: one["fingerprint"] for one in tenure("failures", "list", "-o", "json").json}
    assert "--reason" in tenure("failures", "retry", by_reason["partial"], code=2).err
    moved = tenure("failures", "retry", by_reason["partial"], "--reason", "mended", "-o", "json").json
    assert (moved["action"], moved["threads"]) == ("retry", 1)
    tenure("failures", "accept", by_reason["still_present"], "--reason", "RET-204")
    assert tenure("failures", "list", "-o", "json").json == []
    (kept,) = tenure("failures", "list", "--accepted", "-o", "json").json
    assert kept["fingerprint"] == by_reason["still_present"]
    states = {one["external_id"]: one["state"] for one in tenure("threads", "list", "-o", "json").json}
    assert states == {"conv_0": "parked", "conv_1": "live"}
    assert "fingerprint" in tenure("failures", "retry", by_reason["partial"], "--reason", "x", code=1).err


def test_policies_that_were_broken_later_leave_the_last_good_ones_in_force(
    tenure: Run, register: Callable[..., Any], folder: Path
) -> None:
    register("conv_1")
    (folder / "policies" / "retention.yaml").unlink()
    (folder / "policies" / "bad.yaml").write_text("kind: nonsense\n")
    assert tenure("threads", "list", "-o", "json").json[0]["external_id"] == "conv_1"
    assert _statuses(tenure, code=1)["policies"] == "problem"


def test_a_folder_that_is_gone_is_a_warning_once_policies_are_in_force(
    tenure: Run, register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    register("conv_1")
    monkeypatch.setenv("TENURE_POLICIES", "nowhere")
    assert "last good policies stay in force" in tenure("threads", "list").err


def test_policies_that_never_were_in_force_stop_a_registration(tenure: Run, folder: Path) -> None:
    (folder / "policies" / "bad.yaml").write_text("kind: nonsense\n")
    told = tenure("register", "conv_1", "--project", "demo-support", "--owner", "me", code=1)
    assert "refused" in told.err
    assert "bad.yaml:1:" in told.err
    tenure("keys", "list")


def test_commands_leave_the_policies_to_a_service_that_runs(tenure: Run, folder: Path) -> None:
    from worker.cli.service import service_lock
    from worker.settings import load_settings

    tenure("threads", "list")
    (folder / "policies" / "projects.yaml").unlink()
    with service_lock(load_settings()) as ours:
        assert ours
        tenure("register", "conv_1", "--project", "demo-support", "--owner", "me")
    told = tenure("register", "conv_2", "--project", "demo-support", "--owner", "me", code=1)
    assert "No such project" in told.err


def test_the_sandbox_lists_its_faults_and_refuses_others(offline: Run) -> None:
    assert "lost-reply" in offline("sandbox", "--fault", "list").out
    assert "Known faults" in offline("sandbox", "--fault", "nonsense", code=1).err
    told = offline("sandbox", "--fault", "nonsense", code=1).err
    assert [name for name in FAULTS if f"  {name.value} " not in told] == []
    assert "Known methods" in offline("sandbox", "--fault", "timeout@patch", code=1).err
    assert "300/min" in offline("sandbox", "--rate", "fast", code=1).err
    assert "openai, detail, gateway" in offline("sandbox", "--dialect", "latin", code=1).err


def test_the_help_of_the_sandbox_tells_each_fault_and_dialect(offline: Run) -> None:
    told = " ".join(offline("sandbox", "--help").out.replace("│", " ").split())
    assert [name for name, facts in FAULTS.items() if f"{name.value}: {facts.summary[:30]}" not in told] == []
    assert [name for name in DIALECTS if name.value not in told] == []


def test_the_sandbox_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "sandbox", "--port", "0", "--dialect", "detail"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        headers = {"Authorization": "Bearer x", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/conversations", data=b"{}", headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{url}/files/file-x", headers=headers), timeout=20)
        assert json.loads(refused.value.read()) == {"detail": "File 'file-x' not found."}
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "sandbox" in said
