"""Labels as served: each with the time up to which the newest export before it had seen the warehouse.

The export ledger has a row per run and view. A run counts from the moment it finished, unless one that started later
had finished before; it is served until the next one that counts finishes.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from featurelayer.sql.ast import all_of, any_of, call, col, not_null, table, with_alias
from featurelayer.sql.plan import RESERVED, SEEN, TIME

FROM, UNTIL = f"{RESERVED}from", f"{RESERVED}until"
_NEWEST = f"{RESERVED}newest"


def labels_as_served(labels: str, columns: Iterable[str], ledger: exp.Table, store: str, view: str) -> exp.Select:
    """Return the labels that an export had reached, each with the time of the snapshot it would have been served."""
    inside: list[exp.Expression] = [
        exp.GTE(this=col(TIME, "l"), expression=col(FROM, "s")),
        any_of(
            exp.Is(this=col(UNTIL, "s"), expression=exp.Null()),
            exp.LT(this=col(TIME, "l"), expression=col(UNTIL, "s")),
        ),
    ]
    return (
        exp.select(*(col(column, "l") for column in columns), col(SEEN, "s"))
        .from_(table(labels, "l"))
        .join(_serving_periods(ledger, store, view).subquery("s"), on=all_of(*inside), join_type="inner")
    )


def _serving_periods(ledger: exp.Table, store: str, view: str) -> exp.Select:
    """Select the period in which each snapshot was served."""
    order = [exp.Ordered(this=col(name)) for name in ("finished_at", "version")]
    until = exp.Window(this=call("LEAD", col("finished_at")), order=exp.Order(expressions=order))
    return (
        exp.select(with_alias(col("as_of"), SEEN), with_alias(col("finished_at"), FROM), with_alias(until, UNTIL))
        .from_(_export_runs(ledger, store, view).subquery("finished"))
        .where(exp.EQ(this=col("version"), expression=col(_NEWEST)))
    )


def _export_runs(ledger: exp.Table, store: str, view: str) -> exp.Select:
    """Select the view's finished exports to the store, each with the newest version finished by then."""
    order = [exp.Ordered(this=col(name)) for name in ("finished_at", "version")]
    newest = exp.Window(
        this=exp.Max(this=col("version")),
        order=exp.Order(expressions=order),
        spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW"),
    )
    mine = (
        exp.EQ(this=col("store"), expression=exp.Literal.string(store)),
        exp.EQ(this=col("view"), expression=exp.Literal.string(view)),
        not_null(col("finished_at")),
    )
    return (
        exp.select(col("as_of"), col("finished_at"), col("version"), with_alias(newest, _NEWEST))
        .from_(ledger)
        .where(all_of(*mine))
    )
