"""`tenure version`."""

from __future__ import annotations

import platform

from worker import __version__
from worker.cli.output import Format, Output, show_one


def version(output: Output = Format.TABLE) -> None:
    """Show which Tenure this is.

    Example: tenure version -o json
    """
    show_one({"tenure": __version__, "python": platform.python_version()}, output)
