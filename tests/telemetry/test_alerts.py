"""Alert rules and the dashboard ask for metrics that exist, and every alert has a page of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from ruamel.yaml import YAML

from tests.world.databases import sqlite_template
from tests.world.world import World, make_world
from worker.flows.compare import Log
from worker.flows.measure import measure
from worker.flows.seal import seal
from worker.model.thread import Kind
from worker.telemetry.meters import collected, meters

__all__ = ["sqlite_template"]

_WORDS = re.compile(r"\b(tenure_[a-z_]+)\b")


@pytest.fixture(scope="module")
def root() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture
def world(sqlite_template: Path, tmp_path: Path) -> Iterator[World]:
    with make_world(f"sqlite:///{sqlite_template}", tmp_path / "policies") as made:
        yield made


@pytest.fixture(scope="module")
def rules(root: Path) -> list[dict[str, Any]]:
    loaded = YAML(typ="safe", pure=True).load(root / "deploy" / "prometheus" / "rules.yaml")
    return [rule for group in loaded["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def dashboard(root: Path) -> list[str]:
    loaded = json.loads((root / "deploy" / "grafana" / "tenure.json").read_text())
    return [target["expr"] for panel in loaded["panels"] for target in panel["targets"]]


def test_every_expression_is_promql(rules: list[dict[str, Any]], dashboard: list[str]) -> None:
    for expression in [*dashboard, *(rule["expr"] for rule in rules)]:
        promql_parser.parse(expression)


def test_every_alert_says_who_is_called_and_has_a_page(rules: list[dict[str, Any]], root: Path) -> None:
    text = (root / "docs" / "operations.md").read_text()
    headings = {line.removeprefix("### ").strip() for line in text.splitlines() if line.startswith("### ")}
    alerts = [rule for rule in rules if "alert" in rule]
    names = [rule["alert"] for rule in alerts]
    assert len(set(names)) == len(names)
    for rule in alerts:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["alert"] in headings
    assert {one for one in headings if one.startswith("Tenure")} == {rule["alert"] for rule in alerts}


def test_every_metric_that_is_asked_for_is_told(
    world: World, rules: list[dict[str, Any]], dashboard: list[str]
) -> None:
    world.register(kind=Kind.FILE)
    world.sweep()
    world.tick()
    seal(world.database, world.sealer, clock=world.clock)
    told = set(_told(world))
    asked = {word for one in [*dashboard, *(rule["expr"] for rule in rules)] for word in _WORDS.findall(one)}
    # An anchor is told of only where there is one.
    assert asked - told == {"tenure_anchor_lag_seconds"}
    # And nothing is told that nobody looks at.
    assert {_base(name) for name in told} - {_base(name) for name in asked} == set()


def _base(name: str) -> str:
    return re.sub(r"_(total|bucket|count|sum)$", "", name)


def _told(world: World) -> Iterator[str]:
    meters()
    for family in collected().collect():
        if family.name.startswith("tenure_"):
            # A meter with labels shows no sample before its first count.
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}[family.type]
            yield from (family.name + suffix for suffix in suffixes)
    with world.database.read() as db:
        for one in measure(db, Log(origin="test", anchors=()), now=world.clock.now()):
            yield one.name
