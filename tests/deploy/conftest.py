"""What the tests of documents and deployment read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    loaded = YAML(typ="safe", pure=True).load(ROOT / "docker-compose.yml")
    assert isinstance(loaded, dict)
    return loaded
