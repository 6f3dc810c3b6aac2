"""The peer with one Celery task for each thread, on a real broker: `python -m tests.bench.per_thread ORDER`.

Each task deletes with the SDK's defaults, takes a 404 for done, and tries again later with a growing pause.
The environment names broker, key prefix and provider, since the worker is a process of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from dataclasses import asdict
from functools import cache
from typing import Any

import openai
from celery import Celery
from celery.signals import worker_ready
from openai import OpenAI
from redis import Redis

from tests.bench.contenders import Order
from tests.bench.measure import Meter, started

REDIS, PREFIX, URL = "BENCH_REDIS_URL", "BENCH_REDIS_PREFIX", "BENCH_BASE_URL"
THREADS = 16
_TRIES = 5
_LONGEST_PAUSE = 30
_READY_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_WORKER = ["worker", "--pool", "threads", "--concurrency", str(THREADS), "--loglevel", "ERROR"]

app = Celery("peer", broker=os.environ.get(REDIS, "memory://"))
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_transport_options={"global_keyprefix": os.environ.get(PREFIX, "")},
    worker_enable_remote_control=False,
)


@cache
def _redis() -> Redis:
    return Redis.from_url(os.environ[REDIS])


@cache
def _client() -> OpenAI:
    warnings.simplefilter("ignore", DeprecationWarning)
    return OpenAI(base_url=os.environ[URL], api_key="key-of-the-bench")


def _key(name: str) -> str:
    return f"{os.environ[PREFIX]}peer:{name}"


@app.task(bind=True, max_retries=_TRIES, name="peer.delete")  # type: ignore[untyped-decorator]  # celery is untyped
def delete(self: Any, thread_id: str) -> None:
    """Delete one thread; after five more tries it is dropped, as such tasks are."""
    try:
        done = _client().beta.threads.delete(thread_id).deleted
    except openai.NotFoundError:
        done = True
    except openai.OpenAIError as e:
        if self.request.retries < _TRIES:
            raise self.retry(exc=e, countdown=min(_LONGEST_PAUSE, 2**self.request.retries)) from e
        done = False
    _redis().sadd(_key("claimed" if done else "dropped"), thread_id)


@worker_ready.connect  # type: ignore[untyped-decorator]  # celery is untyped
def _ready(**_: object) -> None:
    _redis().set(_key("ready"), 1)


def _wait(ready: str, wanted: int, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up and _seen(ready) < wanted:
        time.sleep(_LOOK_SECONDS)


def _seen(what: str) -> int:
    if what == "ready":
        return int(bool(_redis().exists(_key("ready"))))
    return int(_redis().scard(_key("claimed"))) + int(_redis().scard(_key("dropped")))


def main(order: Order) -> dict[str, Any]:
    """Start the worker, send one message for each thread, and wait for all of them."""
    command = [sys.executable, "-m", "celery", "-A", "tests.bench.per_thread", *_WORKER]
    names = (REDIS, PREFIX, URL)
    with started(command, {name: os.environ[name] for name in names}) as worker:
        _wait("ready", 1, _READY_SECONDS)
        meter = Meter(os.getpid(), worker.pid)
        meter.start()
        ids = order.threads
        for one in ids:
            delete.delay(one)
        _wait("done", len(ids), order.longest)
        cost = meter.stop()
    claimed = {one.decode() for one in _redis().smembers(_key("claimed"))}  # type: ignore[union-attr]  # synchronous
    return {**asdict(cost), "claimed": sorted(claimed)}


if __name__ == "__main__":
    print(json.dumps(main(Order(**json.loads(sys.argv[1])))))
