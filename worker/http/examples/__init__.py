"""An example of every request body and of every answer that is no problem, by operation.

Tests hold each against its schema, and send each request to a service, which then must not find it invalid.
"""

from __future__ import annotations

from worker.http.examples import policies, protection, service, threads
from worker.http.examples.base import Answers, Requests

_PARTS = (threads, protection, policies, service)

REQUESTS: Requests = {name: named for part in _PARTS for name, named in part.REQUESTS.items()}
ANSWERS: Answers = {name: told for part in _PARTS for name, told in part.ANSWERS.items()}
