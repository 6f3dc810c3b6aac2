"""Read a profile strictly: an unknown field or a loose word refuses the file.

An extending profile replaces the matchers and facts that it names. What marks a route error or a refused
key is only ever added to, since those words keep a 404 from being believed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from worker.model.errors import TenureError
from worker.model.thread import Kind
from worker.policy.findings import Notes, Refused, in_order
from worker.policy.nodes import Node, documents
from worker.policy.readers import Fields, Path, list_of, text
from worker.providers.kind_facts import KindFacts
from worker.providers.profiles.family import Profile
from worker.providers.profiles.fields import Override, echo, matcher, override
from worker.providers.profiles.matcher import Matcher
from worker.providers.table import KINDS

EVERY_KIND = "every_kind"

Base = Callable[[str], Profile]


class BadProfile(TenureError):
    """A profile cannot be read; the problem holds one line per finding."""

    code = "bad_profile"


def read_profile(source: str, *, file: str, base: Base) -> Profile:
    """Read the text of a profile; ``base`` returns the profile that it extends. Raises BadProfile."""
    notes = Notes(file)
    found = documents(source, notes)
    if len(found) == 1 and not notes.findings:
        try:
            return _profile(found[0], Path(notes=notes), base)
        except Refused:
            pass
    lines = [str(one) for one in in_order(notes.findings)] or [f"{file} must hold one document."]
    raise BadProfile("\n".join(lines), repair="See the shipped profiles for every field.")


def _profile(node: Node, path: Path, base: Base) -> Profile:
    fields = Fields(node, path)
    name = fields.required("profile", text)
    extends = fields.optional("extends", text, None)
    below = base(extends) if extends else None
    return read_fields(fields, name=name, below=below, echo_required=True)


def read_fields(fields: Fields, *, name: str, below: Profile | None, echo_required: bool) -> Profile:
    """Read what a profile says beside its name, on top of the one below it; raises Refused."""
    absent = fields.optional("absent", _by_kind(matcher), {})
    changed = fields.optional("kinds", _by_kind(override), {})
    begins = fields.optional("route_begins", list_of(text), ())
    denied = fields.optional("denied_codes", list_of(text), ())
    # Every answer must name the id that was sent: this is written down, and cannot be turned off.
    if echo_required:
        fields.required("id_echo", echo)
    else:
        fields.optional("id_echo", echo, None)
    fields.done()
    matchers = _matchers(absent, below)
    if missing := sorted(set(KINDS) - set(matchers)):
        what = f"absent says nothing of {', '.join(missing)}."
        fields.refuse(fields.key("absent"), "RP024", what, f"Add {EVERY_KIND}, or extend a profile.")
        raise Refused
    return Profile(
        name=name,
        absent=matchers,
        kinds=_kinds(changed, below.kinds if below else KINDS),
        route_begins=tuple(dict.fromkeys((*(below.route_begins if below else ()), *begins))),
        denied_codes=(below.denied_codes if below else frozenset()) | frozenset(denied),
    )


def _by_kind(reader: Callable[[Node, Path], Any]) -> Callable[[Node, Path], dict[str, Any]]:
    def read(node: Node, path: Path) -> dict[str, Any]:
        fields = Fields(node, path)
        found = {}
        for name in (EVERY_KIND, *KINDS):
            if fields.has(name):
                found[str(name)] = fields.optional(name, reader, None)
            else:
                fields.expect(name)
        fields.done()
        return found

    return read


def _matchers(given: Mapping[str, Matcher], below: Profile | None) -> Mapping[Kind, Matcher]:
    every = given.get(EVERY_KIND)
    found = dict(below.absent) if below else {}
    if every is not None:
        found = dict.fromkeys(KINDS, every)
    return MappingProxyType(found | {Kind(name): one for name, one in given.items() if name != EVERY_KIND})


def _kinds(given: Mapping[str, Override], below: Mapping[Kind, KindFacts]) -> Mapping[Kind, KindFacts]:
    every = given.get(EVERY_KIND, {})
    changed = {
        kind: replace(known, **({**every, **given.get(kind.value, {})})) for kind, known in below.items()
    }
    return MappingProxyType(changed)
