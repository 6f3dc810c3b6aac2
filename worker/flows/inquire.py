"""Inquire: which data-retention setting the organisation of a project has, as its admin key may see it.

Only `tenure doctor` asks. The key is resolved here and goes nowhere else: into no entry, no log, no client
that deletes.
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.flows.tools import Tools
from worker.model.errors import TenureError
from worker.pacing.waiters import Rank
from worker.policy.document import Project, Provider
from worker.providers.keys import resolve_key
from worker.providers.organization import RetentionSetting, read_retention_setting


async def inquire(tools: Tools, project: Project, *, allowed: Sequence[str]) -> RetentionSetting | None:
    """Ask for the setting, None without an admin key; a failure is a reason and is not raised.

    ``allowed`` are the globs of TENURE_PROVIDER_KEYS.
    """
    if project.admin_key is None:
        return None
    if project.account.provider != Provider.OPENAI:
        return RetentionSetting(why="only provider openai has such a setting; nothing was asked")
    try:
        key = resolve_key(project.admin_key, allowed=allowed)
        reads, _ = tools.lanes_for(project)
        await reads.permit(Rank.READ, 0)
    except TenureError as e:
        return RetentionSetting(why=f"nothing was asked: {e.problem}")
    timeout = tools.lease.request_timeout.total_seconds()
    return await read_retention_setting(project.account, key, tools.clock, timeout=timeout)
