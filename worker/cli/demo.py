"""`tenure demo`: the whole main job against a sandbox provider, in a temporary folder, in a minute.

A real service in a process of its own, real HTTP, real deletions at the sandbox. Exit 0 only if every
expectation held, as told by the API and by the sandbox's own truth.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import httpx2
import typer

from worker.cli.demo_story import FAULTS, LITIGANT, MATTER, SCENES, SUPPORT, Scene, cast_of
from worker.cli.exits import Ended, Exit
from worker.cli.output import Format, printable, progress, say, show_one
from worker.model.clock import Clock, SystemClock, rfc3339

_STEPS = 7
_DELETED = frozenset({"confirmed", "inferred", "sustained"})
_START_SECONDS, _SWEEP_SECONDS, _STOP_SECONDS = 60.0, 300.0, 30.0
_LOOK_EVERY = 0.2
# Threads of the story that wait for a later look: nobody waits for those.
_READ_AGAIN_LATER = sum(scene.share for scene in SCENES if "acknowledged" in scene.expect)


@dataclass(slots=True, kw_only=True)
class Running:
    """The service under demonstration: its API, its sandbox, and its folder."""

    api: httpx2.Client
    sandbox: httpx2.Client
    folder: Path
    clock: Clock = field(default_factory=SystemClock)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Call the API and return its JSON; anything but success ends the demo."""
        answer = self.api.request(method, path, json=body)
        if not answer.is_success:
            raise Ended(f"{method} {path} answered {answer.status_code}: {answer.text[:300]}")
        return answer.json()


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """One registered thread and the scene it plays."""

    scene: Scene
    id: str
    external_id: str


def demo(threads: int, output: Format) -> None:
    """Run the demo and print its result; raises typer.Exit(1) when an expectation did not hold."""
    clock = SystemClock()
    begun = clock.monotonic()
    with TemporaryDirectory(prefix="tenure-demo-") as name, progress("tenure demo") as told:
        folder = Path(name)
        told(0, _STEPS)
        with _service(folder) as running:
            result, lines, failed = _play(running, threads, lambda step: told(step, _STEPS))
    result["seconds"] = round(clock.monotonic() - begun, 1)
    if output is Format.TABLE:
        _print_story(lines, result)
    else:
        show_one(result, output)
    for problem in failed:
        say(f"NOT AS EXPECTED: {problem}")
    if failed:
        raise typer.Exit(Exit.FAILED)


def _play(
    running: Running, threads: int, step: Callable[[int], None]
) -> tuple[dict[str, Any], list[tuple[Scene, Counter[str]]], list[str]]:
    players = _register(running, threads)
    step(1)
    running.ask(
        "POST",
        "/v1/holds",
        {"matter": MATTER, "reason": "a court asked for it", "scope": {"owners": [LITIGANT]}},
    )
    step(2)
    running.sandbox.post("/sandbox/faults", json={"faults": list(FAULTS)}).raise_for_status()
    _sweep(running)
    step(3)
    came = {one.id: _what_came(running, one) for one in players}
    step(4)
    state = running.sandbox.get("/sandbox/state").raise_for_status().json()
    exported, report, stopped = _export(running)
    step(6)
    lines = [
        (scene, Counter(came[one.id] for one in players if one.scene is scene))
        for scene, _ in cast_of(threads)
    ]
    grades = Counter(came[one.id] for one in players if came[one.id].islower())
    outcomes = Counter(came[one.id] for one in players if came[one.id].isupper())
    live = {one for ids in state["ids"].values() for one in ids}
    held_deleted = sum(one.scene.owner == LITIGANT and one.external_id not in live for one in players)
    result: dict[str, Any] = {
        "registered": len(players),
        "grades": dict(sorted(grades.items())),
        "outcomes": dict(sorted(outcomes.items())),
        "held_deleted": held_deleted,
        "provider_remaining": len(live),
        "audit": {"size": report.size, "root": report.root, "verified": report.verified},
        "export": str(exported),
    }
    failed = _judge(players, came, live) + [f"{one.member}: {one.what}" for one in report.problems] + stopped
    step(7)
    return result, lines, failed


