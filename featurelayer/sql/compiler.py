"""From a plan to a script in one engine's SQL."""

from __future__ import annotations

from featurelayer.sql.dialects import dialect
from featurelayer.sql.plan import Plan, Script


def compile_plan(plan: Plan, engine: str) -> Script:
    """Return the script that carries out `plan` on `engine`, a dbt adapter type.

    The text is deterministic: the same plan and engine give the same bytes.

    Raises:
        UnsupportedByDialect: there is no dialect for the engine.
    """
    return dialect(engine).compile(plan)
