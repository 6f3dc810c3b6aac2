"""The same commands over the network, and what becomes of answers that are no answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.ran import Run
from worker.cli.client import Answer, Call, Client, Refused
from worker.cli.local import local
from worker.jobs.exporting import ExportMaker


def test_commands_work_the_same_over_http(tenure: Run, service: str, folder: Path) -> None:
    del service
    made = tenure("register", "conv_1", "--project", "demo-support", "--owner", "me", "-o", "json").json
    (folder / "ids.txt").write_text("conv_2\nrun_3\n")
    done = tenure("import", "ids.txt", "--project", "demo-support", "--owner", "me", "-o", "json", code=1)
    assert (done.json["created"], done.json["invalid"]) == (1, 1)
    assert {one["external_id"] for one in tenure("threads", "list", "-o", "jsonl").lines} == {
        "conv_1",
        "conv_2",
    }
    assert tenure("threads", "show", "conv_1", "-o", "json").json == made
    assert tenure("hold", "place", "--matter", "m", "--reason", "r", "--id", "conv_1", "-o", "json").json[
        "matched"
    ]
    assert (
        tenure("audit", "list", "-o", "jsonl", "--type", "hold.placed").lines[0]["actor"].startswith("key:")
    )
    doctored = tenure("doctor", "-o", "json")
    assert [one["check"] for one in doctored.json] == ["settings", "service", "ready"]
    assert "Nothing needs a person" not in doctored.err
    assert "/readyz" in doctored.err


def test_a_key_that_does_not_stand_is_refused_with_the_repair(
    tenure: Run, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del service
    for key in ("", "tnr_x_y_z"):
        monkeypatch.setenv("TENURE_API_KEY", key)
        assert "TENURE_API_KEY" in tenure("threads", "list", code=1).err


def test_a_right_that_a_key_lacks_is_named(tenure: Run, service: str) -> None:
    del service
    tenure("hold", "place", "--matter", "m", "--reason", "r", "--owner", "me")
    hold = tenure("hold", "list", "-o", "json").json[0]["id"]
    assert "holds:release" in tenure("hold", "release", hold, "--reason", "r", code=1).err


def test_nobody_at_the_url_is_exit_5(tenure: Run, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("TENURE_URL", f"http://127.0.0.1:{port}")
    assert "does not answer" in tenure("threads", "list", code=5).err
    assert not (folder / "data").exists()


def test_a_url_that_is_none_is_a_usage_error(tenure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENURE_URL", "tenure.example.com")
    assert "TENURE_URL" in tenure("threads", "list", code=2).err


def test_an_export_is_made_by_the_service_fetched_and_verified(
    tenure: Run, service: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del service
    tenure("register", "conv_1", "--project", "demo-support", "--owner", "me")
    asked = ("audit", "export", "--project", "demo-support", "--owner", "me", "--out", "e.zip", "-o", "json")
    with local() as wired:
        making = ExportMaker(wired)
        making.start()
        try:
            made = tenure(*asked).json
            refused = tenure(
                *[part.replace("me", "nobody") if part == "me" else part for part in asked], code=1
            )
        finally:
            making.stop()
    assert "No thread of project demo-support has this owner" in refused.err
    assert (folder / "e.zip").stat().st_size == made["bytes"]
    assert [one.name for one in folder.glob(".e.zip*")] == []
    monkeypatch.delenv("TENURE_URL")
    assert tenure("audit", "verify", "e.zip", "-o", "json").json["verified"]


class _Answers:
    """Gives the prepared answers in turn, and keeps what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.calls: list[Call] = []

    def send(self, call: Call) -> Answer:
        self.calls.append(call)
        return self._answers.pop(0)


def _page(ids: Sequence[str], *, more: bool) -> Answer:
    page = {"data": [{"id": one} for one in ids], "last_id": ids[-1] if ids else None, "has_more": more}
    return Answer(status=200, body=json.dumps(page).encode())


def test_pages_are_asked_for_until_there_are_no_more() -> None:
    wire = _Answers(_page(["a", "b"], more=True), _page(["c"], more=False))
    assert [one["id"] for one in Client(wire).listed("/v1/x", {"project": None, "kind": "file"})] == [
        "a",
        "b",
        "c",
    ]
    assert [dict(call.params) for call in wire.calls] == [
        {"kind": "file", "limit": "100"},
        {"kind": "file", "limit": "100", "after": "b"},
    ]


def test_a_limit_is_never_exceeded_and_asks_for_no_page_too_many() -> None:
    wire = _Answers(_page(["a", "b"], more=True))
    assert len(list(Client(wire).listed("/v1/x", limit=2))) == 2
    assert wire.calls[0].params["limit"] == "2"


def test_a_server_that_always_claims_more_ends() -> None:
    assert list(Client(_Answers(_page([], more=True))).listed("/v1/x")) == []


@pytest.mark.parametrize(
    ("status", "body", "code", "told"),
    [
        (502, b"<html>bad gateway</html>", 5, "502"),
        (404, b'{"detail": "Not Found"}', 1, "404"),
        (500, b"[]", 1, "500"),
        (503, b'{"code": "no_bundle", "detail": "None."}', 5, "None."),
        (409, b'{"code": "conflict", "detail": "Other.", "diff": [{"field": "ttl"}]}', 1, "ttl"),
        (
            422,
            b'{"code": "invalid", "detail": "No.", "errors": [{"pointer": "/a", "detail": "b"}]}',
            1,
            "/a: b",
        ),
        (301, b"", 1, "301"),
    ],
)
def test_every_refusal_is_told(status: int, body: bytes, code: int, told: str) -> None:
    with pytest.raises(Refused) as refused:
        Client(_Answers(Answer(status=status, body=body))).get("/v1/x")
    assert told in refused.value.problem
    assert refused.value.exit_code == code


def test_an_import_that_broke_off_in_the_middle_is_told() -> None:
    summary = {"object": "summary", "lines": 1, "error": {"code": "unavailable", "detail": "Gone."}}
    body = b'{"line": 1, "status": "created"}\n' + json.dumps(summary).encode()
    with pytest.raises(Refused, match="Gone"):
        Client(_Answers(Answer(status=200, body=body))).bulk([b"{}", b"{}"], dry_run=False)
