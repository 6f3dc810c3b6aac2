"""Where each command works, and a story that runs every remote one, with what its output has to look like."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer.main

from tests.cli.ran import Ran, Run
from worker.cli.main import app
from worker.sandbox.control import make_sample
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import parse_faults
from worker.sandbox.server import SandboxServer

Path_ = tuple[str, ...]

# These speak to the API, and so work over the network as they do on the data folder.
OVER_HTTP: frozenset[Path_] = frozenset(
    {
        *[("register",), ("import",), ("threads", "list"), ("threads", "show"), ("threads", "withdraw")],
        *[("explain",), ("hold", "place"), ("hold", "list"), ("hold", "release"), ("erase",)],
        *[("erasures", "list"), ("erasures", "show"), ("pause",), ("resume",), ("doctor",), ("sweep",)],
        *[("failures", "list"), ("failures", "retry"), ("failures", "accept")],
        *[("sweeps", "list"), ("sweeps", "show"), ("sweeps", "approve")],
        *[("policy", "preview"), ("policy", "approve"), ("audit", "list"), ("audit", "export")],
        *[("keys", "create"), ("keys", "list"), ("keys", "rotate"), ("keys", "revoke")],
    }
)
# These need the database, the signing key or a provider's key, and say so; here with what they need besides.
ONLY_HERE: Mapping[Path_, tuple[str, ...]] = {
    ("up",): (),
    ("api",): (),
    ("worker",): (),
    ("beat",): (),
    ("db", "upgrade"): (),
    ("db", "current"): (),
    ("db", "check"): (),
    ("discover",): ("--project", "demo-support"),
    ("audit", "seal"): (),
    ("audit", "epoch"): ("--reason", "r"),
    ("audit", "prove"): ("0",),
    ("audit", "prune"): (),
    ("audit", "rotate-key"): ("--reason", "r"),
    ("audit", "shred"): ("--owner", "o", "--reason", "r"),
}
# These ask neither the API nor the database, so TENURE_URL means nothing to them.
OFFLINE: Mapping[Path_, tuple[str, ...]] = {
    ("policy", "validate"): ("policies",),
    ("policy", "test"): ("policies",),
    ("policy", "schema"): (),
    ("audit", "verify"): ("e.zip",),
    ("sandbox",): ("--fault", "list"),
    ("version",): (),
}
# Starts a service of its own in a temporary folder; test_embedded.py runs it with the variable set.
OF_ITS_OWN: frozenset[Path_] = frozenset({("demo",)})


def command_tree() -> set[Path_]:
    """Return the path of every command."""
    return set(_commands(typer.main.get_command(app), ()))


def _commands(command: Any, path: Path_) -> Iterator[Path_]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path
        return
    for name, child in children.items():
        yield from _commands(child, (*path, name))


_GUARDS = "guards: {max_deletes: 100, max_percent: 100, min_population: 1000, window: 24h"
POLICIES = f"""apiVersion: retention/v1
kind: RetentionPolicy
metadata: {{name: old-30d, owner: tests}}
spec:
  mode: enforce
  match: {{owners: [ann, lost, accepted]}}
  delete: {{after: 30d}}
  {_GUARDS}}}
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {{name: asked-30d, owner: tests}}
spec:
  mode: enforce
  match: {{owners: [bulk]}}
  delete: {{after: 30d}}
  {_GUARDS}, require_approval_over: 1}}
---
apiVersion: retention/v1
kind: Project
metadata: {{name: demo-support, owner: tests}}
spec:
  provider: openai
  base_url: URL
  provider_project: proj_demo
  api_key: {{env: TENURE_KEY_SANDBOX}}
  rate: {{limit: 100/s, burst: 10, share: 1.0}}
