"""Read the profile of a Project: the name of a shipped one, or what the project itself adds to one.

What a profile means is known to the providers, two floors up. Here its shape is read and kept; whoever may
import the providers hands in the check that it parses as one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TypeAlias, assert_never

from worker.policy.document import OwnProfile
from worker.policy.findings import Refused
from worker.policy.nodes import ListNode, MapNode, Node, ScalarNode
from worker.policy.readers import Fields, Path, Reader, scalar, text

CheckProfile: TypeAlias = Callable[[Node, Path], object]
"""Notes what is wrong with the node of a profile, and raises Refused where anything is."""

PlainValue: TypeAlias = "str | int | list[PlainValue] | dict[str, PlainValue]"
_WHOLE = re.compile(r"0|[1-9][0-9]{0,8}")


def shape_only(node: Node, path: Path) -> None:
    """Check nothing beyond the shape."""


def profile_reader(check: CheckProfile) -> Reader[str | OwnProfile]:
    """Make a reader of a name or of a mapping with `extends`."""

    def read(node: Node, path: Path) -> str | OwnProfile:
        if not isinstance(node, MapNode):
            name = text(node, path)
            check(node, path)
            return name
        fields = Fields(node, path)
        extends = fields.required("extends", text)
        if fields.refused:
            raise Refused
        check(node, path)
        written = json.dumps(_plain(node, path), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return OwnProfile(extends=extends, written=written)

    return read


def _plain(node: Node, path: Path) -> PlainValue:
    """Return the values as text or whole numbers: what each one means, the profile's own reader decides."""
    match node:
        case ScalarNode():
            word = scalar(node, path).text
            return int(word) if node.plain and _WHOLE.fullmatch(word) else word
        case ListNode(items=items):
            return [_plain(one, path.item(index)) for index, one in enumerate(items)]
        case MapNode(entries=entries):
            return {key.text: _plain(value, path.down(key.text)) for key, value in entries}
        case other:
            assert_never(other)
