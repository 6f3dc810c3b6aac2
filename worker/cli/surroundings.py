"""What `tenure doctor --projects` tells of a project's surroundings: ambient variables, trust, retention."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from worker.cli.check import Check, Status
from worker.policy.document import Project
from worker.providers.organization import RetentionSetting
from worker.providers.transport import trust_store

# What other HTTP clients obey, in both spellings.
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
_TRUST = {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}


def ambient(projects: Iterable[Project], environ: Mapping[str, str]) -> Iterator[Check]:
    """Tell of variables that other programs obey; only their names, for one may hold a key."""
    used = {key.env for project in projects for key in (project.api_key, project.admin_key) if key}
    names = sorted(name for name in environ if _is_ambient(name) and name not in used)
    if names:
        what = f"{', '.join(names)}: set, and ignored; only Project documents say where requests go."
        repair = "Nothing is needed; unset what nothing else uses."
        yield Check(check="environment", status=Status.INFO, what=what, repair=repair)


def _is_ambient(name: str) -> bool:
    return name.startswith("OPENAI_") or name in _TRUST or name.upper() in _PROXIES


def trust() -> Check:
    """Tell whom this machine trusts to vouch for a provider."""
    places, authorities = trust_store()
    told = places or "the system's own store"
    if authorities == 0 and not places:
        what = "No certificate authority is known: every https request would fail."
        repair = "Install the system's certificates (the package is often called ca-certificates)."
        return Check(check="trust store", status=Status.PROBLEM, what=what, repair=repair)
    loaded = "" if authorities is None else f": {authorities} authorities loaded"
    return Check(check="trust store", status=Status.OK, what=f"{told}{loaded}")


def retention(project: Project, told: RetentionSetting) -> Check:
    """Tell how the organisation of a project is configured, or why that is not known."""
    check = f"project {project.name} retention"
    if told.type is not None:
        what = f"The organisation's data retention is {told.type}."
        return Check(check=check, status=Status.OK, what=what)
    what = f"The organisation's data retention is not known: {told.why.rstrip('.')}."
    repair = "Let admin_key name a key of the organisation that may read its settings, or leave it out."
    return Check(check=check, status=Status.WARNING, what=what, repair=repair)
