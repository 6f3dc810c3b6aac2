"""The server under the API: uvicorn, with settings that every process of it shares."""

from __future__ import annotations

import gc

import uvicorn
from starlette.types import ASGIApp

from worker.http.protocol import Protocol

# A request that was heard is answered within this time, or cut off when the process ends.
_ANSWER_SECONDS = 20


def server_of(app: ASGIApp) -> uvicorn.Server:
    """Return a server for this application; whoever runs it gives it the socket."""
    # What is loaded by now stays: looking through all of it for garbage takes a fifth of an import's time.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        app,
        http=Protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        # Without it, whoever sends half a request and no more would keep the process for ever.
        timeout_graceful_shutdown=_ANSWER_SECONDS,
    )
    return uvicorn.Server(config)
