"""A profile: the facts and the words of one family of servers, complete for every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.model.thread import Kind
from worker.providers.kind_facts import KindFacts, KindNotOffered
from worker.providers.profiles.matcher import Matcher, message_of

# Wherever a server of this family puts words, those of a route error are looked for.
_PLACES = ("error.message", "error.detail", "message", "detail", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one family of servers answers.

    ``route_begins`` are beginnings of messages that mean a missing address, whatever else they say;
    ``denied_codes`` values of ``error.code`` that mean a refused key, with any 4xx.
    """

    name: str
    absent: Mapping[Kind, Matcher]
    kinds: Mapping[Kind, KindFacts]
    route_begins: tuple[str, ...] = ()
    denied_codes: frozenset[str] = frozenset()

    def facts(self, kind: Kind) -> KindFacts:
        """Return what is known of a kind here; raises KindNotOffered, which names the kinds that are."""
        known = self.kinds.get(kind)
        if known is None:
            raise KindNotOffered(
                f"Tenure cannot delete a {kind.value} with the profile {self.name}.",
                repair=f"Register one of these kinds: {', '.join(one.value for one in self.kinds)}.",
            )
        return known

    def object_absent(
        self, body: Mapping[str, object], *, kind: Kind, object_id: str, nouns: Sequence[str] = ()
    ) -> bool:
        """Say whether the JSON of a 404 means that this object is not there.

        ``nouns`` are the words for it where it is no object of the kind itself but one of its children.
        """
        if self._is_route(body) or kind not in self.absent:
            return False
        words = nouns or self.facts(kind).nouns
        return self.absent[kind].matches(body, nouns=words, object_id=object_id)

    def denied(self, body: Mapping[str, object]) -> bool:
        """Say whether the JSON of a 4xx means a refused key."""
        error = body.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        return isinstance(code, str) and code in self.denied_codes

    def _is_route(self, body: Mapping[str, object]) -> bool:
        messages = (message_of(body, (place,)) for place in _PLACES)
        starts = [one.lstrip()[:200].casefold() for one in messages if one is not None]
        return any(start.startswith(one.casefold()) for start in starts for one in self.route_begins)