def _judge(players: list[Player], came: Mapping[str, str], live: set[str]) -> list[str]:
    """Compare with the story, and every claim with what the sandbox really holds."""
    wrong = []
    for one in players:
        seen = came[one.id]
        if seen not in one.scene.expect:
            wrong.append(f"{one.scene.title}: {seen}, expected {' or '.join(one.scene.expect)}")
        if (seen in _DELETED or seen == "absent") and one.external_id in live:
            wrong.append(f"{one.external_id} is called {seen} and is still there")
        if seen.isupper() and one.external_id not in live:
            wrong.append(f"{one.external_id} is {seen} and is gone")
    return wrong


def _register(running: Running, threads: int) -> list[Player]:
    players = []
    for scene, count in cast_of(threads):
        created_at = rfc3339((running.clock.now() - timedelta(days=scene.days_old)).replace(microsecond=0))
        seed = {
            "kind": scene.kind,
            "count": count,
            "children": scene.children,
            "created_at": created_at,
            "project": f"proj_{scene.project.replace('-', '_')}",
        }
        made = running.sandbox.post("/sandbox/seed", json=seed).raise_for_status().json()["ids"]
        for external_id in made:
            body = {
                "external_id": external_id,
                "project": scene.project,
                "owner": scene.owner,
                "tags": dict(scene.tags),
                "created_at": created_at,
            }
            answer = running.ask("POST", "/v1/threads", body)
            players.append(Player(scene=scene, id=answer["id"], external_id=external_id))
            if scene.gone_already:
                _delete_behind_our_back(running, scene, external_id)
    return players


def _delete_behind_our_back(running: Running, scene: Scene, external_id: str) -> None:
    project = f"proj_{scene.project.replace('-', '_')}"
    answer = running.sandbox.delete(
        f"/v1/{scene.kind}s/{external_id}",
        headers={"Authorization": "Bearer somebody-else", "OpenAI-Project": project},
    )
    answer.raise_for_status()


def _sweep(running: Running) -> None:
    """Order a sweep as a person would, and wait until every item is done, parked or spared.

    Also those of a scheduled sweep that came a moment before: it leaves nothing to plan for this one.
    """
    made = running.ask("POST", "/v1/sweeps", {"policy": None, "dry_run": False})["sweeps"]
    until = running.clock.monotonic() + _SWEEP_SECONDS
    for one in made:
        while True:
            now = running.ask("GET", f"/v1/sweeps/{one['id']}")
            if now["state"] != "released" and not now["busy"] and now["waiting"] <= _READ_AGAIN_LATER:
                break
            if running.clock.monotonic() > until:
                raise Ended(f"The sweep of {one['policy']} did not end: {now}")
            running.clock.wait(_LOOK_EVERY)


def _what_came(running: Running, one: Player) -> str:
    """Return the grade's word of what was tried, else the outcome of the decision."""
    thread = running.ask("GET", f"/v1/threads/{one.id}")
    if thread["evidence"]:
        return str(thread["evidence"]["grade"]).partition("/")[0]
    return str(thread["decision"]["outcome"])


def _export(running: Running) -> tuple[Path, Any, list[str]]:
    """Export the main project's evidence, and verify it as a stranger would: from the file alone."""
    from worker.audit.verify import verify_bundle
    from worker.flows.export import export
    from worker.settings import load_settings
    from worker.wiring import read_signer, wire

    data = running.folder / "data"
    # Named one by one, so that no variable of the caller leads anywhere else.
    settings = load_settings(
        data_dir=data, database_url="", broker_url="memory://", redis_url="", signing_key_file=None
    )
    tenure = wire(settings, role="demo")
    kept = Path(".tenure") / "demo"
    kept.mkdir(parents=True, exist_ok=True)
    now = running.clock.now()
    out = (kept / f"{SUPPORT}-{now:%Y%m%dT%H%M%S}.zip").resolve()
    window = (now - timedelta(days=1), now + timedelta(days=1))
    export(
        tenure.database,
        tenure.sealer,
        project=SUPPORT,
        window=window,
        out=out,
        actor=tenure.actor,
        clock=running.clock,
    )
    tenure.database.dispose()
    report = verify_bundle(out, keys=[read_signer(settings).vkey])
    return out, report, [] if report.verified else ["the export does not verify"]


