"""The forms of single values in the schema for editors, and what must hold between the fields of a mapping.

A new field that reads with a shared reader needs nothing here; one with a reader of its own needs a line in
``FORMS``, or a place in the samples of `schema.py` where it is a mapping of fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from worker.model.decision import RESERVED_POLICY_NAMES
from worker.policy import durations
from worker.policy.read_documents import DocumentKind
from worker.policy.read_match import OPERATORS, WITH_VALUES
from worker.policy.read_policy import POLICY_NAME, policy_name
from worker.policy.read_project import CONTROLS, RATE
from worker.policy.readers import MAX_TEXT, duration, glob, scalar, text

Schema: TypeAlias = dict[str, Any]

# Control characters end here; the reader refuses whatever else cannot be printed.
_TEXT: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_TEXT,
    "pattern": "^[^\\u0000-\\u001f\\u007f]*$",
}


def _form(pattern: str, otherwise: str) -> Schema:
    """Return the schema of a text that fits a pattern as a whole, in the dialect of JavaScript."""
    plain = re.sub(r"\(\?P<\w+>", "(?:", pattern)
    return {"type": "string", "pattern": f"^(?:{plain})$", "patternErrorMessage": otherwise}


_DURATION = _form(durations.FORM, 'Not a duration. Write "30d" or "P30D".')
# Whatever its units, a duration without a digit from 1 to 9 is no time at all.
_DURATION["not"] = {"pattern": "^[^1-9]*$"}
_NAME = _form(POLICY_NAME.pattern, "1 to 100 of A-Z a-z 0-9 . _ - that start with a letter or digit.")
_NAME["not"] = {"enum": sorted(RESERVED_POLICY_NAMES)}
_NO_BRACKET = '"[" is no wildcard here: * is any run of characters, ? is one.'
_RATE = _form(RATE.pattern, 'Not a rate. Write "300/min", "5/s" or "1000/h".')
# Where a key is found: exactly one of the two. What may be named is an allow-list of the service.
_KEY: Schema = {
    "type": "object",
    "properties": {
        "env": {"type": "string", "minLength": 1, "description": "The name of a variable."},
        "file": {"type": "string", "pattern": "^/", "description": "The absolute path of a file."},
    },
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}

# By a reader that several fields share.
READERS: Mapping[object, Schema] = {
    text: _TEXT,
    scalar: {"type": "string", "minLength": 1},
    glob: {**_TEXT, "pattern": "^[^\\u0000-\\u001f\\u007f\\[]*$", "patternErrorMessage": _NO_BRACKET},
    duration: _DURATION,
    policy_name: _NAME,
}
# By the path of a field that is read in a way of its own.
FORMS: Mapping[str, Schema] = {
    "spec.match.all": {"const": True},
    "spec.match.tags[0].operator": {"enum": list(OPERATORS)},
    "spec.except.tags[0].operator": {"enum": list(OPERATORS)},
    "spec.retain.for": {"anyOf": [{"const": "forever"}, _DURATION]},
    "spec.schedule.cron": _form(r"\s*\S+(?:\s+\S+){4}\s*", 'Five fields, such as "30 2 * * *".'),
    "spec.schedule.timezone": _TEXT,
    "spec.base_url": {**_TEXT, "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"},
    "spec.api_key": _KEY,
    "spec.admin_key": _KEY,
    # What a project's own profile holds beside that is the providers' to check.
    "spec.profile": {
        "anyOf": [_TEXT, {"type": "object", "properties": {"extends": _TEXT}, "required": ["extends"]}]
    },
    "spec.rate.limit": _RATE,
    "spec.rate.reads": _RATE,
    "spec.controls": {"type": "array", "minItems": 1, "items": {"enum": list(CONTROLS)}},
}
_SELECTOR: Schema = {
    "if": {"properties": {"operator": {"enum": sorted(WITH_VALUES)}}},
    "then": {"required": ["values"]},
    "else": {"not": {"required": ["values"]}},
}
# What must hold between the fields of a mapping, or of a list's items, by its path ...
BETWEEN: Mapping[str, Schema] = {
    "spec.match": {"minProperties": 1, "dependencies": {"all": {"maxProperties": 1}}},
    "spec.except": {"minProperties": 1},
    "spec.match.tags[0]": _SELECTOR,
    "spec.except.tags[0]": _SELECTOR,
    "spec.before_delete": {"maxItems": 1},
}
# ... and of a spec, by the kind of its document.
SPECS: Mapping[DocumentKind, Schema] = {
    DocumentKind.RETENTION_POLICY: {
        "anyOf": [{"required": ["delete"]}, {"required": ["retain"]}],
        "dependencies": {
            "delete": ["guards"],
            "retain": ["mode"],
            "before_delete": ["delete"],
            "schedule": ["delete"],
            "guards": ["delete"],
        },
    },
    DocumentKind.PROJECT: {
        "if": {"properties": {"provider": {"const": "openai"}}},
        "else": {"required": ["base_url"]},
    },
    DocumentKind.CONSTRAINTS: {},
}
