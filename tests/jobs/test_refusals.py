"""Settings with which a process would promise what it cannot keep are refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.cli import service
from worker.cli.exits import Exit, exit_code_of
from worker.settings import SettingsInvalid, load_settings
from worker.wiring import check_roles

_ROLES = ("api", "worker", "beat")
_POSTGRES = "postgresql://127.0.0.1/nowhere"


@pytest.mark.parametrize("role", _ROLES)
def test_a_role_beside_others_refuses_messages_that_only_it_would_hear(role: str) -> None:
    settings = load_settings(database_url=_POSTGRES, broker_url="memory://")
    with pytest.raises(SettingsInvalid, match=f"`tenure {role}` cannot hear the others") as refused:
        check_roles(settings, role)
    assert "TENURE_BROKER_URL" in refused.value.repair
    assert exit_code_of(refused.value) is Exit.USAGE


@pytest.mark.parametrize("role", _ROLES)
def test_a_role_beside_others_refuses_a_database_for_one_process(role: str) -> None:
    settings = load_settings(broker_url="redis://127.0.0.1:1/0")
    with pytest.raises(SettingsInvalid, match="SQLite serves only one") as refused:
        check_roles(settings, role)
    assert "TENURE_DATABASE_URL" in refused.value.repair


@pytest.mark.parametrize("role", _ROLES)
def test_a_role_beside_others_refuses_a_pacer_that_only_it_would_ask(role: str) -> None:
    settings = load_settings(database_url=_POSTGRES, broker_url="amqp://127.0.0.1")
    with pytest.raises(SettingsInvalid, match="shares the providers' limits") as refused:
        check_roles(settings, role)
    assert "TENURE_REDIS_URL" in refused.value.repair


@pytest.mark.parametrize(
    ("variable", "value", "repair"),
    [
        ("TENURE_DATABASE_URL", _POSTGRES, "TENURE_DATABASE_URL"),
        ("TENURE_BROKER_URL", "redis://127.0.0.1:1/0", "TENURE_BROKER_URL"),
    ],
)
def test_the_one_process_service_refuses_what_others_may_work_on_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, repair: str
) -> None:
    monkeypatch.setenv("TENURE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(service, "set_up_logging", lambda *_: None)
    with pytest.raises(SettingsInvalid) as refused:
        service.up()
    assert repair in refused.value.repair


@pytest.mark.parametrize("seconds", [-1, 0, 1, 19])
def test_a_lease_that_is_too_short_is_refused_with_the_reason(seconds: int) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(lease_seconds=seconds)
    assert "TENURE_LEASE_SECONDS: must be at least 20 seconds" in refused.value.problem
    assert "a request is given a quarter of the lease" in refused.value.problem


def test_every_limit_follows_from_the_lease_and_ends_before_it() -> None:
    for seconds in (20, 80, 300, 3600):
        lease = load_settings(lease_seconds=seconds).lease
        assert lease.request_timeout.total_seconds() == min(20, seconds / 4)
        assert lease.batch_deadline == lease.length * 0.4
        assert lease.batch_deadline < lease.last_send
        # What leaves at the last moment is answered, or given up, before the lease is over.
        assert lease.last_send + lease.request_timeout <= lease.length
