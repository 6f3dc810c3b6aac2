"""The rules as SQL expressions, for many threads at once; tests hold them equal to the functions beside.

Only the files of this package import SQLAlchemy's expression language, and they run nothing.
"""

from __future__ import annotations

from worker.policy.compile.calendar import SQLITE_FUNCTIONS
from worker.policy.compile.columns import Columns
from worker.policy.compile.decision import compile_decision
from worker.policy.compile.match import match_clause, scope_clause
from worker.policy.compile.standing import Rows

__all__ = ["SQLITE_FUNCTIONS", "Columns", "Rows", "compile_decision", "match_clause", "scope_clause"]
