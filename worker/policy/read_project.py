"""Read one Project document: a provider account, where its key is found, and its pace."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from worker.model.thread import Account
from worker.policy.document import KeyRef, OnPartial, Project, Provider, Rate
from worker.policy.findings import Refused
from worker.policy.match import glob_matches
from worker.policy.nodes import Node
from worker.policy.read_profile import CheckProfile, profile_reader, shape_only
from worker.policy.readers import Fields, Path, Reader, all_done, choice, list_of, number, scalar, text, whole

DEFAULT_KEY_GLOBS = ("OPENAI_API_KEY*", "TENURE_KEY_*", "/run/secrets/*")

_OPENAI_URL = "https://api.openai.com/v1"
RATE = re.compile(r"([1-9][0-9]{0,8})/(s|min|h)")
_ZERO = re.compile(r"0+/(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_PORTS = {"https": 443, "http": 80}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_DEFAULT_RATE = Rate(limit=5.0)
_DEFAULT_CONCURRENCY = 16
_MAX_CONCURRENCY = 64
CONTROLS = ("sibling", "canary")


def read_project(
    metadata: Node,
    spec: Node,
    path: Path,
    *,
    key_globs: Sequence[str],
    check_profile: CheckProfile = shape_only,
) -> Project:
    """Read metadata and spec; raises Refused when anything was noted as an error."""
    about = Fields(metadata, path.down("metadata"))
    name = about.required("name", text)
    owner = about.required("owner", text)
    about.optional("ticket", text, "")
    fields = Fields(spec, path.down("spec"))
    provider = fields.required("provider", choice(Provider))
    base_url = _base_url(fields, provider)
    project = Project(
        name=name,
        owner=owner,
        account=Account(
            provider=provider,
            base_url=base_url,
            organization=fields.optional("organization", text, ""),
            provider_project=fields.optional("provider_project", text, ""),
        ),
        api_key=fields.required("api_key", _key_ref(key_globs, "api_key")),
        rate=fields.optional("rate", _rate, _DEFAULT_RATE),
        concurrency=fields.optional("concurrency", whole(1, _MAX_CONCURRENCY), _DEFAULT_CONCURRENCY),
        controls=fields.optional("controls", _controls, CONTROLS),
        on_partial=fields.optional("on_partial", choice(OnPartial), OnPartial.KEEP),
        profile=fields.optional("profile", profile_reader(check_profile), provider),
        admin_key=fields.optional("admin_key", _key_ref(key_globs, "admin_key"), None),
    )
    all_done(about, fields)
    return project


def _base_url(fields: Fields, provider: Provider | None) -> str:
    if provider is Provider.OPENAI:
        given = fields.optional("base_url", _url, _OPENAI_URL)
        # OpenAI serves nothing without /v1, so both spellings are one account; elsewhere nobody can know.
        return _OPENAI_URL if given == _OPENAI_URL.removesuffix("/v1") else given
    return fields.required("base_url", _url)


def _url(node: Node, path: Path) -> str:
    """Read an address and write it one way: small letters, no default port, no slash at the end."""
    try:
        parts = urlsplit(text(node, path))
        port = parts.port
    except ValueError:
        raise _bad_url(node, path, "is not an address.") from None
    host = parts.hostname or ""
    if parts.scheme not in _PORTS or not host or not re.fullmatch(r"[a-z0-9._:-]+", host):
        raise _bad_url(node, path, "must be an https address.")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise _bad_url(node, path, "must hold no user, password, query or fragment.")
    if parts.scheme == "http" and not _is_loopback(host):
        raise _bad_url(node, path, "must be https unless it is loopback: the key would travel in the clear.")
    return f"{parts.scheme}://{_authority(parts, host, port)}{parts.path.rstrip('/')}"


def _authority(parts: SplitResult, host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if port in {None, _PORTS[parts.scheme]} else f"{shown}:{port}"


def _bad_url(node: Node, path: Path, what: str) -> Refused:
    return path.notes.error(node, "RP029", f"{path.label} {what}", f'Write for example "{_OPENAI_URL}".')


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key_ref(key_globs: Sequence[str], name: str) -> Reader[KeyRef]:
    def read(node: Node, path: Path) -> KeyRef:
        fields = Fields(node, path)
        env = fields.optional("env", scalar, None)
        file = fields.optional("file", scalar, None)
        if fields.has("env") == fields.has("file"):
            fields.refuse(node, "RP030", f"{name} needs exactly one of env and file.", "Write {env: NAME}.")
        named = env or file
        # The value is never repeated: it may be a key that was pasted here by mistake.
        if named and not (
            _well_formed(named.text, is_file=named is file) and _allowed(named.text, key_globs)
        ):
            fields.refuse(
                named,
                "RP030",
                f"{name} names no variable or file of the allow-list ({', '.join(key_globs)}).",
                "Name one that is on it, or extend TENURE_PROVIDER_KEYS.",
            )
        fields.done()
        return KeyRef(env=env.text if env else None, file=file.text if file else None)

    return read


def _well_formed(name: str, *, is_file: bool) -> bool:
    if not is_file:
        return _VARIABLE.fullmatch(name) is not None
    # "/run/secrets/../../etc/shadow" would fit the glob and lead elsewhere.
    return name.isprintable() and posixpath.isabs(name) and posixpath.normpath(name) == name


def _allowed(name: str, key_globs: Sequence[str]) -> bool:
    return any(glob_matches(pattern, name) for pattern in key_globs)


def _rate(node: Node, path: Path) -> Rate:
    fields = Fields(node, path)
    rate = Rate(
        limit=fields.required("limit", _per_second),
        reads=fields.optional("reads", _per_second, None),
        burst=fields.optional("burst", whole(1, 1000), 1),
        share=fields.optional("share", number(0.01, 1), 0.8),
    )
    fields.done()
    return rate


def _per_second(node: Node, path: Path) -> float:
    text = scalar(node, path).text
    if _ZERO.fullmatch(text):
        # Read as written it would mean "never", which has a switch that says so in the log.
        raise path.notes.error(
            node,
            "RP028",
            f"{path.label} is zero.",
            'Write for example "5/s", or pause the project: tenure pause.',
        )
    found = RATE.fullmatch(text)
    if found is None:
        raise path.notes.error(
            node, "RP028", f"{path.label} is not a rate.", 'Write "300/min", "5/s" or "1000/h".'
        )
    return int(found[1]) / _SECONDS[found[2]]


def _controls(node: Node, path: Path) -> tuple[str, ...]:
    given = list_of(_control)(node, path)
    return tuple(name for name in CONTROLS if name in given)


def _control(node: Node, path: Path) -> str:
    word = scalar(node, path).text
    if word not in CONTROLS:
        raise path.notes.error(node, "RP026", f'{path.label} "{word}" is unknown.', "Use sibling and canary.")
    return word
