"""Pauses: what a batch heard of them, and when it gives up rather than ask on."""

from __future__ import annotations

from dataclasses import dataclass

from worker.model.evidence import Class, Observation
from worker.pacing.base import LONGEST_COOLDOWN_SECONDS, LONGEST_WAIT_SECONDS, CoolingDown

# So many in a row without any other answer between them, and the batch is given up.
_MOST_PAUSES = 3


@dataclass(slots=True, kw_only=True)
class Pauses:
    """What a batch heard of pauses, and when it gives up: then nothing more is asked for ``rest_seconds``.

    ``left`` is how long the credential is to be left alone, 0 while it need not be. ``answered``: something
    else than a refusal came.
    """

    rest_seconds: float = 10.0
    left: float = 0.0
    answered: bool = False
    _pauses: int = 0
    _paused_until: float = float("-inf")

    @property
    def over(self) -> bool:
        """Whether the batch is given up."""
        return self._pauses >= _MOST_PAUSES

    def heard(self, seen: Observation, pause: float, now: float) -> None:
        """Note an answer; refusals that come together say one thing, once. ``now`` is monotonic."""
        if (seen.seen is Class.THROTTLED or seen.retry_after) and pause > LONGEST_WAIT_SECONDS:
            # Also where nobody asks for another slot after it, and so nobody is sent home.
            self.left = max(self.left, min(pause, LONGEST_COOLDOWN_SECONDS))
        if seen.seen is not Class.THROTTLED:
            if seen.status is not None:
                self._pauses, self.answered = 0, True
        elif now >= self._paused_until:
            self._pauses, self._paused_until = self._pauses + 1, now + pause
            self.left = max(self.left, self.rest_seconds if self.over else 0.0)

    def check(self) -> None:
        """Raise CoolingDown where the batch is given up."""
        if self.over:
            raise CoolingDown(self.left)
