"""What the processes of one worker count adds up, however often a child is replaced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COUNT = """
import multiprocessing, sys
from pathlib import Path
from worker.telemetry import meters
place = "main"
meters.share(Path(sys.argv[1]), lambda: place)
meters.meters().grades.labels(kind="file", grade="confirmed").inc()

def child(name):
    global place
    place = name
    meters.meters().grades.labels(kind="file", grade="confirmed").inc(2)
    meters.meters().due_to_proven.observe(100)

for name in ("0", "1", "0", "0"):
    one = multiprocessing.get_context("fork").Process(target=child, args=(name,))
    one.start()
    one.join()

from prometheus_client import generate_latest
print(generate_latest(meters.collected()).decode())
"""


def test_children_that_follow_one_another_in_a_place_share_its_file(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", COUNT, tmp_path], check=True, capture_output=True, text=True)
    assert 'tenure_grades_total{grade="confirmed",kind="file"} 9.0' in done.stdout
    assert "tenure_due_to_proven_seconds_count 4.0" in done.stdout
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {
        f"{kind}_{place}.db" for kind in ("counter", "histogram") for place in ("main", "0", "1")
    }
