"""The second verifier, in another language, agrees with the first about good exports and damaged ones."""

from __future__ import annotations

import json
import os
import random  # noqa: TID251 - seeded, so that a run can be repeated
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.audit.mutations import Mutator, lines_of, pack, signed_again, unzip
from tests.audit.test_lies import LIES, under_another_pseudonym
from tests.audit.test_ranges import beginning, own, single, write
from worker.audit import bodies
from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.entry import Entry
from worker.audit.envelope import Leaf
from worker.audit.gone import Gone
from worker.audit.merkle import root_of
from worker.audit.note import Ed25519Signer

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "contrib" / "verify.mjs"
# It does not rebuild the table, nor the balance: those kinds are for `tenure audit verify` alone.
NOT_ITS_OWN = {"table changed, signed again", "manifest changed, signed again"}
EACH = 4

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="absent: node")
Told = tuple[int, dict[str, Any]]


@pytest.fixture
def node(tmp_path: Path, signer: Ed25519Signer) -> Callable[[bytes], Told]:
    def run(raw: bytes) -> Told:
        bundle, keys = tmp_path / "bundle.zip", tmp_path / "keys.txt"
        bundle.write_bytes(raw)
        keys.write_text(f"{signer.vkey}\n")
        done = subprocess.run(
            ["node", PROGRAM, bundle, keys], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)

    return run


def test_it_is_short_enough_to_be_read() -> None:
    assert len(PROGRAM.read_text().splitlines()) <= 300


def test_it_verifies_a_fresh_export_and_says_what_it_read(
    node: Callable[[bytes], Told], whole: bytes, leaves: Sequence[Leaf], signer: Ed25519Signer
) -> None:
    code, told = node(whole)
    assert (code, told["problems"], told["verified"], told["key_authenticated"]) == (0, [], True, True)
    assert (told["origin"], told["entries"], told["size"]) == (signer.name, len(leaves), len(leaves))
    assert told["grades"]["confirmed"] == 1


