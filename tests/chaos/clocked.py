"""`python -m tests.chaos.clocked FILE ROLE`: a role of Tenure on a machine whose clock is set wrong.

FILE holds by how many seconds, and may change at any time. All of the process sees the wrong time, libraries
too; what counts monotonic seconds does not, as on a real machine.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine

_LOOK_EVERY = 0.05


class WrongClock:
    """This process's wall clock; a child of a fork follows the file by itself."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._wrong_by = self._read()
        real = datetime.now(UTC)
        self._clock = time_machine.travel(real + timedelta(seconds=self._wrong_by), tick=True).start()
        self._watch()
        os.register_at_fork(after_in_child=self._watch)

    def _read(self) -> float:
        try:
            return float(self._file.read_text() or 0)
        except (OSError, ValueError):
            return 0.0

    def _watch(self) -> None:
        threading.Thread(target=self._follow, name="chaos-clock", daemon=True).start()

    def _follow(self) -> None:
        while True:
            wanted = self._read()
            if wanted != self._wrong_by:
                self._clock.shift(wanted - self._wrong_by)
                self._wrong_by = wanted
            time.sleep(_LOOK_EVERY)


if __name__ == "__main__":
    WrongClock(Path(sys.argv[1]))
    from worker.cli.main import main

    sys.argv = ["tenure", *sys.argv[2:]]
    main()
