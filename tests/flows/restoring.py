"""Really restoring an older database, while the anchors stay where they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from psycopg import sql
from sqlalchemy import make_url

from tests.servers.postgres import connect
from tests.world.world import World
from worker.anchors.folder import FolderAnchor
from worker.flows.anchor import anchor
from worker.flows.seal import Sealer, seal
from worker.store.log import Seal


@dataclass(slots=True, kw_only=True)
class Restorable:
    """A world whose log is anchored in a folder, and whose database can be put back to what it was."""

    world: World
    folder: Path
    url: str
    backup: str

    @property
    def sealer(self) -> Sealer:
        return replace(self.world.sealer, anchors=[FolderAnchor(self.folder)])

    def seal(self) -> Seal:
        """Sign what is there and bring it to the anchor."""
        made = seal(self.world.database, self.sealer, clock=self.world.clock, force=True)
        anchor(self.world.database, self.sealer.log, clock=self.world.clock)
        assert made is not None
        return made

    def back_up(self) -> None:
        """Copy the database as it is, with the means of its own kind."""
        self.world.database.dispose()
        _copy(self.url, self.backup)

    def restore(self) -> None:
        """Put the copy in the database's place."""
        self.world.database.dispose()
        _copy(self.backup, self.url)


def _copy(source: str, target: str) -> None:
    if source.startswith("sqlite"):
        _copy_file(_file(source), _file(target))
    else:
        _copy_postgres(source, target)


def _file(url: str) -> Path:
    return Path(cast("str", make_url(url).database))


def _copy_file(source: Path, target: Path) -> None:
    for one in target.parent.glob(f"{target.name}*"):
        one.unlink()
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def _copy_postgres(source: str, target: str) -> None:
    """Make the target anew as a copy of the source; whoever is connected to either is cut off."""
    old, new = make_url(source), make_url(target)
    with connect(old.set(database="postgres")) as server:
        server.execute(_drop(cast("str", new.database)))
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        server.execute(cut, [old.database])
        names = sql.Identifier(cast("str", new.database)), sql.Identifier(cast("str", old.database))
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))


def _drop(name: str) -> sql.Composed:
    return sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
