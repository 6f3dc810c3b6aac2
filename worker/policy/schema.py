"""The JSON Schema of policy files, for editors: made of what the strict reader asks for.

The reader is run over one complete document of each kind and tells every field that it asks for, with the
reader of its value; so the two cannot know different fields. Beside it stand the words (`schema_words.py`)
and the forms of single values (`schema_forms.py`). What a schema cannot say (duplicate keys, time zones,
names over files) stays with `tenure policy validate`. Draft 7 is what the YAML servers of editors read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import assert_never

from worker.policy.document import Constraints, Policy, Project
from worker.policy.findings import Notes, refuses
from worker.policy.nodes import documents
from worker.policy.read_documents import API_VERSION, DocumentKind, ReadSettings, read_document
from worker.policy.readers import Ask, Choice, ListOf, Number
from worker.policy.schema_forms import BETWEEN, FORMS, READERS, SPECS, Schema
from worker.policy.schema_words import WORDS

SCHEMA_FILE = "schema.json"
# One document of each kind that gives every mapping; a second where a field is required of some only.
_SAMPLES = f"""\
apiVersion: {API_VERSION}
kind: RetentionPolicy
metadata: {{name: sample, owner: sample}}
spec:
  mode: enforce
  match: {{tags: [{{key: key, operator: In, values: [one]}}]}}
  except: {{tags: [{{key: key, operator: In, values: [one]}}]}}
  delete: {{after: 30d}}
  retain: {{for: 1d}}
  before_delete: [{{notify: {{grace: 1d}}}}]
  schedule: {{cron: "0 0 * * *"}}
  guards: {{max_deletes: 1, max_percent: 1, min_population: 1, window: 1d}}
---
apiVersion: {API_VERSION}
kind: Project
metadata: {{name: sample, owner: sample}}
spec: {{provider: openai, api_key: {{env: SAMPLE}}, rate: {{limit: 1/s}}}}
---
apiVersion: {API_VERSION}
kind: Project
metadata: {{name: sample, owner: sample}}
spec: {{provider: openai_compatible, base_url: "https://localhost", api_key: {{env: SAMPLE}}}}
---
apiVersion: {API_VERSION}
kind: Constraints
metadata: {{name: sample}}
spec: {{}}
"""


def schema_text() -> str:
    """Return the text of `schema.json`; the same every time."""
    return json.dumps(bundle_schema(), ensure_ascii=False, indent=1) + "\n"


def bundle_schema() -> Schema:
    """Return the schema of one document of a bundle; raises LookupError for a field without words or form."""
    asked = _asked()
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"A policy file of Tenure ({API_VERSION})",
        "type": "object",
        "properties": {
            "apiVersion": {"description": "The version of this format.", "const": API_VERSION},
            "kind": {"description": "What this document is.", "enum": [kind.value for kind in DocumentKind]},
            "metadata": {"description": "Its name, and who is answerable for it.", "type": "object"},
            "spec": {"description": "What it says.", "type": "object"},
        },
        "additionalProperties": False,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "allOf": [_of_kind(kind, asked[kind]) for kind in DocumentKind],
    }


def _asked() -> dict[DocumentKind, list[list[Ask]]]:
    """Return what the reader asks of each sample."""
    notes = Notes("samples")
    settings = ReadSettings(key_globs=("*",), since=datetime(2026, 1, 1, tzinfo=UTC))
    found: dict[DocumentKind, list[list[Ask]]] = {kind: [] for kind in DocumentKind}
    for node in documents(_SAMPLES, notes):
        asks: list[Ask] = []
        draft = read_document(node, notes, settings, asks)
        if draft is not None:
            found[_kind_of(draft.value)].append(asks)
    if refuses(notes.findings):
        raise LookupError(f"a sample of worker/policy/schema.py is refused: {notes.findings[0]}")
    return found


def _kind_of(value: Policy | Project | Constraints) -> DocumentKind:
    match value:
        case Policy():
            return DocumentKind.RETENTION_POLICY
        case Project():
            return DocumentKind.PROJECT
        case Constraints():
            return DocumentKind.CONSTRAINTS
        case _:
            assert_never(value)


def _of_kind(kind: DocumentKind, samples: Sequence[Sequence[Ask]]) -> Schema:
    fields = _Fields(samples, WORDS[kind])
    spec = fields.mapping("spec") | SPECS[kind]
    return {
        "if": {"properties": {"kind": {"const": kind.value}}, "required": ["kind"]},
        "then": {"properties": {"metadata": fields.mapping("metadata"), "spec": spec}},
    }


class _Fields:
    """The fields of one kind of document, by path."""

    def __init__(self, samples: Sequence[Sequence[Ask]], words: Mapping[str, str]) -> None:
        self._words = words
        self._asks: dict[str, list[Ask]] = {}
        for ask in (one for asks in samples for one in asks):
            self._asks.setdefault(ask.path, []).append(ask)

    def mapping(self, path: str) -> Schema:
        """Return the schema of a mapping: its fields, the required ones, and what holds between them."""
        names = [one.removeprefix(f"{path}.") for one in self._asks if one.rpartition(".")[0] == path]
        # Required of every document that has the mapping; what only some need stands in SPECS.
        required = [name for name in names if all(one.required for one in self._asks[f"{path}.{name}"])]
        return {
            "type": "object",
            "properties": {name: self._field(f"{path}.{name}") for name in names},
            "additionalProperties": False,
            **({"required": required} if required else {}),
            **BETWEEN.get(path, {}),
        }

    def _field(self, path: str) -> Schema:
        asks = self._asks[path]
        defaults = [_plain(one.default) for one in asks]
        same = defaults[0] if all(one == defaults[0] for one in defaults) else None
        told = {"description": self._words_of(path)} | self._value(path, asks[0].reader)
        return told if same is None else told | {"default": same}

    def _words_of(self, path: str) -> str:
        if path not in self._words:
            raise LookupError(f"{path}: say what it is in worker/policy/schema_words.py.")
        return self._words[path]

    def _value(self, path: str, reader: object) -> Schema:
        if path in FORMS:
            return dict(FORMS[path])
        if reader in READERS:
            return dict(READERS[reader])
        match reader:
            case Choice(options=options):
                return {"enum": [option.value for option in options]}
            case Number(low=low, high=high, cast=cast):
                return {"type": "integer" if cast is int else "number", "minimum": low, "maximum": high}
            case ListOf(item=item):
                return {"type": "array", "minItems": 1, "items": self._value(f"{path}[0]", item)}
            case _:
                return self._nested(path)

    def _nested(self, path: str) -> Schema:
        """Return the schema of a mapping, or of a list of mappings with a reader of its own."""
        if self._has_fields(path):
            return self.mapping(path)
        if self._has_fields(f"{path}[0]"):
            items = self.mapping(f"{path}[0]")
            return {"type": "array", "minItems": 1, "items": items, **BETWEEN.get(path, {})}
        raise LookupError(f"{path}: give its form in worker/policy/schema_forms.py.")

    def _has_fields(self, path: str) -> bool:
        return any(one.startswith(f"{path}.") for one in self._asks)


def _plain(value: object) -> object:
    """Return a default as JSON, or None for one that a schema does not show."""
    match value:
        case StrEnum():
            return value.value
        case bool() | "" | ():
            return None
        case str() | int() | float():
            return value
        case tuple() if all(isinstance(one, str) for one in value):
            return list(value)
        case _:
            return None
