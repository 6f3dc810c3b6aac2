"""What the documents for operators tell people to type exists: commands, options, settings and exit codes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import typer.main

from worker.cli.exits import Exit
from worker.cli.main import app
from worker.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("docs/operations.md", "README.md", "deploy/README.md")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
# Where a line of a block begins a command: at its start, in a container, in .venv, or quoted by an answer.
_TYPED = re.compile(r"(?:^(?:\$ )?|\.venv/bin/|exec \w+ |\()tenure ([^\n#);|>&]+)", re.MULTILINE)
_NAMED = re.compile(r"`tenure\s([^`]+)`")
_EXIT = re.compile(r"\b(?:exits?(?: with| code)?|ends? with)\s+(\d+)\b")


def blocks_of(text: str) -> str:
    """Return the blocks of code, with lines that go on joined."""
    return "\n".join(_FENCE.findall(text)).replace("\\\n", " ")


def typed(text: str) -> list[list[str]]:
    """Return the commands that blocks show, word by word, without `tenure`."""
    return [shlex.split(one) for one in _TYPED.findall(blocks_of(text))]


def named(text: str) -> list[list[str]]:
    """Return the commands that sentences name."""
    return [shlex.split(one) for one in _NAMED.findall(_FENCE.sub("", text))]


def faults(words: list[str], *, whole: bool) -> Iterator[str]:
    """Tell what the command line does not know of a command; ``whole``: and what it would miss."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    if hasattr(command, "commands"):
        yield f"tenure {' '.join(words)}: no such command"
        return
    given = {one.partition("=")[0] for one in rest if one.startswith("-")}
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    yield from (f"tenure {' '.join(words)}: no {one}" for one in sorted(given - known - {"--help"}))
    if whole and "--help" not in given:
        needed = [one for one in command.params if one.required and one.opts[0].startswith("-")]
        yield from (
            f"tenure {' '.join(words)}: lacks {one.opts[0]}" for one in needed if not given & {*one.opts}
        )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_that_is_named_exists_with_its_options(document: str) -> None:
    text = (ROOT / document).read_text()
    assert named(text)
    assert typed(text)
    assert [one for words in named(text) for one in faults(words, whole=False)] == []
    assert [one for words in typed(text) for one in faults(words, whole=True)] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("audit epok --reason R", "no such command"),
        ("audit", "no such command"),
        ("sweeps list --policies P", "no --policies"),
        ("audit epoch", "lacks --reason"),
    ],
)
def test_a_command_that_is_not_there_would_be_told(words: str, told: str) -> None:
    [found] = faults(typed(f"```\n$ tenure {words}   # why\n```\n")[0], whole=True)
    assert found == f"tenure {words}: {told}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_setting_that_is_named_exists(document: str) -> None:
    known = {f"TENURE_{field.upper()}" for field in Settings.model_fields}
    keys = Settings.model_fields["provider_keys"].default
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    unknown = [
        one
        for one in sorted(set(re.findall(r"\bTENURE_[A-Z_]+\b", (ROOT / document).read_text())) - known)
        if not any(fnmatchcase(one, glob) for glob in keys)
        and not (one.startswith("TENURE_TEST_") and f'"{one}"' in tests)
    ]
    assert unknown == []


def test_every_exit_code_that_is_named_is_one() -> None:
    told = [int(one) for document in DOCUMENTS for one in _EXIT.findall((ROOT / document).read_text())]
    assert {Exit.FAILED, Exit.BLOCKED, Exit.UNREACHABLE} <= set(told)
    assert set(told) <= set(Exit)
