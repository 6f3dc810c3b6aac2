"""Where the clock of a server lies on the monotonic clock of this process."""

from __future__ import annotations

from collections import deque

_KEPT = 64
_KEPT_SECONDS = 10.0
"""A clock that is 500 millionths fast or slow, as much as NTP lets one be, is 5 ms off by then."""


class ServerClock:
    """Learns it from answers (Cristian's algorithm, 1989): each was given between question and receipt.

    An answer says that the server is ahead by at least what it told less the receipt, and by at most what it
    told less the question. The largest of the lower bounds comes from the answer that was received soonest,
    as NTP trusts the quickest of its last samples (RFC 5905, section 10): by it no instant is too early, and
    none is late by more than that answer took. A clock that was set, as where another server took over,
    contradicts the older bounds, and they are forgotten.
    """

    def __init__(self) -> None:
        # When each answer was received, and by how much the server is ahead at least.
        self._bounds: deque[tuple[float, float]] = deque(maxlen=_KEPT)

    def seen(self, told: float, *, asked: float, received: float) -> float:
        """Return when it was ``told`` on the server, by this process's clock; all of them in seconds.

        ``asked`` and ``received`` are by this process's clock. The instant is never later than ``received``.
        """
        oldest, most = received - _KEPT_SECONDS, told - asked
        still = [one for one in self._bounds if one[0] >= oldest and one[1] <= most]
        self._bounds = deque([*still, (received, told - received)], maxlen=_KEPT)
        return told - max(ahead for _, ahead in self._bounds)
