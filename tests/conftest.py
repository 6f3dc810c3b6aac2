"""What every test shares: real servers on demand, and an environment that reaches nothing by accident."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
from hypothesis.configuration import set_hypothesis_home_dir

pytest_plugins = ["tests.servers.plugin", "tests.chaos.shown"]

REPOSITORY = Path(__file__).resolve().parent.parent

# A variable of the person who runs the tests must not name a target, a key or a data folder.
for _name in [name for name in os.environ if name.startswith(("TENURE_", "OPENAI_", "AZURE_", "CELERY_"))]:
    if not _name.startswith(("TENURE_TEST_", "TENURE_CHAOS_")):
        del os.environ[_name]

# Slow machines are no defect; a failure in CI repeats itself.
set_hypothesis_home_dir(str(REPOSITORY / ".tenure" / "cache" / "hypothesis"))
hypothesis.settings.register_profile("tenure", deadline=None, derandomize="CI" in os.environ, print_blob=True)
hypothesis.settings.load_profile("tenure")
