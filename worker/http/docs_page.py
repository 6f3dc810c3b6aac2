"""The page of the API's description: made from the description itself, so that it can say nothing else.

No script and no style but its own sheet: the page's policy allows nothing more, and it needs no network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from worker.http.catalogue import CATALOGUE

PAGES = Path(__file__).parent / "pages"
STYLE = (PAGES / "style.css").read_text(encoding="utf-8")

_CODE = re.compile(r"``?([^`]+)``?")
_LEAST_PROBLEM = 400

Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One parameter of an operation, or one field of a body."""

    name: str
    type: str
    about: str
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One body as it goes over the wire."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a request or an answer may hold, in one media type."""

    media: str
    about: str
    fields: Sequence[Field]
    examples: Sequence[Example]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that is no problem."""

    status: str
    about: str
    headers: Sequence[str]
    bodies: Sequence[Body]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The problems of one status."""

    status: str
    codes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    id: str
    method: str
    path: str
    about: Sequence[str]
    scopes: Sequence[str]
    parameters: Sequence[Field]
    bodies: Sequence[Body]
    answers: Sequence[Answer]
    refusals: Sequence[Refusal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The operations of one tag."""

    name: str
    about: str
    operations: Sequence[Operation]


def docs_page(schema: Node, version: str) -> str:
    """Return the page of this OpenAPI description as HTML."""
    pages = Environment(
        loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    pages.filters["code"] = _with_code
    conflict = schema["components"]["examples"]["conflict"]["value"]
    return pages.get_template("docs.html.jinja").render(
        title=f"{schema['info']['title']} {version}",
        about=schema["info"]["description"],
        parts=list(_parts(schema)),
        problems=[(code, title, repair) for code, (title, repair) in sorted(CATALOGUE.items())],
        problem=_text(conflict),
    )


def _with_code(text: str) -> Markup:
    """Escape a docstring's text, and set what stands between backquotes as code."""
    pieces = _CODE.split(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(one) if place % 2 else escape(one)
        for place, one in enumerate(pieces)
    )


def _parts(schema: Node) -> Iterator[Part]:
    for tag in schema["tags"]:
        found = [
            _operation(schema, path, method, one)
            for path, methods in sorted(schema["paths"].items())
            for method, one in methods.items()
            if one["tags"] == [tag["name"]]
        ]
        yield Part(name=tag["name"], about=tag["description"], operations=found)


def _operation(schema: Node, path: str, method: str, one: Node) -> Operation:
    answers = {text: answer for text, answer in one["responses"].items() if int(text) < _LEAST_PROBLEM}
    refusals = {text: answer for text, answer in one["responses"].items() if text not in answers}
    return Operation(
        id=one["operationId"],
        method=method,
        path=path,
        about=[" ".join(said.split()) for said in one.get("description", "").split("\n\n")],
        scopes=[scope for entry in one.get("security", ()) for scope in entry["HTTPBearer"]],
        parameters=[_parameter(schema, found) for found in one.get("parameters", ())],
        bodies=_bodies(schema, one.get("requestBody", {})),
        answers=[_answer(schema, status, answer) for status, answer in answers.items()],
        refusals=[_refusal(status, answer) for status, answer in refusals.items()],
    )


def _parameter(schema: Node, found: Node) -> Field:
    about = found.get("description", "")
    place = "" if found["in"] == "query" else f"{found['in']} "
    return Field(
        name=found["name"],
        type=place + _type(schema, found["schema"]),
        about=about,
        required=found.get("required", False),
    )


def _answer(schema: Node, status: str, answer: Node) -> Answer:
    return Answer(
        status=status,
        about=answer["description"],
        headers=list(answer.get("headers", {})),
        bodies=_bodies(schema, answer),
    )


def _refusal(status: str, answer: Node) -> Refusal:
    codes = [code for content in answer["content"].values() for code in content.get("examples", ())]
    return Refusal(status=status, codes=codes)


def _bodies(schema: Node, holder: Node) -> list[Body]:
    return [_body(schema, media, content) for media, content in holder.get("content", {}).items()]


def _body(schema: Node, media: str, content: Node) -> Body:
    found = _named(schema, content.get("schema", {}))
    examples = [
        Example(name=name, text=_text(one["value"])) for name, one in content.get("examples", {}).items()
    ]
    if "example" in content:
        examples.append(Example(name=media, text=_text(content["example"])))
    required = found.get("required", ())
    fields = [
        Field(
            name=name,
            type=_type(schema, one),
            about=one.get("description", ""),
            required=name in required,
        )
        for name, one in found.get("properties", {}).items()
    ]
    return Body(media=media, about=_first(found.get("description", "")), fields=fields, examples=examples)


def _first(text: str) -> str:
    return " ".join(text.split())


def _named(schema: Node, found: Node) -> Node:
    """Return what a reference stands for; of a choice the first that is no null."""
    for choice in found.get("anyOf", ()):
        if choice.get("type") != "null":
            return _named(schema, choice)
    if "$ref" not in found:
        return found
    name = found["$ref"].rpartition("/")[2]
    named: Node = schema["components"]["schemas"][name]
    return named


def _type(schema: Node, found: Node) -> str:
    """Say a schema in a few words."""
    if "anyOf" in found:
        return " or ".join(dict.fromkeys(_type(schema, one) for one in found["anyOf"]))
    if "$ref" in found:
        named = _named(schema, found)
        return _words(named) if "enum" in named else found["$ref"].rpartition("/")[2]
    if "const" in found or "enum" in found:
        return _words(found)
    if found.get("type") == "array":
        return f"list of {_type(schema, found['items'])}" + _bounds(found, "minItems", "maxItems")
    if found.get("type") == "object" and isinstance(found.get("additionalProperties"), dict):
        return f"object of {_type(schema, found['additionalProperties'])}"
    bounds = _bounds(found, "minLength", "maxLength") + _bounds(found, "minimum", "maximum")
    return str(found.get("format", found.get("type", "anything"))) + bounds


def _words(found: Node) -> str:
    words = found.get("enum", [found.get("const")])
    return ", ".join(f"`{one}`" for one in words)


def _bounds(found: Node, least: str, most: str) -> str:
    if least in found and most in found:
        return f" ({found[least]} to {found[most]})"
    return f" (at most {found[most]})" if most in found else ""


def _text(body: object) -> str:
    """Write a body for people; what is no JSON goes as it is."""
    if isinstance(body, str):
        return body.rstrip("\n")
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()
