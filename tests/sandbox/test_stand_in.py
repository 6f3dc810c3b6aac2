"""What stands in for the sandbox in measurements answers as it does."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.bench.measure import Sandbox, stand_in
from worker.sandbox.options import SandboxOptions
from worker.sandbox.server import SandboxServer

_HEADERS = {"Authorization": "Bearer key", "OpenAI-Beta": "assistants=v2"}
# Of the time, of the one request, or of what it took.
_OWN = {"date", "x-request-id", "openai-processing-ms"}


def _told(box: Sandbox) -> list[tuple[int, dict[str, str], Any]]:
    [one, other] = box.seed("thread", 2, created_at=1_700_000_000)
    told = list[tuple[int, dict[str, str], Any]]()
    with httpx2.Client(base_url=f"{box.base_url}/", headers=_HEADERS, trust_env=False) as client:
        for method in ("GET", "DELETE", "GET", "DELETE"):
            answer = client.request(method, f"threads/{one}")
            headers = {name: value for name, value in answer.headers.items() if name not in _OWN}
            told.append((answer.status_code, headers, answer.text.replace(one, "thread_1")))
            assert set(answer.headers) >= _OWN
        made = client.post("threads", json={})
        told.append((made.status_code, {}, sorted(made.json())))
        canary = made.json()["id"]
    requests = [(it["n"], it["method"], it["path"], it["status"], it["fault"]) for it in box.requests()]
    path = f"/v1/threads/{one}"
    assert requests == [
        (1, "GET", path, 200, None),
        (2, "DELETE", path, 200, None),
        (3, "GET", path, 404, None),
        (4, "DELETE", path, 404, None),
        (5, "POST", "/v1/threads", 200, None),
    ]
    assert len(box.requests(since=3)) == 2
    assert box.still_there([one, other, canary]) == {other, canary}
    return told


def test_it_answers_for_a_thread_as_the_sandbox_does() -> None:
    with stand_in(0) as box:
        box.set_faults()
        stands_in = _told(box)
    with SandboxServer(SandboxOptions()) as server:
        assert _told(Sandbox(base_url=server.base_url, pid=0)) == stands_in


def test_it_refuses_what_it_does_not_know() -> None:
    """A fault that it was told of and does not cause would make a figure say something else."""
    with stand_in(0) as box, pytest.raises(httpx2.HTTPError):
        box.set_faults("retired")
