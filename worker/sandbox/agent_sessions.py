"""Agent sessions: they run while there is input, and only a cancelled one can be deleted."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from worker.sandbox import requests as asked
from worker.sandbox.answers import Refused, error
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.resource_shapes import IDLE, RUNNING
from worker.sandbox.store import StoredObject

_STATUS_AFTER = {"agent.session.input.cancel": IDLE, "agent.session.input.message": RUNNING}


async def take_events(request: Request) -> Response:
    """POST /agents/sessions/{id}/events ``{events: [{type}]}``: a message starts a turn, cancel ends it.

    202 confirms that the events were taken, without a body.
    """
    session = asked.visible(request, ObjectKind.AGENT_SESSION, request.path_params["id"])
    for event in asked.objects_in(await asked.json_body(request), "events"):
        if status := _STATUS_AFTER.get(str(event.get("type"))):
            session = asked.store_of(request).update(session, status=status)
    return Response(status_code=202)


def refuse_while_running(stored: StoredObject) -> None:
    """Refuse with 409 to delete a session whose execution has to be cancelled first."""
    if stored.kind is ObjectKind.AGENT_SESSION and stored.fields.get("status") == RUNNING:
        message = f"Session '{stored.id}' has a running execution. Cancel it before deleting the session."
        raise Refused(error(409, message, code="session_in_progress"))
