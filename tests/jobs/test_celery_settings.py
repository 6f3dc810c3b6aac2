"""Celery's settings as a whole: each one was measured, and each has its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from worker.celery import CONTROL, DRAIN, make_app, require_tasks
from worker.jobs.stopping import StoppingWorker
from worker.settings import load_settings

WORKER = Path(__file__).resolve().parents[2] / "worker"
LEASE = 300
TICK = 15.0


@pytest.fixture(scope="module")
def app() -> Celery:
    return make_app(load_settings(broker_url="redis://127.0.0.1:1/0", lease_seconds=LEASE, tick_seconds=TICK))


SETTINGS: list[tuple[str, Any, str]] = [
    ("task_ignore_result", True, "the database has the result"),
    ("result_backend", None, "a backend would be a second truth, and Redis would fill up"),
    ("task_serializer", "json", "a message carries names and ids, never code"),
    ("accept_content", ["json"], "a pickled message would run code of whoever reaches Redis"),
    ("task_acks_late", True, "a worker that is killed gives its wake-up back"),
    (
        "task_reject_on_worker_lost",
        False,
        "true requeues for ever what kills its process",
    ),
    ("worker_prefetch_multiplier", 1, "a wake-up kept in reserve is one that nobody else hears"),
    ("worker_max_tasks_per_child", 500, "a leak ends with its child"),
    ("task_soft_time_limit", 240, "a stuck batch is cancelled before its lease is over"),
    ("task_time_limit", 285, "and killed before somebody else claims its items"),
    ("broker_connection_retry_on_startup", True, "Redis may start after the worker"),
    ("broker_connection_max_retries", None, "a worker that gave up would sit there and claim nothing"),
    ("worker_soft_shutdown_timeout", 25, "inside the 30 to 40 s that containers are given"),
    (
        "worker_cancel_long_running_tasks_on_connection_loss",
        False,
        "a batch is bounded: let it end",
    ),
    ("task_default_queue", DRAIN, "what has no route is work, and never stands before a tick"),
    ("worker_hijack_root_logger", False, "logs are structlog's"),
    ("worker_redirect_stdouts", False, "logs are structlog's"),
    ("worker_enable_remote_control", False, "nobody commands a worker over Redis"),
    ("timezone", "UTC", "slots are UTC"),
    ("enable_utc", True, "slots are UTC"),
    ("beat_max_loop_interval", 5.0, "a tick is late by 5 s at most"),
]

TRANSPORT: list[tuple[str, Any, str]] = [
    ("visibility_timeout", 900, "longer than any batch, or Redis hands a running one to a second worker"),
    ("unacked_restore_interval", 10, "a wake-up of a killed worker comes back in seconds"),
    ("unacked_restore_throttle", 1, "it is looked for at each interval, not at every tenth"),
    ("socket_timeout", 30, "half open connections end; longer than the blocking pop"),
    ("socket_connect_timeout", 5, "a Redis that is gone is noticed"),
    ("socket_keepalive", True, "half open connections end"),
    ("health_check_interval", 25, "half open connections end"),
    ("retry_on_timeout", True, "one slow answer is no failure"),
    ("global_keyprefix", "tenure:", "several deployments may share a Redis"),
]


@pytest.mark.parametrize(("name", "value", "reason"), SETTINGS, ids=[name for name, _, _ in SETTINGS])
def test_each_setting_has_its_measured_value(app: Celery, name: str, value: object, reason: str) -> None:
    assert app.conf[name] == value, reason


@pytest.mark.parametrize(("name", "value", "reason"), TRANSPORT, ids=[name for name, _, _ in TRANSPORT])
def test_each_option_of_the_transport_has_its_measured_value(
    app: Celery, name: str, value: object, reason: str
) -> None:
    assert app.conf.broker_transport_options[name] == value, reason


def test_the_table_names_every_option_of_the_transport(app: Celery) -> None:
    assert set(app.conf.broker_transport_options) == {name for name, _, _ in TRANSPORT}


@pytest.mark.parametrize("lease", [20, 300, 3600])
def test_the_limits_of_a_task_follow_from_the_lease(lease: int) -> None:
    conf = make_app(load_settings(broker_url="redis://127.0.0.1:1/0", lease_seconds=lease)).conf
    limits = (lease * 0.4, conf.task_soft_time_limit, conf.task_time_limit, lease)
    assert sorted(limits) == list(limits)
    assert conf.broker_transport_options["visibility_timeout"] > lease


def test_ticks_have_a_queue_of_their_own(app: Celery) -> None:
    assert {queue.name for queue in app.conf.task_queues} == {CONTROL, DRAIN}
    assert app.conf.task_routes["tenure.tick"] == {"queue": CONTROL}
    [tick] = app.conf.beat_schedule.values()
    assert (tick["task"], tick["schedule"].run_every) == ("tenure.tick", timedelta(seconds=TICK))
    assert tick["options"] == {"queue": CONTROL}


def test_every_task_is_routed_and_every_routed_one_registered(app: Celery) -> None:
    require_tasks(app)
    ours = {name for name in app.tasks if name.startswith("tenure.")}
    assert ours == set(app.conf.task_routes)


def test_the_worker_is_the_one_that_tells_its_children_to_stop(app: Celery) -> None:
    assert issubclass(app.Worker, StoppingWorker)


# ETA and countdown ran a task three times, retry() and chords need a backend or an ETA, and Celery's
# rate_limit is one per worker process. A message expires by the clock of another machine than the one that
# dated it: a worker whose clock is ahead would drop every one.
_FORBIDDEN = {
    "eta",
    "countdown",
    "expires",
    "chord",
    "AsyncResult",
    "rate_limit",
    "retry",
    "link",
    "retry_backoff",
}
_SENDING = {"apply_async", "delay", "send_task", "signature", "s", "si"}
_SOURCES = [
    source
    for source in sorted(WORKER.rglob("*.py"))
    if "celery" in source.read_text(encoding="utf-8") or source.parent.name == "jobs"
]


@pytest.mark.parametrize("source", _SOURCES, ids=lambda path: str(path.relative_to(WORKER)))
def test_nothing_that_celery_would_delay_repeat_or_limit_by_itself_is_asked_of_it(source: Path) -> None:
    assert sorted(_asked(ast.parse(source.read_text(encoding="utf-8")))) == []


def _asked(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in _FORBIDDEN:
            yield f"{node.arg}="
        if isinstance(node, ast.Attribute) and node.attr in _FORBIDDEN:
            yield f".{node.attr}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("celery"):
            yield from (alias.name for alias in node.names if alias.name in {*_FORBIDDEN, "chain", "group"})


def test_only_names_travel_in_a_message() -> None:
    calls = [
        (source.name, node.func.attr, len(node.args), {word.arg for word in node.keywords})
        for source in _SOURCES
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SENDING
    ]
    assert sorted(calls) == [
        ("cover.py", "apply_async", 1, {"queue"}),
        ("drain.py", "apply_async", 1, {"queue"}),
    ]
