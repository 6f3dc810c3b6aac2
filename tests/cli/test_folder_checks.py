"""`tenure doctor` on the policies folder, while no service runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ran import Run


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("healthy", ("ok", "in force")),
        ("broken", ("problem", "bad.yaml:1")),
        ("loosening", ("warning", "loosens")),
        ("missing", ("problem", "cannot be read")),
    ],
)
def test_the_doctor_says_what_beat_would_make_of_the_folder(
    tenure: Run, register: Callable[..., Any], folder: Path, case: str, told: tuple[str, str]
) -> None:
    status, word = told
    register("conv_1")
    policies = folder / "policies"
    file = policies / "retention.yaml"
    if case == "broken":
        (policies / "bad.yaml").write_text("kind: nonsense\n")
    elif case == "loosening":
        file.write_text(file.read_text().replace("after: 30d  ", "after: 20d  "))
    elif case == "missing":
        shutil.rmtree(policies)
    code = int(status == "problem")
    rows = {one["check"]: one for one in tenure("doctor", "-o", "json", code=code).json}
    assert rows["policies folder"]["status"] == status
    assert word in rows["policies folder"]["what"]
    assert bool(rows["policies folder"]["repair"]) is (status != "ok")
    assert rows["policies"]["status"] == "ok"
    assert "policies folder" in tenure("doctor", code=code).out
