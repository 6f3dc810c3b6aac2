"""The rules as SQL expressions, for many threads at once; tests hold them equal to the functions beside.

Only the files of this package import SQLAlchemy's expression language, and they run nothing.
"""

from __future__ import annotations

from worker.policy.compile.columns import Columns
from worker.policy.compile.match import match_clause, scope_clause

__all__ = ["Columns", "match_clause", "scope_clause"]
