"""The verifier runs where nothing is importable but the standard library and cryptography."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# cryptography's own dependency, which its wheel needs on this machine.
_BESIDE = ("cryptography", "_cffi_backend", "typing_extensions")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the worker package, of it only the floors of the verifier, and cryptography."""
    folder = tmp_path / "site"
    package = folder / "worker"
    package.mkdir(parents=True)
    (package / "__init__.py").symlink_to(ROOT / "worker" / "__init__.py")
    for floor in ("audit", "model"):
        (package / floor).symlink_to(ROOT / "worker" / floor)
    for name in _BESIDE:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin:
            found = Path(spec.origin)
            source = found.parent if found.name == "__init__.py" else found
            (folder / source.name).symlink_to(source)
    return folder


def _run(site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    # -I: no variable and no folder of the caller; -S: no site-packages. What is left is the standard library.
    program = (
        f"import sys; sys.path.append({str(site)!r}); sys.argv[1:] = {list(args)!r}; "
        "import runpy; runpy.run_module('worker.audit', run_name='__main__')"
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_nothing_else_is_importable_there(site: Path) -> None:
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(site)!r}); import orjson"]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 1


def test_an_auditor_can_run_it_alone(site: Path, tmp_path: Path, whole: bytes) -> None:
    bundle, keys = tmp_path / "bundle.zip", tmp_path / "keys.txt"
    bundle.write_bytes(whole)
    import zipfile

    with zipfile.ZipFile(bundle) as archive:
        keys.write_bytes(archive.read("keys.txt"))
    done = _run(site, str(bundle), "--keys", str(keys))
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert (done.returncode, told["verified"], told["key_authenticated"]) == (0, True, True)
    bundle.write_bytes(whole[:-40])
    done = _run(site, str(bundle))
    assert (done.returncode, json.loads(done.stdout)["verified"]) == (6, False)
    assert _run(site, "nowhere.zip").returncode == 2
    for wrong in (b"no key\n", b"\xff", b"", b"\0" * (1 << 20) + b"\0"):
        keys.write_bytes(wrong)
        for option in ("--keys", "--anchor")[: 1 if wrong in {b"no key\n", b""} else 2]:
            done = _run(site, str(bundle), option, str(keys))
            assert (done.returncode, done.stdout) == (2, "")
            assert 0 < len(done.stderr) < 1000


def test_a_range_and_single_entries_need_no_more(site: Path) -> None:
    program = (
        f"import sys; sys.path.append({str(site)!r}); import worker.audit.verify; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    loaded = {name for name in done.stdout.split() if not name.startswith("_")}
    assert loaded <= {"worker", "cryptography", "cython_runtime", "typing_extensions"}
