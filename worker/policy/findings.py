"""What is wrong with a bundle: one line per problem, with its place, a stable code and the repair."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

_MAX_MESSAGE = 500
# What a person can use of one file; the rest is counted, so that a hostile file costs no memory.
MOST_FINDINGS = 1000


class Severity(StrEnum):
    """An error refuses the whole bundle; a warning never does."""

    ERROR = "error"
    WARNING = "warning"


class Position(Protocol):
    """A place in a file, both counted from 1."""

    @property
    def line(self) -> int:
        """The line."""
        ...

    @property
    def col(self) -> int:
        """The column, in characters."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem. Without a line it concerns the whole file, or the bundle; ``why`` explains at length."""

    file: str
    line: int
    col: int
    code: str
    message: str
    fix: str = ""
    severity: Severity = Severity.ERROR
    why: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.col}" if self.line else self.file
        warning = "warning: " if self.severity is Severity.WARNING else ""
        return f"{place} {self.code} {warning}{self.message} {self.fix}".rstrip()


class Refused(Exception):
    """A value could not be read; its finding is noted already."""


class Notes:
    """Collects the findings of one file: the first thousand, and how many more there were."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0
        self.findings: list[Finding] = []

    @property
    def full(self) -> bool:
        """Whether further findings are counted only, so that nobody need work out their words."""
        return self.count >= MOST_FINDINGS

    def error(
        self, at: Position, code: str, message: str, fix: str = "", *, why: tuple[str, ...] = ()
    ) -> Refused:
        """Note an error; returns the exception for callers that cannot go on."""
        self._note(at, code, message, fix, severity=Severity.ERROR, why=why)
        return Refused(code)

    def warn(self, at: Position, code: str, message: str, fix: str = "") -> None:
        """Note a warning."""
        self._note(at, code, message, fix, severity=Severity.WARNING)

    def _note(
        self,
        at: Position,
        code: str,
        message: str,
        fix: str,
        *,
        severity: Severity,
        why: tuple[str, ...] = (),
    ) -> None:
        self.count += 1
        if self.count > MOST_FINDINGS:
            self._count_more(at, severity)
            return
        self.findings.append(
            Finding(
                file=self.file,
                line=at.line,
                col=at.col,
                code=code,
                message=_one_line(message),
                fix=_one_line(fix),
                severity=severity,
                why=tuple(_one_line(line) for line in why),
            )
        )

    def _count_more(self, at: Position, severity: Severity) -> None:
        """Keep the last finding for what is not listed: an error as soon as one of those is."""
        more = self.count - MOST_FINDINGS
        if more == 1:
            fix = "Repair the others first."
            self.findings.append(
                Finding(
                    file=self.file,
                    line=at.line,
                    col=at.col,
                    code="RP041",
                    message="",
                    fix=fix,
                    severity=severity,
                )
            )
        last = self.findings[-1]
        worst = Severity.ERROR if severity is Severity.ERROR else last.severity
        message = f"{more} more problems in this file are not listed."
        self.findings[-1] = replace(last, message=message, severity=worst)


def _one_line(text: str) -> str:
    """Keep what was quoted from a file from breaking the line, steering a terminal or flooding it."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text[:_MAX_MESSAGE])


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort by place; what concerns the bundle as a whole comes last."""
    return tuple(sorted(findings, key=lambda one: (not one.line, one.file, one.line, one.col, one.code)))


def refuses(findings: Iterable[Finding]) -> bool:
    """Whether any finding is an error."""
    return any(finding.severity is Severity.ERROR for finding in findings)
