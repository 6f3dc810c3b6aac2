"""Figures and goals as tables: on the terminal, and in the generated block of docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench.tasks import Measured

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
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
        return f"Load average at the end: {os.getloadavg()[1]:.1f}."

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
        """Replace the generated block of the document."""
        before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        DOCUMENT.write_text(f"{before}{BEGIN}\n\n{self.text}\n\n{END}{after}", encoding="utf-8")


def _machine() -> list[str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return [
        f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB",
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}",
    ]
