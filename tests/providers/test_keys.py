from __future__ import annotations

from pathlib import Path

import pytest

from worker.model.clock import SystemClock
from worker.model.thread import Account
from worker.policy.document import KeyRef
from worker.providers.keys import KeyMissing, KeyNotAllowed, resolve_key
from worker.providers.openai import OpenAIProvider
from worker.providers.profiles import profile

ALLOWED = ("OPENAI_API_KEY*", "TENURE_KEY_*", "/run/secrets/*")


def test_a_key_comes_from_the_named_variable() -> None:
    environ = {"OPENAI_API_KEY_EU": " sk-1\n", "OPENAI_API_KEY": "sk-other"}
    assert resolve_key(KeyRef(env="OPENAI_API_KEY_EU"), allowed=ALLOWED, environ=environ) == "sk-1"


def test_the_process_environment_is_where_variables_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENURE_KEY_EU", "sk-2")
    assert resolve_key(KeyRef(env="TENURE_KEY_EU"), allowed=ALLOWED) == "sk-2"


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_a_missing_variable_is_named(value: str | None) -> None:
    environ = {} if value is None else {"OPENAI_API_KEY": value}
    with pytest.raises(KeyMissing, match="OPENAI_API_KEY holds no provider key"):
        resolve_key(KeyRef(env="OPENAI_API_KEY"), allowed=ALLOWED, environ=environ)


@pytest.mark.parametrize("value", ["sk-1\nX-Header: y", "sk 1", "sk-\u00e9", "k" * 20_000])
def test_what_could_not_be_one_header_value_is_no_key_and_is_not_repeated(value: str) -> None:
    with pytest.raises(KeyMissing) as raised:
        resolve_key(KeyRef(env="OPENAI_API_KEY"), allowed=ALLOWED, environ={"OPENAI_API_KEY": value})
    assert value not in str(raised.value)


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "openai_api_key", "X_OPENAI_API_KEY", "HOME"])
def test_a_variable_outside_the_allow_list_is_never_read(name: str) -> None:
    with pytest.raises(KeyNotAllowed, match=name) as raised:
        resolve_key(KeyRef(env=name), allowed=ALLOWED, environ={name: "secret-value"})
    assert "TENURE_PROVIDER_KEYS" in raised.value.repair
    assert "secret-value" not in str(raised.value)


def test_a_key_comes_from_the_named_file(tmp_path: Path) -> None:
    (tmp_path / "eu").write_text("sk-3\n")
    assert resolve_key(KeyRef(file=str(tmp_path / "eu")), allowed=[f"{tmp_path}/*"]) == "sk-3"


@pytest.mark.parametrize(
    "path", ["/run/secrets/../../etc/passwd", "/run/secrets//x", "run/secrets/x", "", "/etc/passwd"]
)
def test_a_path_cannot_leave_the_allowed_folder(path: str) -> None:
    with pytest.raises(KeyNotAllowed):
        resolve_key(KeyRef(file=path), allowed=ALLOWED)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("absent", "binary"):
        with pytest.raises(KeyMissing, match=name):
            resolve_key(KeyRef(file=str(tmp_path / name)), allowed=[f"{tmp_path}/*"])


def test_a_provider_without_a_key_is_never_made() -> None:
    account = Account(provider="openai", base_url="http://127.0.0.1:1/v1")
    with pytest.raises(KeyMissing):
        OpenAIProvider(account, "", profile("openai"), SystemClock())