def test_it_verifies_a_later_range_single_entries_and_pruned_bodies(
    *,
    node: Callable[[bytes], Told],
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    leaves: Sequence[Leaf],
    signer: Ed25519Signer,
    pseudonym: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = write(leaves, signer, pseudonym, beginning=beginning(leaves, signer, 13))
    assert node(later)[1]["problems"] == []
    crash = [n for n, one in enumerate(entries) if one.subject == "thr_crash"]
    assert node(single(leaves, signer, pseudonym, crash))[1]["problems"] == []
    at = entries[-1].at
    said = bodies.body_shredded("support-eu", leaves=[(0, 5)], reason="x", at=at, actor="cli tenure/0")
    made = as_leaves([*entries, said])
    kept = [one for one in own(made, pseudonym) if one[0] >= 5]
    code, told = node(write(made, signer, pseudonym, bodies=kept))
    assert (code, told["problems"]) == (0, [])
    assert told["bodies_gone"] == 4
    with monkeypatch.context() as patched:
        patched.setattr(Gone, "overstated", lambda _self: iter(()))
        more = write(made, signer, pseudonym, bodies=[one for one in own(made, pseudonym) if one[0] >= 4])
    code, told = node(more)
    what = "the body is here, and an entry says that it is gone"
    assert (code, [(one["index"], one["what"]) for one in told["problems"]]) == (6, [(4, what)])


def test_it_asks_for_what_an_epoch_follows(
    *,
    node: Callable[[bytes], Told],
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    leaves: Sequence[Leaf],
    signer: Ed25519Signer,
    pseudonym: str,
) -> None:
    at = len(leaves)
    held = bodies.Tree(origin="o", size=at, root=root_of(one.hash for one in leaves))
    for root, code in ((held.root, 0), (bytes(32), 6)):
        gap = bodies.Gap(why="log_behind", anchored=held, held=replace(held, root=root), agreed=4)
        opened = bodies.log_epoch(
            number=2, origin="o/2", gap=gap, reason="restored", at=entries[-1].at, actor="cli tenure/0"
        )
        made = as_leaves([*entries, opened])
        whole = [*own(made, pseudonym), (at, made[at].body)]
        told = node(write(made, signer, pseudonym, bodies=whole))[1]
        assert [one["index"] for one in told["problems"]] == ([] if code == 0 else [at])
        assert ["opens the epoch o/2 (restored)" in one for one in told["notes"]] == [True]
        assert node(write(made, signer, pseudonym))[0] == 6
        assert node(single(made, signer, pseudonym, [whole[0][0], at]))[1]["problems"] == []


def test_it_reads_no_envelope_beyond_its_bound(
    node: Callable[[bytes], Told], whole: bytes, signer: Ed25519Signer
) -> None:
    members = unzip(whole)
    first, *others = lines_of(members, "envelopes.jsonl.gz")
    for length, what in ((2048, "this is no envelope of version 1"), (2049, "a line is too long")):
        lines = [first.ljust(length), *others]
        code, told = node(signed_again({**members, "envelopes.jsonl.gz": pack(lines)}, signer))
        assert (code, what in str(told["problems"])) == (6, True)


def test_it_takes_no_body_line_that_the_first_verifier_refuses_for_its_end(
    node: Callable[[bytes], Told], whole: bytes, signer: Ed25519Signer
) -> None:
    members = unzip(whole)
    lines = lines_of(members, "bodies.jsonl.gz")
    for end in (b"\r", b" ", b"\t"):
        changed = {**members, "bodies.jsonl.gz": pack([one + end for one in lines])}
        assert node(signed_again(changed, signer))[0] == 6


def test_it_refuses_foreign_bytes_around_the_archive_and_names_that_differ_in_case_only(
    node: Callable[[bytes], Told], whole: bytes, signer: Ed25519Signer
) -> None:
    foreign = b"x" * 40
    assert node(whole + foreign)[0] == 6
    assert node(foreign + whole)[0] == 6
    assert node(signed_again({**unzip(whole), "Certificate.html": b"x"}, signer))[0] == 6


@pytest.mark.parametrize("alias", ["confirmed", "nobody"])
def test_it_holds_each_thread_to_one_pseudonym(
    alias: str,
    node: Callable[[bytes], Told],
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    bundled: Callable[[Sequence[Leaf]], bytes],
) -> None:
    told = node(bundled(under_another_pseudonym(entries, as_leaves, "absent", alias)[0]))[1]
    assert {one["what"] for one in told["problems"]} == {"a pseudonym is of two threads, or a thread of two"}


def test_it_compares_the_checkpoints_that_travel_along(
    node: Callable[[bytes], Told], leaves: Sequence[Leaf], whole: bytes, signer: Ed25519Signer
) -> None:
    root = root_of(one.hash for one in leaves[:9])
    other = Ed25519Signer.from_seed(f"{signer.name}/2", b"\x07" * 32)
    for by, told_root, code in ((signer, root, 0), (signer, bytes(32), 6), (other, root, 6)):
        note = sign_checkpoint(Checkpoint(origin=by.name, size=9, root=told_root), by)
        members = {**unzip(whole), "anchors/a": note.encode()}
        assert node(signed_again(members, signer))[0] == code


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = subprocess.run(
        ["node", PROGRAM, tmp_path / "pipe"], capture_output=True, text=True, check=False, timeout=20
    )
    assert (done.returncode, "this is no file" in done.stdout) == (6, True)


def test_it_finds_what_was_done_to_an_export(
    node: Callable[[bytes], Told], whole: bytes, leaves: Sequence[Leaf], signer: Ed25519Signer
) -> None:
    dice = random.Random(7)  # noqa: S311 - chooses damage
    mutator = Mutator(whole=whole, leaves=leaves, signer=signer, dice=dice)
    missed = [
        kind
        for kind in sorted(mutator.kinds.keys() - NOT_ITS_OWN)
        for _ in range(EACH)
        if node(mutator.make(kind))[0] != 6
    ]
    assert missed == []


@pytest.mark.parametrize(
    "lie", ["a better grade", "a grade that is none", "another grader", "a pass left out"]
)
def test_it_computes_every_grade_again(
    lie: str,
    node: Callable[[bytes], Told],
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    bundled: Callable[[Sequence[Leaf]], bytes],
) -> None:
    rewrite, _ = LIES[lie]
    code, told = node(bundled(as_leaves([new for new in map(rewrite, entries) if new is not None])))
    assert code == 6
    assert any("grade" in one["what"] for one in told["problems"])


def test_it_grades_as_the_table_of_grades_says(tmp_path: Path) -> None:
    """Every combination that the words allow, compared with the grader itself."""
    from itertools import product

    from worker.audit.observed import Tried, reread_body, tried_body
    from worker.model.evidence import Children, Class, Control, Pass, Reread, fold, grade

    befores = (Class.PRESENT, Class.OBJECT_ABSENT, Class.ROUTE_ABSENT, Class.ERROR, Class.NONE)
    answers = (Class.ACKNOWLEDGED, Class.LOST, Class.DENIED, Class.UNSENT, Class.NONE)
    afters: tuple[tuple[tuple[Class, Control], ...], ...] = (
        (),
        ((Class.OBJECT_ABSENT, Control.GOOD),),
        ((Class.ERROR, Control.NONE), (Class.OBJECT_ABSENT, Control.ROUTE_ONLY)),
        ((Class.PRESENT, Control.NONE),),
    )
    passes = [
        Pass(before=before, control=control, armed=armed, answer=answer, afters=after, children=children)
        for before, control, armed, answer, after, children in product(
            befores,
            (Control.GOOD, Control.FAILED),
            (True, False),
            answers,
            afters,
            (Children.ALL, Children.SOME),
        )
    ]
    earlier = [
        Pass(before=Class.PRESENT, armed=True),
        Pass(before=Class.PRESENT, armed=True, answer=Class.DENIED),
    ]
    rereads = (None, Reread(seen=Class.OBJECT_ABSENT, control=Control.GOOD))
    cases = [
        (tried, reread)
        for one in passes
        for tried in ([one], *([before, one] for before in earlier))
        for reread in rereads
    ]
    given = [
        {
            "passes": [tried_body(Tried(item="i", fence=1, saw=one)) for one in tried],
            "reread": reread_body(reread),
        }
        for tried, reread in cases
    ]
    (tmp_path / "cases.json").write_text(json.dumps(given))
    source = PROGRAM.read_text()
    begin, end = source.index("// --- grades"), source.index("// --- entries")
    (tmp_path / "grades.mjs").write_text(
        'import { readFileSync } from "node:fs";\n'
        + source[begin:end]
        + 'const cases = JSON.parse(readFileSync(process.argv[2], "utf8"));\n'
        + "console.log(JSON.stringify(cases.map((one) => grade(fold(one.passes, one.reread)))));\n"
    )
    command = ["node", str(tmp_path / "grades.mjs"), str(tmp_path / "cases.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    expected = [grade(fold(tried, reread=reread)).value for tried, reread in cases]
    assert json.loads(done.stdout) == expected
    assert len(set(expected)) >= 9


def test_a_hostile_file_is_refused_by_it_in_bounds(
    node: Callable[[bytes], Told], whole: bytes, signer: Ed25519Signer
) -> None:
    import gzip

    from tests.audit.mutations import signed_again, unzip, zip_up

    members = unzip(whole)
    bomb = gzip.compress(b"x" * 50_000_000)
    for changed in (
        b"",
        b"PK",
        b"no zip at all" * 10,
        zip_up([*members.items(), ("../keys.txt", b"")]),
        signed_again({**members, "envelopes.jsonl.gz": bomb}, signer),
        signed_again({**members, "bodies.jsonl.gz": bomb}, signer),
    ):
        assert node(changed)[0] == 6
