"""Which lane a project's requests wait in, as the real wiring makes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.policy.document import Project
from worker.policy.load import load_texts
from worker.providers.keys import KeyMissing, KeyNotAllowed
from worker.settings import load_settings
from worker.wiring import wire


def _project(name: str, *, base_url: str = "https://api.openai.com/v1", key: str = "TENURE_KEY_A") -> Project:
    text = f"""
apiVersion: retention/v1
kind: Project
metadata: {{name: {name}, owner: o}}
spec:
  provider: openai
  base_url: {base_url}
  api_key: {{env: {key}}}
  rate: {{limit: 5/s, reads: 10/s}}
"""
    bundle = load_texts({"a.yaml": text}, key_globs=["*"]).bundle
    assert bundle is not None
    return bundle.projects[name]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TENURE_KEY_A", raising=False)


def test_two_projects_on_one_credential_wait_in_the_same_lanes_with_one_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TENURE_KEY_A", "sk-a")
    tools = wire(load_settings(), role="test").tools()
    one, two = _project("one"), _project("two", base_url="https://api.openai.com/")
    assert one.credential == two.credential
    assert tools.lanes_for(one) == tools.lanes_for(two)
    assert tools.provider_for(one) is tools.provider_for(two)
    reads, writes = tools.lanes_for(one)
    assert reads is not writes


def test_another_key_or_another_account_has_lanes_of_its_own() -> None:
    tools = wire(load_settings(), role="test").tools()
    own = tools.lanes_for(_project("one"))
    for other in (_project("two", key="TENURE_KEY_B"), _project("two", base_url="https://x.example/v1")):
        assert not set(own) & set(tools.lanes_for(other))


def test_a_project_without_a_key_has_lanes_and_no_client() -> None:
    tools = wire(load_settings(), role="test").tools()
    with pytest.raises(KeyMissing, match="TENURE_KEY_A"):
        tools.provider_for(_project("one"))
    with pytest.raises(KeyNotAllowed, match="HOME"):
        tools.provider_for(_project("two", key="HOME"))
    assert len(tools.lanes_for(_project("one"))) == 2
