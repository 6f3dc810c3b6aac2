"""What the coverage sweep found is shown with its time, and asks the provider nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.ran import Run
from worker.sandbox.control import make_sample
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import parse_faults
from worker.sandbox.server import SandboxServer

_PROJECT = "demo-support"
_DISCOVER = ("discover", "--project", _PROJECT)


@pytest.fixture
def provider(folder: Path) -> Iterator[SandboxServer]:
    """Point the projects at a sandbox with one file that nobody registered."""
    projects = folder / "policies" / "projects.yaml"
    with SandboxServer() as server:
        projects.write_text(projects.read_text().replace("http://127.0.0.1:9/v1", server.base_url))
        make_sample(server.store, ObjectKind.FILE, created_at=1_790_000_000)
        yield server


def _cover() -> None:
    """Do what a worker does when a tick has woken it."""
    from worker.cli.local import local
    from worker.flows.cover import cover

    with local() as wired:

        async def run() -> None:
            tools = wired.tools()
            try:
                assert await cover(tools, _PROJECT)
            finally:
                await tools.close()

        asyncio.run(run())


def _line(tenure: Run) -> dict[str, str]:
    rows = tenure("doctor", "-o", "json").json
    return next(one for one in rows if one["check"] == f"coverage {_PROJECT}")


def test_before_the_first_look_there_is_nothing_to_show(tenure: Run) -> None:
    told = tenure(*_DISCOVER, "--last", code=1)
    assert "No coverage sweep of demo-support has ended yet" in told.err
    assert _line(tenure)["status"] == "info"


def test_the_last_look_is_shown_with_its_time_and_nothing_is_asked(
    tenure: Run, provider: SandboxServer
) -> None:
    _cover()
    asked = len(provider.requests())
    told = tenure(*_DISCOVER, "--last", "-o", "json").json
    files = next(one for one in told["kinds"] if one["kind"] == "file")
    assert (told["project"], files["found"], files["registered"], files["unregistered"]) == (
        _PROJECT,
        1,
        0,
        1,
    )
    assert files["problem"] is None
    assert files["looked_at"].endswith("Z")
    assert files["looked_at"] in tenure(*_DISCOVER, "--last", "-o", "csv").out
    assert len(provider.requests()) == asked


def test_the_doctor_tells_of_what_nobody_registered_and_how_to_adopt_it(
    tenure: Run, provider: SandboxServer
) -> None:
    del provider
    _cover()
    line = _line(tenure)
    assert line["status"] == "warning"
    assert line["what"].startswith("1 of 1 objects found are not registered")
    assert "tenure discover --project demo-support" in line["repair"]


def test_a_list_that_failed_shows_in_both(tenure: Run, provider: SandboxServer) -> None:
    provider.set_faults(parse_faults(["forbidden:file"]))
    _cover()
    told = tenure(*_DISCOVER, "--last", "-o", "json", code=1).json
    assert {one["kind"]: one["problem"] for one in told["kinds"]}["file"] == "the list answered 403"
    assert "no complete list of file" in _line(tenure)["what"]


def test_discovering_says_which_kinds_have_no_list_and_why(tenure: Run, provider: SandboxServer) -> None:
    del provider
    told = tenure(*_DISCOVER, "-o", "json")
    assert "not listed: thread (the provider wants a browser session" in told.err
    assert "not listed: conversation (the provider has no list of them)" in told.err
    assert {one["kind"] for one in told.json["kinds"]} >= {"file", "container"}


def test_a_switched_off_coverage_sweep_says_so(tenure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tenure("threads", "list")
    monkeypatch.setenv("TENURE_COVERAGE_HOURS", "0")
    assert _line(tenure)["what"] == "TENURE_COVERAGE_HOURS is 0."


@pytest.mark.parametrize("more", [("--adopt", "--owner", "me"), ("--adopt",)])
def test_the_last_look_holds_numbers_and_so_adopts_nothing(tenure: Run, more: tuple[str, ...]) -> None:
    tenure(*_DISCOVER, "--last", *more, code=2)


def test_the_last_look_of_an_unknown_project_is_refused(tenure: Run) -> None:
    tenure("discover", "--project", "nobody", "--last", code=1)
