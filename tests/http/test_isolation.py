"""Random bound keys ask every route of the description for what is another project's.

The routes come from the application's own description, so a new one is asked too; a parameter or body that
this test does not know fails it. Of what a bound key gets two things must hold: it names nothing of the other
project, and naming something that exists there is answered exactly like naming something that does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from starlette.testclient import TestClient

from worker.flows.key import ALL_SCOPES
from worker.store.tables import thread

Register = Callable[..., dict[str, Any]]

THEIRS = "support-eu"
OURS = ("sales-us", "support-twin")
# In every text of theirs, so that one search finds any of them in an answer.
MARK = "secreteu"
_DUTIES = frozenset({"sweeps:run", "plans:approve"})
_CHANGES = re.compile(r"(_at|at|id|^key|^last_id|^first_id|^covers_until|^decision|^bundle)$")
_TIMES = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z")
_DIGEST = "sha256:" + "0" * 64
EXAMPLES = 12


@dataclass(frozen=True)
class Pair:
    """Something of theirs, and a likeness that exists nowhere."""

    theirs: str
    ghost: str


@dataclass(frozen=True)
class World:
    """What stands in the other project, by the name under which a request may give it."""

    names: Mapping[str, Pair]
    marks: frozenset[str]


def _likeness(real: str) -> Pair:
    turned = real[:-1] + ("0" if real[-1] != "0" else "1")
    return Pair(real, turned.replace(MARK, "nobodyeu"))


@pytest.fixture
def world(house: Any, admin: TestClient, client: Any, registered: Register) -> World:
    first = registered(f"conv_{MARK}1", owner=f"owner-{MARK}", tags={MARK: MARK})
    second = registered(f"conv_{MARK}2", owner=f"owner-{MARK}", tags={MARK: MARK})
    for project in OURS:
        registered(f"conv_ours-{project}", project=project, owner="owner-ours")
    with house.database.write() as db:
        parked = update(thread).where(thread.c.id == second["id"])
        db.execute(parked.values(state="parked", reason="partial"))
    (failure,) = admin.get("/v1/failures").json()["data"]
    scope = {"projects": [THEIRS], "owners": [f"owner-{MARK}"]}
    hold = admin.post("/v1/holds", json={"matter": f"m-{MARK}", "reason": MARK, "scope": scope}).json()
    order = admin.post("/v1/erasures", json={"ids": [first["id"]], "reason": MARK}).json()
    period = {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"}
    export = admin.post("/v1/audit/exports", json={"project": THEIRS, **period}).json()
    key = house.key("threads:read", projects=[THEIRS]).split("_")[1]
    admin.post("/v1/sweeps", json={"dry_run": True}).raise_for_status()
    sweep = admin.get("/v1/sweeps").json()["data"][0]["id"]
    switch = {"enabled": False, "reason": MARK, "project": THEIRS}
    admin.put("/v1/switches/deletes", json=switch).raise_for_status()
    names = {
        "thread_id": _likeness(first["id"]),
        "external_id": _likeness(f"conv_{MARK}1"),
        "subject": _likeness(second["id"]),
        "owner": _likeness(f"owner-{MARK}"),
        "tag": _likeness(f"{MARK}:{MARK}"),
        "matter": _likeness(f"m-{MARK}"),
        "project": Pair(THEIRS, "nobody-eu"),
        "fingerprint": _likeness(failure["fingerprint"]),
        "hold_id": _likeness(hold["id"]),
        "erasure_id": _likeness(order["id"]),
        "export_id": _likeness(export["id"]),
        "key_id": _likeness(key),
        "sweep_id": _likeness(sweep),
        "preview_id": _likeness("prv_" + "a" * 32),
        "thread_cursor": _likeness(first["id"]),
        "hold_cursor": _likeness(hold["id"]),
        "erasure_cursor": _likeness(order["id"]),
        "key_cursor": _likeness(key),
        "failure_cursor": _likeness(failure["fingerprint"]),
        "sweep_cursor": _likeness(sweep),
        "failed_cursor": _likeness(second["id"]),
    }
    ids = (first["id"], second["id"], hold["id"], order["id"], export["id"], key, failure["fingerprint"])
    return World(names=names, marks=frozenset({MARK, *ids}))


# Which of the names above a cursor of a route is, and what other parameters may be.
_CURSORS = {
    "/v1/threads": "thread_cursor",
    "/v1/holds": "hold_cursor",
    "/v1/erasures": "erasure_cursor",
    "/v1/keys": "key_cursor",
    "/v1/failures": "failure_cursor",
    "/v1/failures/{fingerprint}": "failed_cursor",
    "/v1/sweeps": "sweep_cursor",
}
_PLAIN = {
    "limit": ["1", "100"],
    "order": ["asc", "desc"],
    "include": ["total"],
    "status": ["open", "empty", "held"],
    "overdue": ["true"],
    "accepted": ["true"],
    "dry_run": ["true", "false"],
    "kind": ["conversation"],
    "state": None,
    "outcome": ["HELD", "PENDING"],
    "due_before": ["2030-01-01T00:00:00Z"],
    "policy": ["support-30d"],
    "type": ["thread.registered", "hold.placed", "key.created", "access.read"],
    "If-Match": ["*"],
}
_STATES = {"/v1/holds": ["active"], "/v1/threads": ["live", "parked"]}
# A body of each route, with `<name>` where something of theirs may stand.
_BODIES: Mapping[str, list[Any]] = {
    "POST /v1/threads": [
        {"external_id": "conv_new", "project": "<project>", "owner": "o"},
        {
            "external_id": "vs_new",
            "project": "<ours>",
            "owner": "o",
            "children": [{"kind": "file", "external_id": "file-x"}],
        },
    ],
    "POST /v1/threads/bulk": [{"external_id": "conv_new", "project": "<project>", "owner": "o"}],
    "POST /v1/threads/touch": [{"ids": ["<thread_id>", "<external_id>"]}],
    "PATCH /v1/threads/{thread_id}": [{"owner": "taken"}, {"ttl": "1d"}],
    "POST /v1/threads/{thread_id}/touch": [None, {}],
    "POST /v1/threads/{thread_id}/withdraw": [{"reason": "r"}],
    "POST /v1/holds": [
        {"matter": "m", "reason": "r", "scope": {"ids": ["<thread_id>", "<external_id>"]}},
        {"matter": "m", "reason": "r", "scope": {"owners": ["<owner>"]}},
        {"matter": "m", "reason": "r", "scope": {"projects": ["<project>"]}},
    ],
    "POST /v1/holds/{hold_id}/release": [{"reason": "r"}],
    "POST /v1/erasures": [
        {"ids": ["<thread_id>", "<external_id>"], "reason": "r"},
        {"owner": "<owner>", "reason": "r"},
    ],
    "POST /v1/previews": [{"files": {"a.yaml": "x"}}],
    "POST /v1/previews/{preview_id}/approvals": [{"digest": _DIGEST, "reason": "r"}],
    "POST /v1/sweeps": [{}, {"policy": "support-30d", "dry_run": True}],
    "POST /v1/sweeps/{sweep_id}/approvals": [{"digest": _DIGEST, "reason": "r"}],
    "PUT /v1/switches/deletes": [
        {"enabled": True, "reason": "r", "project": "<project>"},
        {"enabled": True, "reason": "r"},
    ],
    "POST /v1/failures/{fingerprint}/retry": [{"reason": "r"}],
    "POST /v1/failures/{fingerprint}/accept": [{"reason": "r"}],
    "POST /v1/keys": [
        {"label": "x", "scopes": ["keys:admin"], "projects": ["<project>"]},
        {"label": "x", "scopes": ["keys:admin"], "projects": ["<ours>"]},
    ],
    "POST /v1/keys/{key_id}/revoke": [None],
    "POST /v1/keys/{key_id}/rotate": [{}],
    "POST /v1/audit/exports": [
        {"project": "<project>", "from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"},
        {"project": "<ours>", "owner": "<owner>"},
        {"project": "<ours>", "erasure": "<erasure_id>"},
    ],
}


@dataclass(frozen=True)
class Ask:
    """One request, with `<name>` where something of theirs, or a likeness, is put."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any

    def send(self, client: TestClient, fill: Callable[[str], str]) -> Any:
        named: dict[str, Any] = {"params": {name: fill(value) for name, value in self.query.items()}}
        headers = dict(self.headers)
        if self.body is not None:
            named["content"] = fill(json.dumps(self.body))
            bulk = self.path.endswith("/bulk")
            headers["Content-Type"] = "application/x-ndjson" if bulk else "application/json"
        path = re.sub(r"\{(\w+)\}", r"<\1>", self.path)
        return client.request(self.method, fill(path), headers=headers, **named)


