"""What looks like a secret reaches no log line, wherever in the event it stands."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LOG = """
import sys
from worker.telemetry import log, raise_alert, set_up_logging
set_up_logging("json", "debug")
secret = sys.argv[1]
log().info("thing.happened", text=f"key {secret}", nested={"deep": [{"er": (secret,)}]})
raise_alert("house.failed", problem=secret)
try:
    raise ValueError(secret)
except ValueError:
    log().exception("thing.failed")
import logging
logging.getLogger("library").warning("said %s", secret)
"""


@pytest.mark.parametrize(
    ("secret", "hidden"),
    [
        ("sk-proj-0123456789abcdef", "0123456789abcdef"),
        ("tnr_abc123_s3cretpart_c0ffee", "s3cretpart"),
        ("Authorization: Bearer eyJhbGciOi.x.y", "eyJhbGciOi"),
        ("postgresql://tenure:pa55word@db:5432/tenure", "pa55word"),
        ("redis://:pa55word@cache:6379/0", "pa55word"),
    ],
)
def test_a_secret_is_cut_out_of_every_line(secret: str, hidden: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOG, secret], check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert len(lines) == 4
    assert hidden not in done.stderr
    assert done.stderr.count("[redacted]") >= 5


NAMES = """
import logging
from worker.telemetry import log, set_up_logging
set_up_logging("json", "info")
log().info("thing.happened", thread="thr_1")
logging.getLogger("library").warning("said so")
try:
    raise ValueError("no such thing")
except ValueError as e:
    log().exception("thing.failed")
    log().error("thing.broke", exc_info=e)
"""


def test_a_line_has_the_names_of_the_log_data_model() -> None:
    done = subprocess.run([sys.executable, "-c", NAMES], check=True, capture_output=True, text=True, env={})
    ours, foreign, failed, broke = (json.loads(line) for line in done.stderr.splitlines())
    assert (ours["event_name"], ours["severity_text"], ours["thread"]) == ("thing.happened", "INFO", "thr_1")
    assert (ours["service.name"], ours["timestamp"][-1]) == ("tenure", "Z")
    assert (foreign["body"], foreign["severity_text"], foreign["logger"]) == ("said so", "WARNING", "library")
    assert "event_name" not in foreign
    for one in (failed, broke):
        assert (one["exception.type"], one["error.type"]) == ("ValueError", "ValueError")
        assert one["exception.message"] == "no such thing"
        assert one["exception.stacktrace"].startswith("Traceback")
    assert not {"event", "level", "exc_info"} & (ours.keys() | foreign.keys() | failed.keys() | broke.keys())
