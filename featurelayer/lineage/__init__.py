"""Column lineage: compiled SQL of models in; per output column its sources, its steps and a fingerprint out.

    lineage = analyse(models, dialect="duckdb", cache=Path("target/featurelayer_lineage.bin"))

    of = lineage.column("model.shop.orders_30d", "amount")    # ColumnLineage, None where the SQL is not known
    of.kind          # constant | passthrough | expression | aggregate | window
    of.sql           # the expression that makes it, as SQL
    of.sources       # (Source(relation, column, unique_id), ...): the columns that the model's SQL reads for it
    of.steps         # (Step(kind, sql, within, name), ...): what is done to the value, inner steps first
    of.row_steps     # (RowStep(kind, sql, within), ...): which rows there are, by filter, join, group, union, limit
    of.fingerprint   # equal for two columns that are the same computation, down to the sources
    of.facts         # what checks want to know: windows, clocks, truncated times, aggregates joined back

    lineage.columns("model.shop.orders_30d")                  # all of a model's columns, by name in lower case
    lineage.output("model.shop.orders_30d")                   # Output(columns, is_complete), None if not followed
    lineage.upstream("model.shop.orders_30d", "amount")       # it and the columns of models above it, nearest first
    lineage.ancestors("model.shop.orders_30d", "amount")      # every Source above it
    lineage.graph("model.shop.orders_30d", "amount")          # Graph(nodes, edges), to draw
    lineage.problems                                          # unique id -> why its SQL can't be followed

`featurelayer.dbt.lineage.trace` makes the `SqlModel`s of a dbt project and chooses the cache file.

A fingerprint follows the computation through CTEs, subqueries and models down to the sources. Aliases, formatting,
comments, the order of columns and of operands that commute, brackets and casts to the type a value has already make no
difference; filters, join kinds, group keys, window frames, literals and tie-breaks do. Where two spellings are
the same only by a property that SQL does not show (a unique key, a filter that could be moved below a join), they
count as different. Nothing here raises on account of SQL: a model that can't be followed has a `problem`, and lineage
ends at it.
"""

from featurelayer.lineage.graph import Lineage, analyse
from featurelayer.lineage.run_values import neutral_sql
from featurelayer.lineage.values import (
    Bound,
    ColumnGraph,
    ColumnKind,
    ColumnLineage,
    CompileRun,
    Edge,
    Fact,
    FactKind,
    Output,
    RowStep,
    RowStepKind,
    SourceColumn,
    SqlModel,
    ValueStep,
)

__all__ = [
    "Bound",
    "ColumnGraph",
    "ColumnKind",
    "ColumnLineage",
    "CompileRun",
    "Edge",
    "Fact",
    "FactKind",
    "Lineage",
    "Output",
    "RowStep",
    "RowStepKind",
    "SourceColumn",
    "SqlModel",
    "ValueStep",
    "analyse",
    "neutral_sql",
]
