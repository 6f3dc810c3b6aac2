"""A role without an API answers here: `/healthz` for its health, `/metrics` for its meters, nothing else."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from worker.telemetry.logs import log
from worker.telemetry.meters import collected

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

# Whoever connects and sends nothing is cut off.
_SECONDS = 5


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without asking a name server who this machine is: a slow one would keep the start waiting."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _SECONDS

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Say nothing: a scrape comes every few seconds."""


class Listener:
    """Serves from a thread of its own. ``sick`` says what is wrong with this process, or nothing."""

    def __init__(self, host: str, port: int, sick: Callable[[], str]) -> None:
        self._sick = sick
        server = _ServerV6 if ":" in host else _Server
        self._server = make_server(host, port, self._answer, server_class=server, handler_class=_Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="tenure-metrics", daemon=True)

    @property
    def port(self) -> int:
        """The port in use, where 0 was asked for."""
        return self._server.server_port

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        log().info("metrics.served", **{"server.port": self.port})

    def stop(self) -> None:
        """End, and give the port back."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        match environ.get("PATH_INFO"):
            case "/healthz":
                return self._health(start)
            case "/metrics":
                from prometheus_client import (  # noqa: PLC0415 - see meters
                    CONTENT_TYPE_LATEST,
                    generate_latest,
                )

                start("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
                return [generate_latest(collected())]
            case _:
                start("404 Not Found", [("Content-Type", "text/plain")])
                return [b"Here are /healthz and /metrics.\n"]

    def _health(self, start: StartResponse) -> Iterable[bytes]:
        problem = self._sick()
        start(
            "503 Service Unavailable" if problem else "200 OK",
            [("Content-Type", "application/json"), ("Cache-Control", "no-store")],
        )
        return [json.dumps({"status": "failing" if problem else "ok", "problem": problem or None}).encode()]
