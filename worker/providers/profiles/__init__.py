"""Profiles: how one family of servers answers, as YAML beside this file or given by a project."""

from __future__ import annotations

from worker.providers.profiles.family import Profile
from worker.providers.profiles.read import BadProfile
from worker.providers.profiles.shipped import (
    SHIPPED,
    UnknownProfile,
    check_profile,
    load_profile,
    profile,
)

__all__ = ["SHIPPED", "BadProfile", "Profile", "UnknownProfile", "check_profile", "load_profile", "profile"]
