"""What exporting and verifying a large log costs, into its block of docs/benchmarks.md.

`BENCH_ENTRIES` says how large the log is; the figures kept there come from a million.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from tests.bench.audit_log import SIGNER, fill_log
from tests.bench.report import Section
from tests.bench.tasks import Measured

ENTRIES = int(os.environ.get("BENCH_ENTRIES", "100000"))
RUNS = 3
# What a million entries may take, and a tenth of that for a tenth.
_EXPORT_SECONDS, _VERIFY_SECONDS, _MEGABYTES = 90 * ENTRIES / 1e6, 30 * ENTRIES / 1e6, 256
_ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(7200)


# A process with the verifier alone, as an auditor runs it; its seconds are of CPU, its start included.
_VERIFY = """
import json, sys, time
from pathlib import Path
from worker.audit.verify import verify_bundle
report = verify_bundle(Path(sys.argv[1]), keys=[sys.argv[2]])
assert report.verified, report.problems
[peak] = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:")]
told = {"rows": report.entries, "megabytes": int(peak.split()[1]) / 1024, "seconds": time.process_time()}
print(json.dumps(told))
"""


def _run(*args: str) -> Measured:
    command = [sys.executable, *args]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=_ROOT)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def test_a_large_log_is_exported_and_verified(tmp_path: Path) -> None:
    url, bundle = f"sqlite:///{tmp_path / 'log.db'}", tmp_path / "bundle.zip"
    print(f"\nloading a log of {ENTRIES:,} entries", flush=True)
    fill_log(url, ENTRIES)
    exports = [_run("-m", "tests.bench.audit_log", url, str(bundle)) for _ in range(RUNS)]
    verifications = [_run("-c", _VERIFY, str(bundle), SIGNER.vkey) for _ in range(RUNS)]
    section = Section(name="audit")
    section.say(
        f"One project owns nine tenths of {ENTRIES:,} entries (of each thread: registered, intended, "
        f"answered, read again, its control, graded); the bundle has {bundle.stat().st_size / 1e6:.0f} MB. "
        f"Medians of {RUNS} runs, each a process of its own."
    )
    told = (
        ("export, wall time", exports, _EXPORT_SECONDS),
        ("verification, CPU time", verifications, _VERIFY_SECONDS),
    )
    for what, runs, most in told:
        section.aim(what, median(one.seconds for one in runs), most=most, unit=" s")
        section.aim(
            f"{what.partition(',')[0]}, memory",
            max(one.megabytes for one in runs),
            most=_MEGABYTES,
            unit=" MB",
        )
    section.write()
