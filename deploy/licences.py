"""Write `docs/licences.md`: under which licence each package comes that Tenure needs to run.

Run by `make licences`; a test holds the page to what is installed.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
_PIN = re.compile(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==", re.MULTILINE)
_LONG = 40
_HEAD = """# Licences

What `requirements-otel.lock` installs beside Tenure, which is Apache-2.0 itself. Written by `make licences`
from what the packages say of themselves; packages for other platforms alone are left out.

| package | licence |
|---|---|
"""


def locked() -> list[str]:
    """Return the names of `requirements-otel.lock`, which are those of `requirements.lock` and more."""
    return sorted(set(_PIN.findall((ROOT / "requirements-otel.lock").read_text())))


def licence_of(name: str) -> str | None:
    """Return what a package says, in the best words that it has; None where it is not installed."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    classified = [
        one.rpartition(" :: ")[2]
        for one in about.get_all("Classifier") or []
        if one.startswith("License :: ") and one != "License :: OSI Approved"
    ]
    plain = about.get("License") or ""
    plain = "" if len(plain) > _LONG or plain in {"UNKNOWN", "Dual License"} else plain
    return about.get("License-Expression") or plain or " or ".join(classified) or "not stated"


def page() -> str:
    """Return the page as it should be."""
    found = {name: licence_of(name) for name in locked()}
    return _HEAD + "".join(f"| {name} | {licence} |\n" for name, licence in found.items() if licence)


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stderr.write(f"wrote {PAGE.relative_to(ROOT)}\n")