@contextmanager
def _service(folder: Path) -> Iterator[Running]:
    """Run `tenure up --sandbox` on a temporary folder, and stop it cleanly."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TENURE_", "OPENAI_"))}
    environment |= {
        "TENURE_CONFIG": str(folder / "none.yaml"),
        "TENURE_DATA_DIR": str(folder / "data"),
        "TENURE_POLICIES": str(_shipped_policies(folder)),
        "TENURE_LISTEN": "127.0.0.1:0",
        "TENURE_TICK_SECONDS": "1",
        "TENURE_LEASE_SECONDS": "60",
        "TENURE_COVERAGE_HOURS": "0",
        "TENURE_LOG_FORMAT": "json",
    }
    with (folder / "service.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "up", "--sandbox"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            api, sandbox, key = _told(process, log)
            headers = {"Authorization": f"Bearer {key}"}
            with (
                httpx2.Client(base_url=api, headers=headers, timeout=60, trust_env=False) as client,
                httpx2.Client(base_url=sandbox, timeout=60, trust_env=False) as provider,
            ):
                yield Running(api=client, sandbox=provider, folder=folder)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _told(process: subprocess.Popen[str], log: IO[str]) -> tuple[str, str, str]:
    """Read from the service's own lines where it listens, and its first admin key."""
    assert process.stdout is not None  # noqa: S101 - opened as a pipe above
    api = sandbox = key = ""
    for line in process.stdout:
        words = line.split()
        if line.startswith("Sandbox provider"):
            sandbox = next(word for word in words if word.startswith("http")).rstrip(",").removesuffix("/v1")
        elif line.startswith("First admin key"):
            key = words[-1]
        elif line.startswith("Tenure listens on"):
            api = words[-1]
            break
    if not (api and sandbox and key):
        log.seek(0)
        raise Ended(f"The service did not start:\n{log.read()[-2000:]}")
    return api, sandbox, key


def _shipped_policies(folder: Path) -> Path:
    """Copy the policies that ship with Tenure: from the wheel, or from the checkout."""
    package = Path(__file__).parent.parent
    inside_wheel = package / "_policies"
    shipped = inside_wheel if inside_wheel.is_dir() else package.parent / "policies"
    return Path(shutil.copytree(shipped, folder / "policies"))


def _print_story(lines: list[tuple[Scene, Counter[str]]], result: Mapping[str, Any]) -> None:
    """Print the table that a newcomer reads."""
    width = max(len(scene.title) for scene, _ in lines)
    typer.echo(f"{'what was registered'.ljust(width)}  {'n':>4}  {'what came of it'.ljust(23)}  why")
    for scene, came in lines:
        told = ", ".join(f"{word} {count}" if len(came) > 1 else word for word, count in sorted(came.items()))
        typer.echo(
            printable(f"{scene.title.ljust(width)}  {came.total():>4}  {told.ljust(23)}  {scene.meaning}")
        )
    audit = result["audit"]
    verified = "verified offline" if audit["verified"] else "NOT VERIFIED"
    typer.echo("")
    typer.echo(f"held threads deleted: {result['held_deleted']}")
    typer.echo(f"left at the provider: {result['provider_remaining']}")
    typer.echo(f"audit log: {audit['size']} entries, root {audit['root'][:16]}…, {verified}")
    typer.echo(f"export: {result['export']}")
    typer.echo(f"took {result['seconds']} s")
