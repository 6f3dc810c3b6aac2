"""Compare two bundles by meaning: each difference of their canonical forms, and whether it loosens.

The differences are those of the canonical documents, so none is missed and comments, order and file names
are none. ``loosening`` needs approval. What is not flagged never makes a thread due that the base would not
make due, whatever holds, erasures and delivered notices there are; two facts outside a bundle are assumed:
a TTL that cannot be read was refused when it was registered, and a notice that promised a date later than
the base's own may count again once the head's date is that late, which is what was promised.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from worker.policy.document import Bundle, Policy
from worker.policy.effects import Effect, Judgement
from worker.policy.judge_policy import Versions, judge_added, judge_policy, judge_removed
from worker.policy.judge_project import (
    judge_added_project,
    judge_constraints,
    judge_project,
    judge_removed_project,
)

__all__ = ["Change", "Comparison", "Effect", "compare"]

_WHOLE = frozenset({"spec.match", "spec.except", "spec.controls"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference. ``before`` and ``after`` are canonical texts, None where the value is absent.

    ``path`` is stable: ``spec.delete.after``, ``spec`` for a whole document. ``source`` is ``file:line`` of
    the head's document where it is known.
    """

    document: str
    path: str
    before: str | None
    after: str | None
    effect: Effect
    why: str
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two digests and what lies between them, by document and path."""

    base: str | None
    head: str
    changes: tuple[Change, ...]

    @property
    def loosening(self) -> bool:
        """Whether anything loosens, so that it needs approval."""
        return any(change.effect is Effect.LOOSENING for change in self.changes)

    @property
    def changed(self) -> bool:
        """Whether anything differs."""
        return bool(self.changes)


def compare(base: Bundle | None, head: Bundle, *, inhabited: Collection[str] = ()) -> Comparison:
    """Compare; ``inhabited`` names the projects that have live threads, as the caller knows them."""
    before, after = _documents(base), _documents(head)
    sources = {f"RetentionPolicy/{one.name}": one.source for one in head.policies if one.source}
    judges = _Judges(base=base, head=head, inhabited=frozenset(inhabited))
    changes = [
        Change(
            document=_label(document, base, head),
            path=path,
            before=old,
            after=new,
            effect=judged.effect,
            why=judged.why,
            source=sources.get(document),
        )
        for document in sorted(before.keys() | after.keys())
        for path, old, new in _differences(before.get(document), after.get(document))
        for judged in [judges.judge(document, path)]
    ]
    return Comparison(base=base.digest if base else None, head=head.digest, changes=tuple(changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judges:
    base: Bundle | None
    head: Bundle
    inhabited: frozenset[str]

    def judge(self, document: str, path: str) -> Judgement:
        kind, _, name = document.partition("/")
        match kind:
            case "RetentionPolicy":
                return self._policy(path, _named(self.base, name), _named(self.head, name))
            case "Project":
                return self._project(path, name)
            case _:
                base = self.base.constraints if self.base else None
                return judge_constraints(path, base, self.head.constraints)

    def _policy(self, path: str, before: Policy | None, after: Policy | None) -> Judgement:
        if before and after:
            return judge_policy(path, Versions(before=before, after=after, head=self.head))
        if after:
            return judge_added(after)
        if before:
            return judge_removed(before, self.head)
        raise LookupError(path)

    def _project(self, path: str, name: str) -> Judgement:
        before = self.base.projects.get(name) if self.base else None
        after = self.head.projects.get(name)
        if before and after:
            return judge_project(path, before, after)
        return judge_added_project(has_threads=name in self.inhabited) if after else judge_removed_project()


def _label(document: str, base: Bundle | None, head: Bundle) -> str:
    """Name the one Constraints document as the newest bundle does that has it."""
    named = head.constraints or (base.constraints if base else None)
    return f"{document}/{named.name}" if document == "Constraints" and named else document


def _named(bundle: Bundle | None, name: str) -> Policy | None:
    return next((one for one in bundle.policies if one.name == name), None) if bundle else None


def _documents(bundle: Bundle | None) -> dict[str, Mapping[str, Any]]:
    """Return each canonical document by kind and name; there is one Constraints, under any name."""
    if bundle is None:
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for document in json.loads(bundle.canonical)["bundle"]:
        kind, metadata, spec = document["kind"], document["metadata"], document["spec"]
        key = kind if kind == "Constraints" else f"{kind}/{metadata['name']}"
        found[key] = {"metadata": metadata, "spec": _stepwise(spec)}
    return found


def _stepwise(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read the one step before a deletion as a mapping, so that its fields have paths."""
    steps = spec.get("before_delete")
    return {**spec, "before_delete": steps[0]} if steps else spec


def _differences(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Iterator[tuple[str, str | None, str | None]]:
    if before is None or after is None:
        old, new = (one["spec"] if one else None for one in (before, after))
        yield "spec", _text(old), _text(new)
        return
    yield from _between(before, after, "")


def _between(
    before: Mapping[str, Any], after: Mapping[str, Any], above: str
) -> Iterator[tuple[str, str | None, str | None]]:
    for name in sorted(before.keys() | after.keys()):
        path, old, new = f"{above}{name}", before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict) and path not in _WHOLE:
            yield from _between(old, new, f"{path}.")
        else:
            yield path, _text(old), _text(new)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
