"""What a message carries beside its ids: the trace that it belongs to, and which request woke the work.

Neither decides anything: a message that lost them is worked off as any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Task, signals
from structlog.contextvars import bound_contextvars

from worker.telemetry import traces
from worker.telemetry.requests import current_request

_TRACEPARENT, _WOKEN_BY = "traceparent", "tenure_woken_by"
_SYSTEM = {"messaging.system": "celery"}


class Carried(Task):
    """A task that goes on with what its message carries."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the base class has it
        """Run the task, in the trace of its message and with its words in every log line.

        ``run`` and not the base class's own call, which would put an empty request before this one.
        """
        message = self.request
        facts = {
            **_SYSTEM,
            "messaging.operation.type": "process",
            "messaging.destination.name": _queue(message),
        }
        woken_by = message.get(_WOKEN_BY)
        with (
            bound_contextvars(**({"woken_by": woken_by} if woken_by else {})),
            traces.span(
                f"process {self.name}", kind="consumer", facts=facts, parent=message.get(_TRACEPARENT)
            ),
        ):
            return self.run(*args, **kwargs)


def _queue(message: Any) -> str | None:  # noqa: ANN401 - celery is untyped
    return (message.get("delivery_info") or {}).get("routing_key")


@contextmanager
def sending(queue: str) -> Iterator[None]:
    """Send a message inside: it becomes a part of the trace that is current here."""
    facts = {**_SYSTEM, "messaging.operation.type": "send", "messaging.destination.name": queue}
    with traces.span(f"send {queue}", kind="producer", facts=facts):
        yield


@signals.before_task_publish.connect
def _carry(headers: dict[str, Any] | None = None, **_: object) -> None:
    """Add what is carried to every message, beat's too."""
    if headers is None:
        return
    if (here := traces.here()) is not None:
        headers[_TRACEPARENT] = here
    if (request := current_request()) is not None:
        headers[_WOKEN_BY] = request
