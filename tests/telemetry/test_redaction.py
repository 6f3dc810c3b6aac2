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
