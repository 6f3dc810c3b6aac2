"""What the server answers before there is a request: a head that is no HTTP is a problem too."""

from __future__ import annotations

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from worker.http.problems import MEDIA_TYPE, Problem
from worker.model.clock import SystemClock
from worker.model.ids import new_id


class Protocol(H11Protocol):
    """uvicorn's own, which would answer such a head in plain text."""

    def send_400_response(self, msg: str) -> None:
        """Answer and close; what was sent is not repeated, and there is no path to name."""
        del msg
        request_id = new_id("req", SystemClock().now())
        problem = Problem(status=400, code="malformed_request", detail="This is no HTTP request.")
        body = bytes(problem.answer(instance="/", request_id=request_id).body)
        headers = {
            "content-type": MEDIA_TYPE,
            "content-length": str(len(body)),
            "connection": "close",
            "x-request-id": request_id,
        }
        said = (
            h11.Response(status_code=400, headers=list(headers.items()), reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        for event in said:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
