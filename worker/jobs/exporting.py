"""The thread that makes exports, beside beat's house keeper, which a long one does not delay."""

from __future__ import annotations

import threading

from worker.flows.make_export import Maker, make_exports
from worker.telemetry import log
from worker.wiring import Tenure

_LOOK_SECONDS = 2.0
_STOP_SECONDS = 25


class ExportMaker:
    """Looks for exports that were asked for, and makes them one after another."""

    def __init__(self, tenure: Tenure) -> None:
        self._stopping = threading.Event()
        self._maker = Maker(
            database=tenure.database,
            sealer=tenure.sealer,
            clock=tenure.clock,
            stopping=self._stopping.is_set,
        )
        self._thread = threading.Thread(target=self._run, name="tenure-exports", daemon=True)

    def start(self) -> None:
        """Begin; the first look is at once."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is being made is given back for another maker."""
        self._stopping.set()
        self._thread.join(timeout=_STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                make_exports(self._maker)
            except Exception:  # noqa: BLE001 - a thread that dies silently would leave exports waiting for ever
                log().exception("export.broke_off")
            self._stopping.wait(_LOOK_SECONDS)
