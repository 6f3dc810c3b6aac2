"""The words and instants of entries that the verifier remembers: such as are known, and no others.

A hostile log could hold texts of any length and number; of these each is one of a few constants.
"""

from __future__ import annotations

import re
from datetime import datetime

from worker.audit.reading import Body, Misshapen, text
from worker.model.evidence import Class, Control
from worker.model.work import Stage

_CLASSES = {one.value: one.value for one in Class}
_CONTROLS = {one.value: one.value for one in Control}
_STAGES = {one.value: one.value for one in Stage}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)


def stage_of(body: Body) -> str:
    """Return the stage of an attempt; raises Misshapen, ValueError for a word that is none."""
    word = text(body, "stage")
    return _STAGES.get(word) or Stage(word).value


def class_of(seen: Body) -> str:
    """Return the class of an observation; raises Misshapen, ValueError for a word that is none."""
    word = text(seen, "class")
    return _CLASSES.get(word) or Class(word).value


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
