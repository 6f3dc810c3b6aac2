"""The sandbox on a socket: in a thread for tests and the demo, or blocking for the command line."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any, Self, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from worker.sandbox.acting import DROP_EXTENSION
from worker.sandbox.app import create_app
from worker.sandbox.fault_book import FaultBook
from worker.sandbox.faults import FaultRule
from worker.sandbox.options import SandboxOptions
from worker.sandbox.post import GatePost
from worker.sandbox.request_log import RecordedRequest, RequestLog
from worker.sandbox.store import SandboxStore

_BACKLOG = 512
_TICK_SECONDS = 0.1
_GRACE_SECONDS = 2.0
_STOP_SECONDS = 10.0


class SandboxDown(RuntimeError):
    """The sandbox could not be started, was not started, or did not stop."""


class SandboxServer:
    """A sandbox provider in a thread of this process.

    ``with SandboxServer(options) as server: server.base_url``. A port of 0 picks a free one.
    A start after a stop listens on the same port and finds everything as it was.
    """

    def __init__(self, options: SandboxOptions | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.options = options or SandboxOptions()
        self.store = SandboxStore(seed=self.options.seed, reappears_after=self.options.reappears_after)
        self._host, self._port = host, port
        self._app = create_app(self.options, store=self.store)
        self._base_url: str | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT/v1``; raises SandboxDown before the start."""
        if self._base_url is None:
            raise SandboxDown("the sandbox has not been started; call start() first")
        return self._base_url

    def foundry_url(self, project: str = "sandbox") -> str:
        """Return ``http://127.0.0.1:PORT/api/projects/…``, where threads can be listed."""
        return f"{self.base_url.removesuffix('/v1')}/api/projects/{project}"

    def start(self) -> str:
        """Listen, and return the base URL; raises OSError when the port is taken."""
        if self._thread is not None:
            raise SandboxDown(f"the sandbox already listens on {self._base_url}")
        listener = _listen(self._host, self._port)
        post: GatePost = self._app.state.post
        post.closing = asyncio.Event()
        self._server = _Server(_config(self._app), post.closing)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="tenure-sandbox", daemon=True
        )
        self._thread.start()
        # The kernel already queues connections here, so a client may come before uvicorn is ready.
        self._port = listener.getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._base_url = f"http://{host}:{self._port}/v1"
        return self._base_url

    def stop(self) -> None:
        """Stop listening, end every pause and wait for the thread; twice does no harm."""
        if self._server is None or self._thread is None:
            return
        self._server.ask_to_stop()
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            raise SandboxDown(f"the sandbox did not stop within {_STOP_SECONDS} s")
        self._server = self._thread = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def requests(self, since: int = 0) -> tuple[RecordedRequest, ...]:
        """Return what came in after that number, with full headers."""
        return self._log.since(since)

    def wait_for(
        self, predicate: Callable[[Sequence[RecordedRequest]], bool], timeout: float = 5.0
    ) -> tuple[RecordedRequest, ...]:
        """Wait until the request log satisfies the predicate; raises NeverSeen after ``timeout`` seconds."""
        return self._log.wait_for(predicate, timeout)

    def set_faults(self, rules: Iterable[FaultRule]) -> None:
        """Put these faults in force instead of the present ones."""
        faults: FaultBook = self._app.state.faults
        faults.replace(rules)

    @property
    def _log(self) -> RequestLog:
        return cast("RequestLog", self._app.state.log)


def serve(options: SandboxOptions, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``announce`` gets the base URL. Call it from the main thread."""
    asked_to_stop = threading.Event()
    with SandboxServer(options, host, port) as server, _on_signals(asked_to_stop.set):
        # All that is loaded lives as long as the process. Looking through it for garbage took half a second
        # on a busy machine, in which requests stood at the door and came together: 429 for some of them.
        gc.freeze()
        announce(server.base_url)
        asked_to_stop.wait()


class _Server(uvicorn.Server):
    """Stops at once: uvicorn's own loop and shutdown take up to 0.2 s, which adds up over a test run."""

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event) -> None:
        super().__init__(config)
        self._closing = closing
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask_to_stop(self) -> None:
        """May be called from any thread, also before the loop runs and after it ended."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, which is what was wanted
                self._loop.call_soon_threadsafe(self._closing.set)

    async def main_loop(self) -> None:
        """Let uvicorn tick (it keeps the Date header), but wake when asked to stop."""
        self._loop = asyncio.get_running_loop()
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _TICK_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener, let requests under way finish their answers, cut what is left."""
        self._closing.set()
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in tuple(self.server_state.connections):
            connection.shutdown()
        try:
            await asyncio.wait_for(self._emptied(), _GRACE_SECONDS)
        except TimeoutError:
            for task in tuple(self.server_state.tasks):
                task.cancel("the sandbox stops")
            # What a client does not read would keep its connection open for ever.
            for connection in tuple(self.server_state.connections):
                cast("Any", connection).transport.abort()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied(), _GRACE_SECONDS)

    async def _emptied(self) -> None:
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - plain sets
            await asyncio.sleep(0.002)


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )[0]
    # asyncio switches Nagle's delay (40 ms per answer) off only where the protocol is spelled out.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=cast("Any", _protocol),  # uvicorn only calls it
        loop="asyncio",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,  # whatever else runs in this process keeps its logging
        server_header=False,
    )


def _protocol(**made_with: Any) -> asyncio.Protocol:  # noqa: ANN401 - passed on as uvicorn gives it
    """Make uvicorn's own protocol, and let the app close the connection that a request came on."""
    protocol: Any = AutoHTTPProtocol(**made_with)
    protocol.access_log = False
    served = protocol.app

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # close() and not abort(): answers to earlier requests on the connection still go out.
        scope.setdefault("extensions", {})[DROP_EXTENSION] = protocol.transport.close
        await served(scope, receive, send)

    protocol.app = app
    return cast("asyncio.Protocol", protocol)


@contextlib.contextmanager
def _on_signals(stop: Callable[[], None]) -> Iterator[None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()

    earlier = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
