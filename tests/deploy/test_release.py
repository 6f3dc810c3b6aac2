"""A release is refused where version, changelog and tree disagree; the licences are those of the packages."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

VERSION = "9.9.9"
# Nothing that would bind whoever runs or changes Tenure; LGPL as a library that may be replaced.
FINE = re.compile(
    r"(?i)^(apache|mit|bsd|new bsd|\d-clause|0bsd|psf|python software|isc|mpl|mozilla|lgpl)[-\w. ()]*$"
)


@pytest.fixture
def clone(root: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "tenure"
    for name in ("deploy/release.sh", "deploy/build-image.sh", "worker/__init__.py", "CHANGELOG.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text((root / name).read_text())
    chart = folder / "deploy" / "helm" / "tenure" / "Chart.yaml"
    chart.parent.mkdir(parents=True)
    chart.write_text(f"version: {VERSION}\n")
    (folder / "worker" / "__init__.py").write_text(f'__version__ = "{VERSION}"\n')
    (folder / "CHANGELOG.md").write_text(f"## [{VERSION}] - 2026-11-28\n")
    git(folder, "init", "-q")
    commit(folder)
    return folder


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Tenure", "-c", "user.email=tenure@example.com"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "as it is")


def release(folder: Path, version: str = VERSION) -> tuple[int, str]:
    done = subprocess.run(
        ["sh", "deploy/release.sh", version],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "RELEASE_CHECKS": "no"},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("worker/__init__.py", '__version__ = "9.9.8"\n', "worker/__init__.py does not say 9.9.9"),
        ("CHANGELOG.md", "## [Unreleased]\n", "CHANGELOG.md has no line"),
        ("deploy/helm/tenure/Chart.yaml", "version: 1.0.0\n", "Chart.yaml does not say 9.9.9"),
    ],
)
def test_a_release_that_disagrees_with_the_tree_is_refused(
    clone: Path, file: str, text: str, told: str
) -> None:
    (clone / file).write_text(text)
    commit(clone)
    code, said = release(clone)
    assert (code, told in said) == (1, True), said
    assert git(clone, "tag") == ""


def test_changes_that_are_not_committed_are_refused(clone: Path) -> None:
    (clone / "CHANGELOG.md").write_text(f"## [{VERSION}] - 2026-11-28\n\nand more\n")
    assert release(clone) == (1, "no release: the tree has changes that are not committed\n")


def test_a_version_that_was_tagged_is_refused(clone: Path) -> None:
    git(clone, "tag", f"v{VERSION}")
    assert release(clone) == (1, f"no release: the tag v{VERSION} exists\n")


def test_the_chart_names_the_version_of_the_code(root: Path) -> None:
    from worker import __version__

    chart = (root / "deploy" / "helm" / "tenure" / "Chart.yaml").read_text()
    assert f"\nversion: {__version__}\n" in chart
    assert f'\nappVersion: "{__version__}"\n' in chart


def test_every_licence_is_stated_and_binds_nobody(root: Path) -> None:
    spec = importlib.util.spec_from_file_location("licences", root / "deploy" / "licences.py")
    assert spec is not None
    assert spec.loader is not None
    licences = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(licences)
    stated = dict(re.findall(r"^\| ([a-z0-9._-]+) \| (.+) \|$", licences.PAGE.read_text(), re.MULTILINE))
    for name in licences.locked():
        installed = licences.licence_of(name)
        if installed is not None:
            assert stated.get(name) == installed, "run `make licences`"
            for one in re.split(r" (?:AND|OR|or) |[()]", installed):
                assert not one.strip() or FINE.match(one.strip()), f"{name}: {installed}"
