"""A real browser shows the certificate: no network is asked, nothing said on the console, and it prints."""

from __future__ import annotations

import io
import re
import shutil
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # Whatever the page asked of the network would fail, and say so on the console.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="absent: chromium")
Browse = Callable[..., str]


@pytest.fixture
def page(whole: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "certificate.html"
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        path.write_bytes(archive.read("certificate.html"))
    return path


@pytest.fixture
def browse(page: Path, tmp_path: Path) -> Browse:
    """Open the page and return what the browser said on its console and of the network."""

    def opened(*flags: str) -> str:
        command = [str(BROWSER), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
        (tmp_path / "dom.html").write_text(done.stdout)
        return "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line or "net::" in line)

    return opened


def test_it_renders_without_network_and_without_a_word_on_the_console(browse: Browse, tmp_path: Path) -> None:
    shot = tmp_path / "page.png"
    assert browse("--window-size=1000,1800", f"--screenshot={shot}") == ""
    raw = shot.read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", raw[16:24]) == (1000, 1800)
    # A white page of this size packs to a few thousand bytes.
    assert len(raw) > 50_000


def test_the_browser_reads_the_exceptions_first(browse: Browse, tmp_path: Path) -> None:
    assert browse("--dump-dom") == ""
    dom = (tmp_path / "dom.html").read_text()
    heads = re.findall(r"<h2>(.*?)</h2>", dom)
    assert heads[:3] == ["Exceptions", "Threads by grade", "Reconciliation"]
    assert "4 of 7 graded threads may not be called deleted." in dom
    assert not re.search(r"<(script|img|link|iframe|object)\b", dom)


def test_its_long_table_is_printed_with_its_head_on_every_page(
    page: Path, browse: Browse, tmp_path: Path
) -> None:
    """A head that is repeated takes room: more pages than the rows alone."""
    text = page.read_text()
    (row,) = re.findall(r"<tr><td>absent</td>.*?</tr>", text)
    page.write_text(text.replace(row, row * 200))
    pages = _pages(browse, tmp_path / "long.pdf")
    page.write_text(
        page.read_text().replace("thead { display: table-header-group; }", "thead { display: none; }")
    )
    assert pages > _pages(browse, tmp_path / "bare.pdf") > 4


def _pages(browse: Browse, printed: Path) -> int:
    assert browse("--no-pdf-header-footer", f"--print-to-pdf={printed}") == ""
    return len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes()))


def test_it_prints_on_few_pages(browse: Browse, tmp_path: Path) -> None:
    printed = tmp_path / "page.pdf"
    assert browse("--no-pdf-header-footer", f"--print-to-pdf={printed}") == ""
    raw = printed.read_bytes()
    assert raw.startswith(b"%PDF-")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", raw)) <= 4