"""
OLD, YOUNG = "2026-01-05T08:00:00Z", "2026-11-20T08:00:00Z"


@dataclass(kw_only=True)
class Story:
    """Runs commands one after the other, and keeps of each how it ended and what its output looks like."""

    run: Run
    sandbox: SandboxServer
    folder: Path
    as_releaser: Callable[[], Any]
    as_other: Callable[[], Any] | None
    told: list[tuple[tuple[str, ...], int, Any]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def tell(self) -> None:
        """Run all of it."""
        self._registry()
        self("doctor")
        self._protection()
        self._sweeps()
        self._failures()
        self._policies()
        self._log()
        self._keys()

    def __call__(self, *args: str, code: int = 0, form: str = "json") -> Any:
        """Run one command; returns its data."""
        given = tuple(re.sub(r"<(\w+)>", lambda found: self.names[found[1]], one) for one in args)
        ran = self.run(*given, "-o", form, code=code)
        data = _read(ran, form)
        self.told.append((args, ran.code, shape(data)))
        return data

    def by_another(self, *args: str) -> None:
        """Run a command that whoever ordered something cannot run: here that is one and the same person."""
        if self.as_other is not None:
            with self.as_other():
                self(*args)
            self.told.pop()

    def make(self, name: str, kind: ObjectKind = ObjectKind.CONVERSATION, at: str = OLD) -> None:
        """Make an object at the provider, under this name."""
        created = int(datetime.fromisoformat(at).astimezone(UTC).timestamp())
        self.names[name] = make_sample(self.sandbox.store, kind, created_at=created, project="proj_demo")

    def registered(
        self, name: str, owner: str, *, at: str = OLD, kind: ObjectKind = ObjectKind.CONVERSATION
    ) -> None:
        """Make an object and register it."""
        self.make(name, kind, at)
        own = ("--project", "demo-support", "--owner", owner, "--created-at", at)
        self("register", f"<{name}>", *own)

    def _registry(self) -> None:
        self.registered("first", "ann")
        self.registered("sibling", "nobody", at=YOUNG)
        self("register", "<first>", "--project", "demo-support", "--owner", "somebody-else", code=1)
        self("register", "run_1", "--project", "demo-support", "--owner", "ann", code=1)
        self.make("listed")
        (self.folder / "ids.txt").write_text(f"{self.names['listed']}\nrun_3\n")
        self("import", "ids.txt", "--project", "demo-support", "--owner", "import", "--dry-run", code=1)
        self("import", "ids.txt", "--project", "demo-support", "--owner", "import", code=1)
        self("threads", "list")
        self("threads", "list", "--owner", "ann", "--limit", "1", form="jsonl")
        self("threads", "list", "--tag", "a=b", form="csv")
        self("threads", "show", "<first>")
        self("threads", "show", "conv_none", code=1)
        self("explain", "<first>")
        self("threads", "withdraw", "<listed>", "--reason", "a mistake")
        self("threads", "withdraw", "<listed>", "--reason", "again", code=1)

    def _protection(self) -> None:
        held = self("hold", "place", "--matter", "m", "--reason", "r", "--id", "<first>", "--id", "conv_9")
        self.names["hold"] = held["id"]
        self("hold", "place", "--matter", "m", "--reason", "r", code=2)
        self("hold", "list", "--state", "active")
        self("sweep", "--policy", "old-30d", "--dry-run")
        with self.as_releaser():
            self("hold", "release", "<hold>", "--reason", "over")
            self("hold", "release", "<hold>", "--reason", "again", code=1)
        self("pause", "--reason", "an incident")
        self("sweep", "--policy", "old-30d", "--yes", code=4)
        self("resume")

    def _sweeps(self) -> None:
        done = self("sweep", "--policy", "old-30d", "--yes", "--wait")
        # The item of the sweep that the pause kept: whichever sweep planned it, it is worked off.
        assert done["sweeps"][0]["busy"] == 0
        assert self("threads", "show", "<first>")["state"] == "deleted"
        self("sweep", "--policy", "none", "--yes", code=1)
        self("sweep", "--policy", "old-30d")
        for number in range(2):
            self.registered(f"bulk{number}", "bulk")
        asked = self("sweep", "--policy", "asked-30d", "--yes", code=3)["sweeps"][0]
        self.names |= {"sweep": asked["id"], "digest": asked["plan"]["digest"]}
        self("sweeps", "list", "--policy", "asked-30d")
        self("sweeps", "show", "<sweep>")
        wrong = f"sha256:{0:064x}"
        self("sweeps", "approve", "<sweep>", "--digest", wrong, "--reason", "r", code=1)
        approving = ("sweeps", "approve", "<sweep>", "--digest", "<digest>", "--reason", "looked at")
        self(*approving, code=1)
        self.by_another(*approving)
        self.registered("wanted", "user-1", at=YOUNG)
        order = self("erase", "--owner", "user-1", "--reason", "asked")
        self.names["order"] = order["id"]
        self("erase", code=2)
        self("erasures", "list")
        self("erasures", "show", "<order>")
        self("erasures", "show", "<order>", form="csv")
        self("erasures", "show", "era_none", code=1)
        self("sweep", "--policy", "erasure", "--yes", "--wait")
        assert self("erasures", "show", "<order>")["status"] == "done"

    def _failures(self) -> None:
        groups = {"lost": ObjectKind.FILE, "accepted": ObjectKind.VECTOR_STORE}
        for name, kind in groups.items():
            self.registered(name, name, kind=kind)
        self.sandbox.set_faults(parse_faults([f"endpoint-retired:{one.value}" for one in groups.values()]))
        self("sweep", "--policy", "old-30d", "--yes", "--wait", code=1)
        found = {one["kind"]: one["fingerprint"] for one in self("failures", "list")}
        self("failures", "list", "--each")
        self.names |= {"retry": found["file"], "accept": found["vector_store"]}
        self("failures", "retry", "<retry>", "--reason", "mended")
        self("failures", "accept", "<accept>", "--reason", "noted")
        self("failures", "retry", "fp_0000000000000000", "--reason", "mended", code=1)
        self.sandbox.set_faults(())

    def _policies(self) -> None:
        self("policy", "preview", "policies")
        changed = self.folder / "next"
        changed.mkdir()
        text = (self.folder / "policies" / "policies.yaml").read_text()
        (changed / "policies.yaml").write_text(text.replace("after: 30d", "after: 20d"))
        made = self("policy", "preview", "next", code=3)
        self.names |= {"preview": made["id"], "head": made["head"]["digest"]}
        approving = ("policy", "approve", "<preview>", "--digest", "<head>", "--reason", "r")
        # Whoever proposed it cannot approve it, here or elsewhere.
        self(*approving, code=1)
        self.by_another(*approving)

    def _log(self) -> None:
        self("audit", "list", "--type", "hold.placed")
        self("audit", "list", form="jsonl")
        window = ("--project", "demo-support", "--from", "2026-01-01", "--to", "2030-01-01")
        self("audit", "export", *window, "--out", "e.zip")
        self(
            "audit", "export", "--project", "demo-support", "--owner", "nobody-here", "--out", "n.zip", code=1
        )

    def _keys(self) -> None:
        made = self("keys", "create", "--label", "app", "--scope", "threads:read")
        self.names["key"] = made["id"]
        self("keys", "create", "--label", "x", "--scope", "no:scope", code=1)
        self("keys", "list")
        self("keys", "rotate", "<key>")
        self("keys", "revoke", "<key>")
        self("keys", "revoke", "<key>", code=1)


def commands_of(told: list[tuple[tuple[str, ...], int, Any]]) -> set[Path_]:
    """Return which commands were run."""
    known = command_tree()
    return {args[:length] for args, _, _ in told for length in (1, 2) if args[:length] in known}


def _read(ran: Ran, form: str) -> Any:
    match form:
        case "csv":
            return ran.out.splitlines()[:1]
        case "jsonl":
            return ran.lines
        case _:
            return json.loads(ran.out) if ran.out.strip() else None


# Objects whose names are data: how many of what, or what a person named.
_NAMED = frozenset({"grades", "counts", "tags", "kept", "reconciliation", "body", "effects", "projects"})


def shape(value: Any) -> Any:
    """Return a value's form: the names and kinds of what it holds, and neither how much nor what."""
    match value:
        case dict():
            return {
                name: "{}" if name in _NAMED and isinstance(one, dict) else shape(one)
                for name, one in sorted(value.items())
            }
        case list():
            merged: Any = None
            for one in value:
                merged = merge(merged, shape(one))
            return [merged]
        case bool():
            return "flag"
        case int() | float():
            return "number"
        case None:
            return None
        case _:
            return "text"


def merge(first: Any, second: Any) -> Any:
    """Join two forms, of which each may know what the other one left out; raises ValueError if unlike."""
    if first is None or second is None or first == second:
        return second if first is None else first
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return {name: merge(first[name], second[name]) for name in first}
    if isinstance(first, list) and isinstance(second, list):
        return [merge(first[0], second[0])]
    msg = f"{first} is not {second}"
    raise ValueError(msg)
