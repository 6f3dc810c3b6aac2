"""Figures and goals as tables: on the terminal, and in the generated blocks of docs/benchmarks.md.

Each part of `make bench` has a block of its own and replaces only that: a run of one part keeps the others.
"""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psycopg
from redis import Redis
from sqlalchemy import make_url

from tests.bench.tasks import Measured
from worker.model.clock import SystemClock

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
PLANNING = "planning"
MOST_MEGABYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The median of several runs of one thing; ``rows`` is what one run did."""

    engine: str
    what: str
    seconds: float
    rows: int
    megabytes: float

    @classmethod
    def of(cls, engine: str, what: str, runs: Sequence[Measured]) -> Figure:
        return cls(
            engine=engine,
            what=what,
            seconds=median(one.seconds for one in runs),
            rows=runs[0].rows,
            megabytes=max(one.megabytes for one in runs),
        )

    @property
    def each(self) -> float:
        """Seconds per row."""
        return self.seconds / max(1, self.rows)

    @property
    def line(self) -> str:
        rate = f"{self.rows / self.seconds:,.0f}/s"
        return (
            f"| {self.engine} | {self.what} | {self.rows:,} | {self.seconds:.3f} s | {rate}"
            f" | {self.megabytes:.0f} MB |"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A measured value beside the most that it should be; None asks for nothing."""

    engine: str
    what: str
    value: float
    most: float | None
    unit: str = "x"

    @property
    def line(self) -> str:
        if self.most is None:
            return f"| {self.engine} | {self.what} | {self.value:.2f}{self.unit} | | |"
        verdict = "met" if self.value <= self.most else "**missed**"
        wanted = f"{self.most:g}{self.unit}"
        return f"| {self.engine} | {self.what} | {self.value:.2f}{self.unit} | {wanted} | {verdict} |"


@dataclass(slots=True, kw_only=True)
class Report:
    """Everything that one run of the benchmarks measured."""

    size: int
    figures: list[Figure] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)

    @property
    def note(self) -> str:
        """How busy the machine was: others' work slows all of it, and commits most."""
        return f"Measured on {_today()}. {_load()}"

    @property
    def text(self) -> str:
        where = "; ".join([f"{self.size:,} threads", *_machine(), *self.servers])
        how = "Median of three runs where nothing else is said, each in a process of its own."
        memory = "Memory is the most that any of these held; that of PostgreSQL's server is left out."
        return "\n".join(
            [
                f"{where}. {self.note}",
                f"{how} {memory}",
                "",
                "| database | what | seen | goal | |",
                "|---|---|---|---|---|",
                *(one.line for one in self.goals),
                "",
                "| database | what | threads | time | rate | memory |",
                "|---|---|---|---|---|---|",
                *(one.line for one in self.figures),
            ]
        )

    def write(self) -> None:
        """Replace the generated block of planning."""
        write_block(PLANNING, self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A measured value beside its goal: at least, at most, or neither; ``why`` tells of a miss."""

    what: str
    value: float
    least: float | None = None
    most: float | None = None
    unit: str = "x"
    why: str = ""

    @property
    def met(self) -> bool:
        """Whether no goal is missed."""
        too_little = self.least is not None and self.value < self.least
        return not too_little and (self.most is None or self.value <= self.most)

    @property
    def row(self) -> list[str]:
        """The cells: what, seen, goal, verdict."""
        seen = f"{self.value:,.2f}{self.unit}"
        if self.least is None and self.most is None:
            return [self.what, seen, "", ""]
        least = [f"at least {self.least:g}{self.unit}"] if self.least is not None else []
        most = [f"at most {self.most:g}{self.unit}"] if self.most is not None else []
        verdict = "met" if self.met else f"**missed**{': ' if self.why else ''}{self.why}"
        return [self.what, seen, ", ".join(least + most), verdict]


@dataclass(slots=True, kw_only=True)
class Section:
    """One part of the report, written by its own test into its own block of the document.

    The document must have the block's two lines already (see `write_block`).
    """

    name: str
    servers: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        """Add a paragraph."""
        self.lines += [sentence, ""]

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table."""
        self.lines += [*_table(columns, rows), ""]

    def aim(
        self,
        what: str,
        value: float,
        *,
        least: float | None = None,
        most: float | None = None,
        unit: str = "x",
        why: str = "",
    ) -> None:
        """Add a line to the goals, which come first."""
        self.aims.append(Aim(what=what, value=value, least=least, most=most, unit=unit, why=why))

    @property
    def text(self) -> str:
        """Where it was measured, the goals, then what was added."""
        where = "; ".join([*_machine(), *self.servers])
        goals = (
            [*_table(["what", "seen", "goal", ""], [one.row for one in self.aims]), ""] if self.aims else []
        )
        parts = [f"Measured on {_today()}: {where}. {_load()}", "", *goals, *self.lines]
        return "\n".join(parts).rstrip()

    def write(self) -> None:
        """Replace this part's block in the document, and print it."""
        write_block(self.name, self.text)
        print(f"\n\n{self.name}\n{self.text}\n", flush=True)


def write_block(name: str, text: str) -> None:
    """Replace the generated block of that name; a document without it is refused, so that none is lost."""
    begin, end = f"<!-- make bench {name}: begin -->", f"<!-- make bench {name}: end -->"
    before, found, rest = DOCUMENT.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise BlockMissing(f"{DOCUMENT.name} has no block {begin} … {end}: write both lines where it belongs")
    DOCUMENT.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


class BlockMissing(LookupError):
    """The document does not say where this part goes."""


def describe_postgres(url: str) -> str:
    """Return version and the settings that matter of the server at this SQLAlchemy URL."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        version, buffers, fsync = (
            (connection.execute("select current_setting(%s)", [one]).fetchone() or ("",))[0]
            for one in ("server_version", "shared_buffers", "fsync")
        )
    return f"PostgreSQL {version.split()[0]} (shared_buffers {buffers}, fsync {fsync})"


def describe_redis(url: str) -> str:
    """Return name and version of the server."""
    with Redis.from_url(url) as client:
        told = client.info("server")
    name = str(told.get("server_name", "redis")).capitalize()
    return f"{name} {told.get('valkey_version', told['redis_version'])}"


def describe_packages(*names: str) -> str:
    """Return the versions of these installed packages."""
    return ", ".join(f"{name} {version(name)}" for name in names)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(one)} |" for one in cells]


def _today() -> str:
    return SystemClock().now().date().isoformat()


def _load() -> str:
    return f"Load average at the end: {os.getloadavg()[1]:.1f}."


def _machine() -> list[str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return [
        f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB",
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}",
    ]
