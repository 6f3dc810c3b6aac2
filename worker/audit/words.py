"""The words and instants of entries that the verifier remembers: such as are known, and no others.

A hostile log could hold texts of any length and number; of these each is one of a few constants.
"""

from __future__ import annotations

import re
from collections.abc import Container
from datetime import datetime

from worker.audit.reading import Body, Misshapen, text
from worker.model.evidence import Class, Control, Step
from worker.model.work import Stage

_CLASSES = {one.value: one.value for one in Class}
_CONTROLS = {one.value: one.value for one in Control}
_STAGES = {one.value: one.value for one in Stage}
# The statuses with which a class is told (providers.classify); the others come with any, or without one.
_STATUSES: dict[Class, Container[object]] = {
    Class.PRESENT: (200, 201),
    Class.ACKNOWLEDGED: range(200, 300),
    Class.OBJECT_ABSENT: (404,),
    Class.ROUTE_ABSENT: (404, 405, 410),
    Class.DENIED: range(400, 500),
    Class.THROTTLED: (429,),
    Class.LOST: (None,),
    Class.UNSENT: (None,),
}
_NOT_OF_READS = frozenset({Class.ACKNOWLEDGED, Class.MALFORMED, Class.UNSENT})
_FITTING = {
    (step.value, one.value): _STATUSES.get(one)
    for step in Step
    for one in Class
    if (one is not Class.PRESENT if step is Step.DELETE else one not in _NOT_OF_READS)
}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)


def stage_of(body: Body) -> str:
    """Return the stage of an attempt; raises Misshapen, ValueError for a word that is none."""
    word = text(body, "stage")
    return _STAGES.get(word) or Stage(word).value


def class_of(seen: Body) -> str:
    """Return the class of an observation; raises Misshapen, ValueError for a word that is none."""
    word = text(seen, "class")
    return _CLASSES.get(word) or Class(word).value


def is_fitting(step: str, word: str, status: object) -> bool:
    """Tell whether a step is answered by this class with this status; a word that is none fits nothing."""
    fitting = _FITTING.get((step, word), ())
    return fitting is None or status in fitting


def seconds_of(seen: Body) -> float:
    """Return the instant of an observation in Unix seconds; raises Misshapen."""
    at = text(seen, "at")
    try:
        if _INSTANT.fullmatch(at):
            return datetime.fromisoformat(at).timestamp()
    except ValueError:
        pass
    raise Misshapen(f"{at!r} is no instant.")


def control_of(body: Body) -> str:
    """Return the control of a read; raises Misshapen, ValueError for a word that is none."""
    word = text(body, "control")
    return _CONTROLS.get(word) or Control(word).value
