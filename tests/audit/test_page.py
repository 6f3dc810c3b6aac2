"""The page for people is made anew by whoever verifies: its maker holds the key, and could write anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.audit.mutations import signed_again, unzip
from tests.audit.test_hostile import Check, told
from worker.audit import certificate, dsse
from worker.audit.manifest import Manifest
from worker.audit.note import Ed25519Signer
from worker.audit.tally import Tally

PAGE = "certificate.html"
FORM = b'<meta name="generator" content="tenure certificate 1">\n'
ANCHORED = b"No anchor is known."


def changed(whole: bytes, signer: Ed25519Signer, change: Callable[[bytes], bytes]) -> bytes:
    """Return the bundle with another page, signed by the key that signed it before."""
    members = unzip(whole)
    page = change(members[PAGE])
    assert page != members[PAGE]
    return signed_again({**members, PAGE: page}, signer)


@pytest.mark.parametrize(
    "change",
    [
        lambda page: page.replace(b"</body>", b"<p>all deleted</p></body>"),
        lambda page: page.replace(b'class="n">1<', b'class="n">9<', 1),
        lambda page: page.replace(b"conv_absent", b"conv_other"),
        lambda page: page.replace(b"may not be called deleted", b"were deleted"),
        lambda page: page.replace(ANCHORED, b"Anchored.</p><p>All of it is <b>erased</b>."),
        lambda page: page.replace(ANCHORED, b"a" * 10_001),
        lambda page: page + b"\n",
        lambda page: b"\n" + page,
        lambda page: page[: len(page) // 2],
    ],
    ids=[
        "another sentence",
        "a count",
        "an id",
        "other words",
        "markup in the sentence on anchors",
        "a sentence without end",
        "something behind it",
        "something before it",
        "half of it",
    ],
)
def test_a_page_that_the_entries_do_not_make_is_told(
    change: Callable[[bytes], bytes], whole: bytes, signer: Ed25519Signer, check: Check
) -> None:
    assert "the page is not the one that these entries make" in told(check(changed(whole, signer, change)))


def test_the_sentence_on_anchors_is_taken_as_it_is(whole: bytes, signer: Ed25519Signer, check: Check) -> None:
    other = b"Anchored at 2026-11-02T00:00:00Z in: folder (up to size 41)."
    report = check(changed(whole, signer, lambda page: page.replace(ANCHORED, other)))
    assert (report.problems, report.verified) == ((), True)


def test_of_a_page_of_another_form_it_is_said_that_it_was_not_made_anew(
    whole: bytes, signer: Ed25519Signer, check: Check
) -> None:
    report = check(changed(whole, signer, lambda page: page.replace(FORM, b"")))
    assert (report.problems, report.verified) == ((), True)
    assert any("certificate.html" in note for note in report.notes)
    assert not any("certificate.html" in note for note in check(whole).notes)


def test_a_page_that_is_no_text_is_told(whole: bytes, signer: Ed25519Signer, check: Check) -> None:
    assert "the page is no text" in told(check(changed(whole, signer, lambda page: b"\xff" + page)))


def test_a_text_with_the_mark_of_the_open_sentence_opens_no_other_place(whole: bytes) -> None:
    stated = Manifest.from_bytes(dsse.payload_of(unzip(whole)["manifest.dsse.json"]))
    tally = Tally(start=stated.start, end=stated.end)
    marked = replace(stated, scope="owner", of="a\0b")
    page = certificate.render(
        replace(marked, of="a, whose threads are all gone, b"), tally, note="", anchored="\0"
    )
    assert not certificate.is_made_of(page, marked, tally, note="")
    assert certificate.is_made_of(
        certificate.render(stated, tally, note="", anchored="x"), stated, tally, note=""
    )
