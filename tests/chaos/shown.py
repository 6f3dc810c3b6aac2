"""Shows the summaries of the chaos suite at the end of a run, also where other processes ran the tests."""

from __future__ import annotations

import pytest

SUMMARY = "chaos summary"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, told in report.user_properties:
                if name == SUMMARY:
                    terminalreporter.write_sep("-", f"chaos: {report.nodeid.rpartition('::')[2]}")
                    terminalreporter.write_line(str(told))
