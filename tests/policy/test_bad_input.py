"""Whatever stands in the folder is answered by findings with place and repair, in bounded memory and time.

Each case runs in a process of its own whose memory and processor time the kernel limits, generously: what
grew with the nonsense instead of the file would be killed there, whatever this machine is busy with.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.cli.findings_shown import frame
from worker.cli.policy_cases import read_cases
from worker.cli.policy_tests import run_tests
from worker.policy.findings import Notes
from worker.policy.load import load_file, load_folder, load_texts

_REPOSITORY = Path(__file__).resolve().parents[2]
_MEMORY, _SECONDS = 400_000_000, 100
_CHILD = f"""
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY}, {_MEMORY}))
resource.setrlimit(resource.RLIMIT_CPU, ({_SECONDS}, {_SECONDS}))
from pathlib import Path
from worker.policy.load import load_folder
loaded = load_folder(Path(sys.argv[1]))
print(json.dumps([loaded.bundle is None, [[str(one), one.fix] for one in loaded.findings]]))
"""
_HEAD = """\
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: p, owner: o}
spec:
  mode: enforce
"""
_GUARDS = "  guards: {max_deletes: 5, max_percent: 5, min_population: 1, window: 24h}\n"
_DELETE = "  delete: {after: 30d}\n" + _GUARDS
_ALL = "  match: {all: true}\n"
_GOOD = _HEAD + _ALL + _DELETE
_LAUGHS = 'a0: &a0 ["lol", "lol"]\n' + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)
)
# What stands in the folder, and the finding that comes first.
_CASES: Mapping[str, tuple[Mapping[str, bytes], str]] = {
    "billion laughs": (
        {"a.yaml": _LAUGHS.encode()},
        'a.yaml:1:5 RP022 anchors and aliases are not allowed ("&a0"). Write the value out.',
    ),
    "ten megabytes": (
        {"a.yaml": _GOOD.encode() + b"# " + b"x" * 10_000_000},
        "a.yaml:1:1 RP022 the file is larger than 1 MB. Split it.",
    ),
    "ten megabytes of one key": (
        {"a.yaml": b"a" * 10_000_000 + b": 1\n"},
        "a.yaml:1:1 RP022 the file is larger than 1 MB. Split it.",
    ),
    "NUL": (
        {"a.yaml": _GOOD.replace("owner: o", "owner: o\0").encode()},
        "a.yaml:3:29 RP022 character U+0000 is not allowed. Remove it.",
    ),
    "byte order mark": (
        {"a.yaml": b"\xef\xbb\xbf" + _GOOD.encode()},
        "a.yaml:1:1 RP022 the file starts with a byte order mark. Save it as plain UTF-8.",
    ),
    "UTF-16": ({"a.yaml": _GOOD.encode("utf-16")}, "a.yaml:1:1 RP022 not UTF-8. Save it as UTF-8."),
    "tab": (
        {"a.yaml": _GOOD.replace("  match", "\tmatch").encode()},
        "a.yaml:6:1 RP022 tab character. Use spaces.",
    ),
    "one name in two files": (
        {"a.yaml": _GOOD.encode(), "b.yaml": b"# below\n" + _GOOD.encode()},
        'b.yaml:4:18 RP015 policy name "p" already defined in a.yaml:3. Rename one of them.',
    ),
    "unknown zone": (
        {"a.yaml": (_GOOD + '  schedule: {cron: "0 0 * * *", timezone: Mars/Olympus}\n').encode()},
        'a.yaml:9:43 RP006 unknown time zone "Mars/Olympus". Use an IANA name such as "Europe/Berlin".',
    ),
    "a zone that is a path": (
        {"a.yaml": (_GOOD + '  schedule: {cron: "0 0 * * *", timezone: ../../etc/passwd}\n').encode()},
        'a.yaml:9:43 RP006 unknown time zone "../../etc/passwd". Use an IANA name such as "Europe/Berlin".',
    ),
    "a cron that never comes": (
        {"a.yaml": (_GOOD + '  schedule: {cron: "0 0 31 2 *"}\n').encode()},
        'a.yaml:9:20 RP007 cron "0 0 31 2 *" cannot be read: Bad day-of-month. Write for example',
    ),
    "a cron of a megabyte": (
        {"a.yaml": (_GOOD + f'  schedule: {{cron: "{"*," * 400_000}* * * * *"}}\n').encode()},
        "a.yaml:9:20 RP007 cron has 800009 characters, at most 200 are read. Write for",
    ),
    "bracket in a glob": (
        {"a.yaml": (_HEAD + '  match: {projects: ["support-[ab]"]}\n' + _DELETE).encode()},
        'a.yaml:6:22 RP027 The pattern "support-[ab]" holds "[", which is no wildcard here. Use "*" for any',
    ),
    "empty match": (
        {"a.yaml": (_HEAD + "  match: {}\n" + _DELETE).encode()},
        "a.yaml:6:3 RP009 spec.match is empty: a delete rule must select something. To cover",
    ),
    "a match of nothing": (
        {"a.yaml": (_HEAD + "  match:\n" + _DELETE).encode()},
        "a.yaml:6:3 RP009 spec.match is empty: a delete rule must select something. To cover",
    ),
    "an empty list in match": (
        {"a.yaml": (_HEAD + "  match: {projects: []}\n" + _DELETE).encode()},
        "a.yaml:6:21 RP025 match.projects is an empty list. Name something, or leave it out.",
    ),
    "empty except": (
        {"a.yaml": (_HEAD + _ALL + "  except: {}\n" + _DELETE).encode()},
        "a.yaml:7:11 RP009 spec.except is empty. Leave it out, or say what to except.",
    ),
    "deep": ({"a.yaml": b"[" * 900_000}, "a.yaml:1:33 RP022 nested deeper than 32 levels. Flatten it."),
    "a flood of unknown keys": (
        {"a.yaml": b"".join(b"k%d: 1\n" % n for n in range(25_000))},
        'a.yaml:1:1 RP005 unknown field "k0" in the document. Known: apiVersion, kind, metadata, spec.',
    ),
    "a flood of patterns": (
        {
            "a.yaml": (
                _HEAD + f"  match: {{projects: [{'a,' * 100_000}a]}}\n" + _DELETE + "tail: 1\n"
            ).encode()
        },
        'a.yaml:9:1 RP005 unknown field "tail" in the document.',
    ),
    "a flood of one key": (
        {"a.yaml": b"k: 1\n" * 50_000},
        'a.yaml:2:1 RP001 duplicate key "k" (first at 1:1). YAML would silently use the last one.',
    ),
    "a flood of documents": (
        {"a.yaml": b"---\nk: 1\n" * 20_000},
        'a.yaml:2:1 RP005 unknown field "k" in the document. Known: apiVersion, kind, metadata, spec.',
    ),
}


@pytest.mark.parametrize("case", _CASES)
def test_bad_input_is_a_finding_with_place_and_repair_in_bounded_memory_and_time(
    case: str, tmp_path: Path
) -> None:
    files, first = _CASES[case]
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    refused, findings = _limited(tmp_path)
    assert refused
    assert findings[0][0].startswith(first)
    assert all(fix for _, fix in findings)
    assert len(findings) <= 1002


def test_a_link_out_of_the_folder_is_a_finding_and_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (tmp_path / "elsewhere.yaml").write_text(_GOOD)
    (folder / "a.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    (folder / "b.yaml").symlink_to("/dev/zero")
    (folder / "c.yaml").symlink_to("c.yaml")
    refused, findings = _limited(folder)
    assert refused
    assert [one[0] for one in findings[:3]] == [
        "a.yaml:1:1 RP037 the link leads out of the folder. Put the file itself here.",
        "b.yaml:1:1 RP037 the link leads out of the folder. Put the file itself here.",
        "c.yaml:1:1 RP022 not a file that exists. Remove it, or put a file here.",
    ]


def _limited(folder: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(folder)],
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


_SHIPPED = (_REPOSITORY / "policies" / "retention.yaml").read_bytes()
_TESTS = (_REPOSITORY / "policies" / "retention.test.yaml").read_bytes()
_BYTES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"\n", b"- ", b": ", b"{", b"}", b"[", b"]", b"'", b'"', b"&a ", b"*a", b"!!x ", b"---\n"]
    ),
    st.sampled_from(
        [b"|\n", b"#", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf", b"%YAML 9\n", b"? ", b"<<: ", b"\xe2\x80\xa8"]
    ),
)


def _damaged(good: bytes) -> st.SearchStrategy[bytes]:
    cuts = st.lists(st.tuples(st.integers(0, len(good)), st.integers(0, 30), _BYTES), min_size=1, max_size=4)

    def damage(changes: list[tuple[int, int, bytes]]) -> bytes:
        data = good
        for at, cut, put in changes:
            data = data[:at] + put + data[at + cut :]
        return data

    return cuts.map(damage)


@settings(max_examples=150)
@given(data=st.one_of(st.binary(max_size=300), _damaged(_SHIPPED)))
def test_any_bytes_lead_to_a_bundle_or_to_findings_and_every_finding_can_be_shown(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-bytes"
    folder.mkdir(exist_ok=True)
    (folder / "a.yaml").write_bytes(data)
    loaded = load_folder(folder)
    assert (loaded.bundle is None) == any(one.code == "RP020" for one in loaded.findings)
    assert loaded == load_file(folder / "a.yaml")
    lines = data.decode("utf-8", "replace").split("\n")
    for one in loaded.findings:
        assert str(one).isprintable()
        if one.line:
            assert 1 <= one.line <= len(lines)
            assert all(part.isprintable() for part in frame(lines[one.line - 1], one.col, 80))


@settings(max_examples=150)
@given(data=_damaged(_TESTS))
def test_no_damage_to_a_test_makes_its_reader_raise(data: bytes) -> None:
    bundle = load_texts({"retention.yaml": _SHIPPED.decode()}).bundle
    assert bundle is not None
    text, notes = data.decode("utf-8", "replace"), Notes("a.test.yaml")
    cases = read_cases(text, notes)
    tested = run_tests({"a.test.yaml": text}, bundle)
    assert tested.cases == len(cases)
    assert all(str(one).isprintable() for one in tested.findings)
