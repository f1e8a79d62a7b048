"""Count the keys of a view whose values changed from one export to the next, from the log of exports."""

from __future__ import annotations

from sqlglot import exp

from featurelayer.sql.ast import all_of, call, col, not_null, with_alias
from featurelayer.sql.delta import REMOVED, Log
from featurelayer.sql.dialects import dialect


def value_changes(engine: str, log: Log) -> str:
    """Return a query of one row: the keys whose values changed, the exports in which they did, all exports.

    Only committed exports count. Keys that came or went have not changed, nor rows that were written again as they
    were, nor all of them at once because the view's definition is another one.
    """
    writer = dialect(engine)
    mine = {"store": log.store, "view": log.view}
    runs = exp.select(col("run"), col("definition")).from_(exp.to_table(log.ledger, dialect=writer.name))
    runs = runs.where(all_of(*_equal(mine), not_null(col("finished_at"))))
    order = exp.Order(expressions=[exp.Ordered(this=col("version", "i"))])
    before = [
        with_alias(
            exp.Window(this=call("LAG", value), partition_by=[col("pk", "i")], order=order.copy()), f"was_{name}"
        )
        for name, value in (
            ("kind", col("kind", "i")),
            ("hash", col("hash", "i")),
            ("definition", col("definition", "r")),
        )
    ]
    items = exp.to_table(log.items, dialect=writer.name)
    items.set("alias", exp.TableAlias(this=exp.to_identifier("i", quoted=True)))
    accepted = exp.Not(this=exp.Coalesce(this=col("refused", "i"), expressions=[exp.false()]))
    rows = (
        exp.select(col("pk", "i"), col("run", "i"), col("kind", "i"), col("hash", "i"), col("definition", "r"), *before)
        .from_(items)
        .join(runs.subquery("r"), on=exp.EQ(this=col("run", "r"), expression=col("run", "i")), join_type="inner")
        .where(all_of(*_equal(mine, "i"), accepted))
    )
    changed = all_of(
        *(exp.NEQ(this=col(name), expression=exp.Literal.string(REMOVED)) for name in ("kind", "was_kind")),
        exp.NEQ(this=col("hash"), expression=col("was_hash")),
        exp.EQ(this=col("definition"), expression=col("was_definition")),
    )
    counts = [exp.Count(this=exp.Distinct(expressions=[col(name)])) for name in ("pk", "run")]
    every = exp.select(exp.Count(this=exp.Star())).from_(runs.subquery("r")).subquery()
    return writer.sql(exp.select(*counts, every).from_(rows.subquery("s")).where(changed))


def _equal(wanted: dict[str, str], table: str | None = None) -> list[exp.Expression]:
    columns = [(col(name, table) if table else col(name), value) for name, value in wanted.items()]
    return [exp.EQ(this=column, expression=exp.Literal.string(value)) for column, value in columns]
