"""What a person sees of findings: on a terminal the source line with carets, elsewhere plain lines."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from worker.cli.findings_shown import frame

_REPOSITORY = Path(__file__).resolve().parents[2]
_BAD = """\
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: p30, owner: "tests"}
spec:
  mode: enforced
  match: {projects: ["日本[ab]", "x"]}
  delete: {after: 30d, aftr: 1d}
  guards: {max_deletes: 10, max_percent: 100, min_population: 0, window: 24h}
"""
_BRACKET = (
    'bad.yaml:6:22 RP027 The pattern "日本[ab]" holds "[", which is no wildcard here. '
    'Use "*" for any run of characters and "?" for one, or list several patterns.'
)


def _on_a_terminal(folder: Path, **env: str) -> str:
    leader, follower = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "worker", "policy", "validate", "bad.yaml"],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}},
            "PYTHONPATH": str(_REPOSITORY),
            "TERM": "xterm",
            "COLUMNS": "100",
            **env,
        },
        stdout=follower,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    os.close(follower)
    seen = bytearray()
    while True:
        try:
            some = os.read(leader, 65536)
        except OSError:  # Linux ends a terminal whose other side is closed this way
            break
        if not some:
            break
        seen += some
    os.close(leader)
    assert done.wait(60) == 1
    return seen.decode().replace("\r\n", "\n")


def test_a_terminal_shows_the_line_with_carets_below_the_place(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(_BAD)
    shown = _on_a_terminal(tmp_path, NO_COLOR="1")
    assert "\x1b" not in shown
    assert shown.splitlines()[:6] == [
        'bad.yaml:5:9 RP026 mode "enforced" is unknown. Did you mean "enforce"?',
        "5 |   mode: enforced",
        "  |         ^^^^^^^^",
        _BRACKET,
        '6 |   match: {projects: ["日本[ab]", "x"]}',
        "  |                      ^^^^^^^^^^",
    ]
    assert "7 |   delete: {after: 30d, aftr: 1d}\n  |                        ^^^^\n" in shown


def test_colours_are_for_terminals_that_want_them(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(_BAD)
    shown = _on_a_terminal(tmp_path)
    assert "\x1b[1;31mRP026\x1b[0m" in shown
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == _on_a_terminal(tmp_path, NO_COLOR="1")


@pytest.mark.parametrize(
    ("line", "col", "width", "expected"),
    [
        ("  mode: off  # x", 9, 80, ("  mode: off  # x", 8, "^^^")),
        ('a: "b c", d', 4, 80, ('a: "b c", d', 3, "^^^^^")),
        ("a: 'b", 4, 80, ("a: 'b", 3, "^^")),
        ("a:", 3, 80, ("a:", 2, "^")),
        ("", 1, 80, ("", 0, "^")),
        ("a: [x]", 99, 80, ("a: [x]", 6, "^")),
        ("日本: x", 5, 80, ("日本: x", 6, "^")),
        ("\tmode: x", 8, 80, ("\ufffdmode: x", 7, "^")),
        ("k: \x1b[2J", 4, 80, ("k: \ufffd[2J", 3, "^^^^")),
        ("x" * 300 + " y", 302, 40, ("x" * 19 + " y", 20, "^")),
        ("a: " + "z" * 300, 4, 40, ("a: " + "z" * 37, 3, "^" * 37)),
    ],
    ids=["plain", "quoted", "unclosed", "end", "empty", "beyond", "wide", "tab", "escape", "far", "long"],
)
def test_carets_stand_below_the_word_whatever_the_line_holds(
    line: str, col: int, width: int, expected: tuple[str, int, str]
) -> None:
    shown, before, carets = frame(line, col, width)
    assert (shown, len(before), carets) == expected
    assert not before.strip()
