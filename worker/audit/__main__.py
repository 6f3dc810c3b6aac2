"""`python -m worker.audit FILE`: the verifier alone, for an auditor who has Python and cryptography only.

Prints the report as JSON. Exit codes are those of `tenure audit verify`: 0 verified, 6 not, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from worker.audit.keys import parse_keys
from worker.audit.note import NoteRefused
from worker.audit.reading import Misshapen, read_small
from worker.audit.verify import verify_bundle

_UNVERIFIED, _USAGE = 6, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify one bundle and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.audit", description="Verify an export, offline.")
    parser.add_argument("file", type=Path, help="the bundle")
    parser.add_argument("--keys", type=Path, help="the keys to trust, one verifier key a line")
    parser.add_argument(
        "--anchor", type=Path, action="append", default=[], help="a checkpoint kept elsewhere"
    )
    given = parser.parse_args(arguments)
    try:
        keys = None if given.keys is None else _lines(given.keys)
        anchors = [read_small(one) for one in given.anchor]
        report = verify_bundle(given.file, keys=keys, anchors=anchors)
    except (OSError, Misshapen, NoteRefused) as e:
        sys.stderr.write(f"{e}\n")
        return _USAGE
    sys.stdout.write(json.dumps(asdict(report), ensure_ascii=False, indent=2) + "\n")
    return 0 if report.verified else _UNVERIFIED


def _lines(path: Path) -> list[str]:
    keys = [one.line for one in parse_keys(read_small(path))]
    if not keys:
        raise NoteRefused(f"{path} holds no verifier key.")
    return keys


if __name__ == "__main__":
    sys.exit(main())
