"""The demonstration judges what came only when nothing of it is worked on any more."""

from __future__ import annotations

from pathlib import Path

import httpx2

from worker.cli import demo
from worker.model.clock import SystemClock


class Patient(SystemClock):
    def wait(self, seconds: float) -> None:
        """Let no time pass: the answers do not depend on it."""


def test_a_sweep_that_a_scheduled_one_came_before_is_waited_for(tmp_path: Path) -> None:
    """It plans nothing, and is done at once, while the other's items are still worked on."""
    left = [{"state": "done", "waiting": 0, "busy": busy} for busy in (31, 2, 0)]

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return httpx2.Response(201, json={"sweeps": [{"id": "swp_1", "policy": "p"}]})
        return httpx2.Response(200, json=left.pop(0))

    with httpx2.Client(base_url="http://tenure", transport=httpx2.MockTransport(answer)) as client:
        demo._sweep(demo.Running(api=client, sandbox=client, folder=tmp_path, clock=Patient()))
    assert left == []
