"""Every command works over HTTP against a real service as it does here, or says why it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cli.everywhere import (
    OF_ITS_OWN,
    OFFLINE,
    ONLY_HERE,
    OVER_HTTP,
    POLICIES,
    Path_,
    Story,
    command_tree,
    commands_of,
    merge,
    shape,
)
from tests.cli.ran import Run
from worker.sandbox.server import SandboxServer

REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def folder_of(place: Path, sandbox: SandboxServer, patch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give commands that are run inside it policies and a data folder of their own."""
    (place / "policies").mkdir(parents=True)
    (place / "policies" / "policies.yaml").write_text(POLICIES.replace("URL", sandbox.base_url))
    with patch.context() as here:
        here.chdir(place)
        here.setenv("TENURE_DATA_DIR", str(place / "data"))
        here.setenv("TENURE_KEY_SANDBOX", "sandbox")
        here.setenv("TENURE_TICK_SECONDS", "1")
        here.delenv("TENURE_URL", raising=False)
        yield place


@contextmanager
def service_in(place: Path) -> Iterator[str]:
    """Run `tenure up` there as a process of its own; yields its URL."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TENURE_LISTEN": "127.0.0.1:0"}
    with (place / "up.log").open("a+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "up"],
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        try:
            line = next((one for one in process.stdout if one.startswith("Tenure listens")), "")
            log.seek(0)
            assert line, log.read()
            yield line.split()[-1]
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _key(run: Run, *scopes: str) -> str:
    """Make a key beside the database."""
    given = [part for scope in scopes for part in ("--scope", scope)]
    return str(run("keys", "create", "--label", "tests", *given, "-o", "json").json["key"])


def _releasing_key(run: Run) -> str:
    """Make the one key that the first admin key cannot hand out."""
    return _key(run, "holds:release", "holds:write")


def _told_here(run: Run, place: Path, patch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], int, Any]]:
    with SandboxServer() as sandbox, folder_of(place, sandbox, patch) as folder:
        story = Story(run=run, sandbox=sandbox, folder=folder, as_releaser=nullcontext, as_other=None)
        story.tell()
    return story.told


def _told_over_http(
    run: Run, place: Path, patch: pytest.MonkeyPatch
) -> list[tuple[tuple[str, ...], int, Any]]:
    with SandboxServer() as sandbox, folder_of(place, sandbox, patch) as folder, service_in(folder) as url:
        releasing = _releasing_key(run)
        approving = _key(run, "plans:approve", "sweeps:run")
        elsewhere = folder / "elsewhere"
        with patch.context() as there:
            # Nothing of the service's folder may be of use: only the address and a key are.
            there.setenv("TENURE_DATA_DIR", str(elsewhere))
            there.setenv("TENURE_URL", url)
            there.setenv("TENURE_API_KEY", (folder / "data" / "admin.key").read_text().strip())
            there.delenv("TENURE_KEY_SANDBOX")

            @contextmanager
            def holding(key: str) -> Iterator[None]:
                with there.context() as other:
                    other.setenv("TENURE_API_KEY", key)
                    yield

            story = Story(
                run=run,
                sandbox=sandbox,
                folder=folder,
                as_releaser=partial(holding, releasing),
                as_other=partial(holding, approving),
            )
            story.tell()
        assert not elsewhere.exists()
    return story.told


@pytest.mark.timeout(300)
def test_every_command_over_http_ends_and_looks_as_it_does_here(
    run_tenure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = _told_here(run_tenure, tmp_path / "here", monkeypatch)
    there = _told_over_http(run_tenure, tmp_path / "there", monkeypatch)

    assert [(args, code) for args, code, _ in there] == [(args, code) for args, code, _ in here]
    unlike = {}
    for (args, _, form), (_, _, expected) in zip(there, here, strict=True):
        try:
            merge(form, expected)
        except ValueError as e:
            unlike[" ".join(args)] = str(e)
    assert unlike == {}
    assert commands_of(there) == OVER_HTTP


def test_every_command_says_where_it_works() -> None:
    parts = [OVER_HTTP, set(ONLY_HERE), set(OFFLINE), OF_ITS_OWN]
    known: set[Path_] = set().union(*parts)
    assert known == command_tree()
    assert sum(map(len, parts)) == len(known)


@pytest.mark.parametrize("path", sorted(ONLY_HERE), ids=" ".join)
def test_what_cannot_work_elsewhere_says_so_and_how_it_does(
    tenure: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, path: Path_
) -> None:
    # Nobody answers there: a command that asked would end with 5.
    monkeypatch.setenv("TENURE_URL", "http://127.0.0.1:9")
    told = tenure(*path, *ONLY_HERE[path], code=2)
    assert told.out == ""
    assert told.err.splitlines() == [
        f"error: `tenure {' '.join(path)}` works on the local data folder, and TENURE_URL is set.",
        "Unset TENURE_URL, and run it where the service's database is.",
    ]
    assert not (folder / "data").exists()


@pytest.mark.parametrize("more", [(), ("--last",)])
def test_nor_do_parts_of_commands(
    tenure: Run, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TENURE_URL", "http://127.0.0.1:9")
    assert "Unset TENURE_URL" in tenure("discover", "--project", "p", *more, code=2).err
    assert "Unset TENURE_URL" in tenure("doctor", "--projects", code=2).err


@pytest.mark.parametrize("path", sorted(OFFLINE), ids=" ".join)
def test_what_asks_nobody_is_the_same_with_a_url(
    tenure: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, path: Path_
) -> None:
    window = ("--project", "demo-support", "--from", "2026-01-01", "--to", "2030-01-01")
    tenure("register", "conv_1", "--project", "demo-support", "--owner", "me")
    tenure("audit", "export", *window, "--out", str(folder / "e.zip"))
    plain = tenure(*path, *OFFLINE[path])
    monkeypatch.setenv("TENURE_URL", "http://127.0.0.1:9")
    assert tenure(*path, *OFFLINE[path]) == plain


def test_forms_are_told_apart() -> None:
    one = {"id": "a", "n": 1, "of": None, "list": [], "grades": {"confirmed": 1}}
    assert merge(shape(one), shape({**one, "of": "b", "list": [1], "grades": {}})) == {
        "grades": "{}",
        "id": "text",
        "list": ["number"],
        "n": "number",
        "of": "text",
    }
    for other in ({**one, "n": "1"}, {**one, "n": True}, {**one, "more": 1}, {**one, "list": {}}):
        with pytest.raises(ValueError, match="is not"):
            merge(shape(one), shape(other))
