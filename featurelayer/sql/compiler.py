"""From a plan to a script in one engine's SQL."""

from __future__ import annotations

from featurelayer.sql.dialects import dialect
from featurelayer.sql.plan import Opening, Plan, Script


def compile_plan(plan: Plan, engine: str) -> Script:
    """Return the script that carries out `plan` on `engine`, a dbt adapter type.

    The text is deterministic: the same plan and engine give the same bytes.

    Raises:
        UnsupportedByDialect: there is no dialect for the engine.
    """
    return dialect(engine).compile(plan)


def compile_opening(plan: Plan, engine: str) -> Opening:
    """Return what comes before the script of `plan` and decides how it is best written.

    Raises:
        UnsupportedByDialect: there is no dialect for the engine.
    """
    writer = dialect(engine)
    return Opening(
        checks=writer.checks(plan),
        spine=writer.spine_step(plan),
        count=writer.count(),
        reaches=tuple(writer.reach(join) for join in plan.joins),
    )


def compile_statement(plan: Plan, engine: str) -> str:
    """Return the plan of a training set as one query: the rows of the script, in no order.

    No checks run before it. A key that a static view has twice fails the query.

    Raises:
        UnsupportedByDialect: there is no dialect for the engine.
    """
    return dialect(engine).statement(plan)
