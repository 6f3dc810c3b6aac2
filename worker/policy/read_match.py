"""Read ``match`` and ``except``: which threads a policy covers."""

from __future__ import annotations

from worker.model.decision import TagSelector
from worker.model.thread import Kind
from worker.policy.document import Match
from worker.policy.nodes import MapNode, Node, ScalarNode
from worker.policy.readers import Fields, Path, choice, glob, list_of, scalar, text

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
WITH_VALUES = frozenset({"In", "NotIn"})


def required_match(fields: Fields) -> Match:
    """Read the match of a spec; a rule that selects nothing is refused."""
    node = fields.value("match")
    if node and not _is_empty(node):
        return fields.required("match", _match)
    rule, also = ("delete", " and tier: default") if fields.has("delete") else ("retain", "")
    fields.expect("match")
    fields.refuse(
        fields.key("match"),
        "RP009",
        f"spec.match is empty: a {rule} rule must select something.",
        f"To cover everything write match: {{all: true}}{also}.",
    )
    return Match()


def _is_empty(node: Node) -> bool:
    return not (
        node.text
        if isinstance(node, ScalarNode)
        else node.entries
        if isinstance(node, MapNode)
        else node.items
    )


def _match(node: Node, path: Path) -> Match:
    fields = Fields(node, path)
    everything = fields.optional("all", _only_true, False)  # noqa: FBT003 - the value of a field
    match = _selected(fields, everything=everything)
    if everything and any(fields.has(name) for name in ("projects", "kinds", "owners", "tags")):
        fields.refuse(
            fields.key("all"), "RP036", "match.all stands alone.", "Leave out the other keys, or all."
        )
    fields.done()
    return match


def read_except(node: Node, path: Path) -> Match:
    """Read an except: it cannot be everything."""
    fields = Fields(node, path)
    if not fields.names:
        raise path.notes.error(node, "RP009", "spec.except is empty.", "Leave it out, or say what to except.")
    match = _selected(fields, everything=False)
    fields.done()
    return match


def _selected(fields: Fields, *, everything: bool) -> Match:
    return Match(
        projects=fields.optional("projects", list_of(glob), ()),
        kinds=fields.optional("kinds", list_of(choice(Kind)), ()),
        owners=fields.optional("owners", list_of(glob), ()),
        tags=fields.optional("tags", list_of(_selector), ()),
        all=everything,
    )


def _only_true(node: Node, path: Path) -> bool:
    found = scalar(node, path)
    if not found.plain or found.text != "true":
        raise path.notes.error(
            node, "RP025", f"{path.label} can only be true.", "Write {all: true}, or name keys."
        )
    return True


def _selector(node: Node, path: Path) -> TagSelector:
    fields = Fields(node, path)
    key = fields.required("key", text)
    operator = fields.required("operator", _operator)
    values = fields.optional("values", list_of(text), ())
    if operator in WITH_VALUES and not fields.has("values"):
        fields.refuse(node, "RP013", f"operator {operator} needs values.", 'Write values: ["one"].')
    if operator in {"Exists", "DoesNotExist"} and fields.has("values"):
        fields.refuse(
            fields.key("values"), "RP013", f"operator {operator} takes no values.", "Leave them out."
        )
    fields.done()
    return TagSelector(key=key, operator=operator, values=tuple(sorted(set(values))))


def _operator(node: Node, path: Path) -> str:
    word = scalar(node, path).text
    if word not in OPERATORS:
        raise path.notes.error(
            node,
            "RP013",
            f'operator "{word}" unknown; one of In, NotIn, Exists, DoesNotExist.',
            "Exists takes no values.",
        )
    return word
