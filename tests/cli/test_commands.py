"""The command line as a whole: names, help, exit codes, and what is loaded when."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from worker.cli.exits import Ended, Exit, Misused, exit_code_of
from worker.cli.main import app
from worker.model.errors import Invalid, Unavailable
from worker.settings import SettingsInvalid

_REPOSITORY = Path(__file__).resolve().parents[2]
_PROMISED = {
    "demo": (),
    "up": (),
    "api": (),
    "worker": (),
    "beat": (),
    "sandbox": (),
    "db": ("upgrade", "current", "check"),
    "register": (),
    "import": (),
    "threads": ("list", "show", "withdraw"),
    "explain": (),
    "hold": ("place", "list", "release"),
    "erase": (),
    "pause": (),
    "resume": (),
    "failures": ("list", "retry", "accept"),
    "policy": ("validate", "test", "preview", "schema"),
    "sweep": (),
    "sweeps": ("list", "show", "approve"),
    "discover": (),
    "audit": ("list", "seal", "export", "verify", "prove", "prune", "shred", "epoch"),
    "keys": ("create", "list", "revoke"),
    "doctor": (),
    "version": (),
}


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _commands(child, (*path, name))


_ALL = dict(_commands(typer.main.get_command(app)))


def _run(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY), **env},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_every_promised_command_is_there() -> None:
    promised = {
        (name, *([sub] if sub else [])) for name, subs in _PROMISED.items() for sub in (subs or ("",))
    }
    assert promised <= set(_ALL)


@pytest.mark.parametrize("path", sorted(_ALL), ids=" ".join)
def test_every_command_shows_an_example_of_itself(path: tuple[str, ...]) -> None:
    help_text = _ALL[path].help or ""
    assert f"Example: tenure {' '.join(path)}" in help_text
    assert "[" not in help_text.partition("Example:")[2]


@pytest.mark.parametrize(
    "path",
    sorted(set(_ALL) - {(name,) for name in ("up", "api", "worker", "beat", "sandbox")}),
    ids=" ".join,
)
def test_every_command_that_shows_data_writes_four_formats(path: tuple[str, ...]) -> None:
    options = {option for param in _ALL[path].params for option in param.opts}
    assert {"-o", "--output"} <= options


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Invalid("x"), 1),
        (Unavailable("x"), 5),
        (SettingsInvalid("x"), 2),
        (Misused("x"), 2),
        (Ended("x"), 1),
        (Ended("x", exit_code=Exit.BLOCKED), 4),
    ],
)
def test_an_error_ends_with_the_exit_code_that_it_stands_for(error: Any, code: int) -> None:
    assert exit_code_of(error) == code


def test_an_error_is_told_with_its_repair_and_without_a_traceback(tmp_path: Path) -> None:
    done = _run("threads", "list", cwd=tmp_path, TENURE_TICK_SECONDS="never")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: TENURE_TICK_SECONDS:")
    assert "Traceback" not in done.stderr


def test_an_unknown_option_is_a_usage_error(tmp_path: Path) -> None:
    assert _run("threads", "list", "--nonsense", cwd=tmp_path).returncode == 2


def test_the_version_is_told_without_settings(tmp_path: Path) -> None:
    done = _run("version", "-o", "json", cwd=tmp_path, TENURE_TICK_SECONDS="never")
    assert done.returncode == 0
    assert set(json.loads(done.stdout)) == {"tenure", "python"}


def test_a_first_command_sets_up_an_empty_data_folder(folder: Path) -> None:
    done = _run("register", "conv_1", "--project", "demo-support", "--owner", "me", "-o", "jsonl", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["decision"]["outcome"] in {"UNKNOWN", "PENDING"}
    assert (folder / "data" / "tenure.db").is_file()
    again = _run("threads", "list", "-o", "jsonl", "--limit", "5", cwd=folder)
    assert [json.loads(line)["external_id"] for line in again.stdout.splitlines()] == ["conv_1"]


def test_the_command_line_loads_nothing_slow_before_a_command_needs_it() -> None:
    slow = "{'openai', 'fastapi', 'sqlalchemy', 'httpx2', 'celery', 'pydantic_settings', 'uvicorn'}"
    script = f"import sys, worker.cli.main; print(sorted({slow} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_a_reader_that_leaves_early_is_no_crash(folder: Path) -> None:
    command = f"{sys.executable} -m worker sandbox --fault list | head -1"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Traceback" not in done.stderr
