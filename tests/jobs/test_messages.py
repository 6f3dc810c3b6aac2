"""Messages are wake-ups: they carry no verdict, no delay and no result, and losing one changes nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
# Each of these was measured to repeat, lose or reorder work on Redis.
FORBIDDEN = re.compile(r"\b(eta|countdown|chord|AsyncResult|rate_limit)\s*[=(]|\.retry\(")

_SHOW = """
from worker.celery import app
app.loader.import_default_modules()
conf = app.conf
print(conf.result_backend, conf.task_ignore_result, conf.task_acks_late, conf.task_reject_on_worker_lost)
print(sorted(name for name in app.tasks if name.startswith("tenure.")), sorted(conf.task_routes))
print(conf.broker_transport_options["visibility_timeout"], conf.task_time_limit)
"""
_WAKE = """
import worker.celery
from worker.jobs.drain import wake
wake("a-credential")
print("still here")
"""


def _python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TENURE_LOG_FORMAT": "json", "PYTHONPATH": str(REPOSITORY), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


SOURCES = [*sorted((REPOSITORY / "worker" / "jobs").glob("*.py")), REPOSITORY / "worker" / "celery.py"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_task_is_delayed_retried_or_asked_for_its_result(source: Path) -> None:
    assert FORBIDDEN.search(source.read_text(encoding="utf-8")) is None


def test_the_app_keeps_no_results_and_every_routed_task_is_registered() -> None:
    lease = 20
    told = _python(_SHOW, TENURE_BROKER_URL="redis://127.0.0.1:1/0", TENURE_LEASE_SECONDS=str(lease))
    first, second, third = told.stdout.splitlines()
    assert first == "None True True False"
    tasks = "['tenure.cover', 'tenure.drain', 'tenure.tick']"
    assert second == f"{tasks} {tasks}"
    visibility, limit = (float(word) for word in third.split())
    assert limit < lease < visibility


def test_a_broker_that_is_gone_does_not_fail_whoever_wakes() -> None:
    told = _python(_WAKE, TENURE_BROKER_URL="redis://127.0.0.1:1/0")
    assert told.returncode == 0
    assert told.stdout.splitlines()[-1] == "still here"
