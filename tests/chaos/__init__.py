"""The chaos suite: a storm over real processes, then invariants as SQL against the provider's own truth."""
