"""A role without an API answers for its health and its meters, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from worker.telemetry.listener import Listener
from worker.telemetry.meters import meters


class Role:
    """Says what is wrong with it."""

    problem = ""

    def sick(self) -> str:
        return self.problem


@pytest.fixture
def role() -> Role:
    return Role()


@pytest.fixture
def url(role: Role) -> Iterator[str]:
    listener = Listener("127.0.0.1", 0, role.sick)
    listener.start()
    yield f"http://127.0.0.1:{listener.port}"
    listener.stop()


def get(url: str) -> httpx2.Response:
    return httpx2.get(url, trust_env=False, timeout=10)


def test_it_is_healthy_until_something_is_wrong(url: str, role: Role) -> None:
    assert (get(f"{url}/healthz").status_code, get(f"{url}/healthz").json()["status"]) == (200, "ok")
    role.problem = "the round of the house has lasted 900 s"
    answer = get(f"{url}/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "failing", "problem": role.problem})


def test_it_tells_what_was_counted(url: str) -> None:
    meters().alerts.labels(alert="test.raised").inc()
    assert 'tenure_alerts_total{alert="test.raised"} 1.0' in get(f"{url}/metrics").text


def test_nothing_else_is_there(url: str) -> None:
    assert get(f"{url}/v1/threads").status_code == 404


def test_it_listens_on_ipv6_too(role: Role) -> None:
    listener = Listener("::1", 0, role.sick)
    listener.start()
    assert get(f"http://[::1]:{listener.port}/healthz").status_code == 200
    listener.stop()
