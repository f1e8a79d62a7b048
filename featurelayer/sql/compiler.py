"""Compile a plan to a script in one engine's SQL."""

from __future__ import annotations

from collections.abc import Sequence

from featurelayer.sql.dialects import dialect
from featurelayer.sql.plan import Plan, Preamble, Script, Statement


def compile_plan(plan: Plan, engine: str) -> Script:
    """Return the script that carries out `plan` on `engine`, a dbt adapter type.

    The text is deterministic: the same plan and engine give the same bytes.

    Raises:
        UnsupportedByDialect: there is no dialect for the engine.
    """
    return dialect(engine).compile(plan)


def compile_preamble(plan: Plan, engine: str) -> Preamble:
    """Return the queries that run before the script of `plan` and decide its fastest form.

    Raises:
        UnsupportedByDialect: there is no dialect for the engine.
    """
    script = dialect(engine).script
    return Preamble(
        checks=script.assertions(plan),
        spine=script.spine_step(plan),
        count=script.spine.count(),
        reaches=tuple(script.reach(join) for join in plan.joins),
        probes=tuple(script.probe(join) for join in plan.joins),
    )


def compile_into_table(plan: Plan, engine: str, name: str) -> Script:
    """Return the script of `plan` with a last step that keeps the query's rows in the temporary table `name`."""
    return dialect(engine).script.compile_into_table(plan, name)


def compile_served_counts(plan: Plan, engine: str) -> Statement:
    """Return a query that counts, per view, the labels an export had reached; it needs the spine."""
    return dialect(engine).script.count_served_labels(plan)


def compile_comparison(engine: str, one: str, other: str, features: Sequence[str]) -> Statement:
    """Return a query that counts, per feature, the differing rows of two tables stored by id."""
    return dialect(engine).script.count_differences(one, other, features)


def compile_statement(plan: Plan, engine: str) -> str:
    """Return the plan of a training set as one query: the rows of the script, in no order.

    No checks run before it. A key that a static view has twice fails the query.

    Raises:
        UnsupportedByDialect: there is no dialect for the engine.
    """
    return dialect(engine).statement(plan)