def _operations(app: FastAPI) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _values(path: str, name: str) -> list[str]:
    if name in {"after", "before"}:
        # The log's own cursor is a number, which says nothing of a project.
        return [f"<{_CURSORS[path]}>"] if path in _CURSORS else ["1"]
    if name == "state":
        return _STATES[path]
    return _PLAIN[name] or [] if name in _PLAIN else [f"<{name}>"]


def _asks(app: FastAPI, draw: Any) -> Iterator[Ask]:
    for method, path, operation in _operations(app):
        query: dict[str, str] = {}
        headers: dict[str, str] = {}
        for one in operation.get("parameters", []):
            if one["in"] == "path" or (one["in"] == "query" and not draw(st.booleans())):
                continue
            into = headers if one["in"] == "header" else query
            into[one["name"]] = draw(st.sampled_from(_values(path, one["name"])))
        # A list cannot begin after and end before; the other half would be refused.
        if "after" in query:
            query.pop("before", None)
        bodies = _BODIES[f"{method} {path}"] if "requestBody" in operation else [None]
        yield Ask(method, path, query, headers, draw(st.sampled_from(bodies)))


@st.composite
def _scopes(draw: Any) -> list[str]:
    chosen = set(draw(st.lists(st.sampled_from(ALL_SCOPES), min_size=6, unique=True)))
    return sorted(chosen - _DUTIES if "holds:release" in chosen else chosen)


