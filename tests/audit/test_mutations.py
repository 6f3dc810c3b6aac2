"""A thousand random changes to an export, each of them found, and no alarm about the export itself."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, so that a run can be repeated
import sys
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from tests.audit.mutations import Mutator, unzip
from worker.audit.envelope import Leaf
from worker.audit.findings import Report
from worker.audit.note import Ed25519Signer

MUTATIONS = 1000
SEED = 20261122


def test_a_thousand_random_changes_are_all_found(
    whole: bytes,
    leaves: Sequence[Leaf],
    signer: Ed25519Signer,
    check: Callable[[bytes], Report],
    capsys: pytest.CaptureFixture[str],
) -> None:
    dice = random.Random(SEED)  # noqa: S311 - chooses damage
    mutator = Mutator(whole=whole, leaves=leaves, signer=signer, dice=dice)
    kinds = sorted(mutator.kinds)
    assert check(whole).problems == ()
    made: Counter[str] = Counter()
    missed = []
    while made.total() < MUTATIONS:
        kind = kinds[made.total() % len(kinds)]
        changed = mutator.make(kind)
        if kind != "file truncated" and unzip(whole) == _read(changed):
            continue  # two equal lines were swapped: nothing was changed
        made[kind] += 1
        if check(changed).verified:
            missed.append((made.total(), kind))
    assert check(whole).problems == ()
    with capsys.disabled():
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(made.items()))
        sys.stdout.write(f"\n{made.total()} mutations, seed {SEED}, {len(missed)} missed: {told}\n")
    assert missed == []
    assert min(made.values()) >= MUTATIONS // len(kinds)


def _read(changed: bytes) -> dict[str, bytes] | None:
    """Return what a reader of zip files finds, or None where a name stands there twice."""
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(changed)) as archive:
        names = archive.namelist()
        return None if len(names) != len(set(names)) else {name: archive.read(name) for name in names}
