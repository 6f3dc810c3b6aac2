"""A bare FastAPI route with one INSERT, on the server and engine that `tenure api` has.

`python -m tests.bench.bare_route URL` prints where it listens. It checks the body's types, inserts the row
of the thread into Tenure's own table and commits: no key, no limit, no policy, no decision, no entry, no log.
"""

from __future__ import annotations

import socket
import sys
from datetime import datetime

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import insert

from worker.http.server import server_of
from worker.model.clock import SystemClock
from worker.model.ids import new_id
from worker.store.engine import Database, open_database
from worker.store.tables import thread


class Body(BaseModel):
    """The fields that the benchmark's producers send."""

    external_id: str
    project: str
    owner: str
    ttl: str
    tags: dict[str, str]
    created_at: datetime


def create(database: Database) -> FastAPI:
    """Make the application."""
    app, clock = FastAPI(), SystemClock()

    @app.post("/v1/threads", status_code=201)
    def register(body: Body) -> dict[str, str]:
        now = clock.now()
        thread_id = new_id("thr", now)
        row = {
            "id": thread_id,
            "kind": "conversation",
            "external_id": body.external_id,
            "project": body.project,
            "owner": body.owner,
            "tags": body.tags,
            "ttl": body.ttl,
            "created_at": body.created_at,
            "registered_at": now,
            "state": "live",
            "provider": "openai",
            "base_url": "https://api.openai.com/v1",
            "organization": "",
            "provider_project": "",
            "children": [],
        }
        with database.write() as db:
            db.execute(insert(thread).values(row))
        return {"id": thread_id, "external_id": body.external_id}

    return app


def main(url: str) -> None:
    """Serve until SIGTERM."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(512)
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        server_of(create(open_database(url))).run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1])