def _filled(names: Mapping[str, str]) -> Callable[[str], str]:
    def fill(text: str) -> str:
        return re.sub(r"<(\w+)>", lambda found: names[found[1]], text)

    return fill


def _told(answer: Any, world: World) -> Any:
    """What an answer tells, without what differs anyway: new ids, times, and the names that were given."""
    text = _TIMES.sub("<at>", answer.text)
    for name, pair in world.names.items():
        for given_name in (pair.theirs, pair.ghost):
            text = text.replace(given_name, f"<{name}>")
    try:
        return answer.status_code, _steady([json.loads(line) for line in text.splitlines() if line])
    except ValueError:
        return answer.status_code, text


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: "…" if _CHANGES.search(name) and one is not None else _steady(one)
            for name, one in value.items()
        }
    return [_steady(one) for one in value] if isinstance(value, list) else value


def _snapshot(admin: TestClient, world: World) -> list[Any]:
    names = {name: pair.theirs for name, pair in world.names.items()}
    paths = (
        "/v1/threads/<thread_id>",
        "/v1/threads/<subject>",
        "/v1/holds/<hold_id>",
        "/v1/erasures/<erasure_id>",
        "/v1/audit/exports/<export_id>",
        "/v1/failures?project=<project>",
    )
    kept = [admin.get(_filled(names)(path)).json() for path in paths]
    keys = admin.get("/v1/keys?limit=100").json()["data"]
    return [*kept, [one for one in keys if one["id"] == names["key_id"]]]


def _names(world: World, *, of: Literal["theirs", "ghost"], ours: str) -> Callable[[str], str]:
    return _filled({name: getattr(pair, of) for name, pair in world.names.items()} | {"ours": ours})


Found = list[tuple[Ask, str, str]]


def _run(
    app: FastAPI, house: Any, ask_one: Callable[[TestClient, Ask, str, Found], int], asked: set[str]
) -> Found:
    """Ask every route with random keys; what is wrong is told at the end.

    What was asked before may change an answer, so nothing here can be shrunk.
    """
    wrong: Found = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data(), _scopes(), st.sampled_from([OURS[:1], OURS[1:], OURS]))
    def ask_all(data: Any, scopes: list[str], projects: tuple[str, ...]) -> None:
        asks = list(_asks(app, data.draw))
        text = house.key(*scopes, projects=list(projects))
        bound = TestClient(app, headers={"Authorization": f"Bearer {text}"})
        for ask in asks:
            if ask_one(bound, ask, projects[0], wrong) not in {401, 403}:
                asked.add(f"{ask.method} {ask.path}")

    ask_all()
    return wrong


def _never_open(app: FastAPI, asked: set[str]) -> set[str]:
    """Return what no key could ask, beside what reaches every project and is never open to a bound one."""
    every = {f"{method} {path}" for method, path, _ in _operations(app)}
    return {one for one in every - asked if "/v1/sweeps" not in one and "/v1/previews" not in one}


def test_no_answer_to_a_bound_key_names_anything_of_another_project(
    app: FastAPI, house: Any, world: World
) -> None:
    asked: set[str] = set()

    def ask_one(bound: TestClient, ask: Ask, ours: str, wrong: Found) -> int:
        answer = ask.send(bound, _names(world, of="ghost", ours=ours))
        wrong += [(ask, mark, answer.text) for mark in world.marks if mark in answer.text]
        return int(answer.status_code)

    found = _run(app, house, ask_one, asked)
    assert found == []
    assert _never_open(app, asked) == set()


def test_what_another_project_has_is_answered_like_what_nobody_has_and_stays_as_it_is(
    app: FastAPI, house: Any, admin: TestClient, world: World
) -> None:
    asked: set[str] = set()
    before = _snapshot(admin, world)

    def ask_one(bound: TestClient, ask: Ask, ours: str, wrong: Found) -> int:
        nothing = ask.send(bound, _names(world, of="ghost", ours=ours))
        something = ask.send(bound, _names(world, of="theirs", ours=ours))
        told = _told(something, world), _told(nothing, world)
        if ask.path == "/v1/audit/entries" and nothing.status_code == something.status_code == 200:
            # Looking is itself an entry, so two looks at the log in a row never see the same.
            named = {"project", "subject"} & set(ask.query)
            told = (bool(named and something.json()["data"]), False)
        if ask.path.startswith("/v1/") and told[0] != told[1]:
            wrong.append((ask, something.text, nothing.text))
        return int(something.status_code)

    found = _run(app, house, ask_one, asked)
    assert found == []
    assert _snapshot(admin, world) == before
    assert _never_open(app, asked) == set()


def test_a_total_counts_what_the_key_sees(client: Any, world: World) -> None:
    assert world.marks
    for projects, total in ((OURS, 2), (OURS[:1], 1), ((THEIRS,), 2), (("*",), 4)):
        page = client("threads:read", projects=projects).get("/v1/threads?include=total").json()
        assert page["total"] == {"count": total, "how": "exact"}
