"""Draw keys and read their state from each side: the snapshot, the store, and the warehouse's record of exports."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
from sqlglot import exp

from featurelayer.online import Item, OnlineStore
from featurelayer.sql.ast import all_of, call, col, not_null, with_alias
from featurelayer.sql.delta import REMOVED, Log
from featurelayer.sql.dialects import dialect
from featurelayer.sql.dialects.base import Dialect
from featurelayer.verify.rate_limit import RateLimiter
from featurelayer.verify.values import ExportedRow, Row
from featurelayer.warehouse.base import Warehouse, from_item

_READ_UNIT = 4096
_ROW = ("pk", "f", "event_time", "valid_to")


def read_expected_rows(
    warehouse: Warehouse, rows: exp.Expression, online: Sequence[str], *, sample: int, seed: int
) -> tuple[dict[str, Row], list[str]]:
    """Return the snapshot's rows of `sample` keys drawn from it and of the keys `online`, and the drawn keys.

    `rows` is the FROM item of the encoded snapshot. A key is drawn by the hash of its text with `seed`.
    """
    writer = dialect(warehouse.dialect)
    everything = exp.select(*(col(name, "e") for name in _ROW)).from_(_alias(rows, "e")).where(not_null(col("pk", "e")))
    mark = exp.Concat(expressions=[exp.Literal.string(f"{seed}|"), col("pk", "e")])
    drawn = everything.copy().order_by(call("MD5", mark), col("pk", "e")).limit(sample)
    expected = _read_rows(warehouse, writer, drawn)
    chosen = list(expected)
    undrawn = [pk for pk in online if pk not in expected]
    if undrawn:
        keys = exp.select(col("pk")).from_(_key_source(warehouse, writer, undrawn))
        expected |= _read_rows(warehouse, writer, everything.where(exp.In(this=col("pk", "e"), query=keys.subquery())))
    return expected, chosen


def read_exported_rows(warehouse: Warehouse, log: Log, keys: Sequence[str], committed: int) -> dict[str, ExportedRow]:
    """Return the newest exported row of each of `keys` that the store accepted, from the warehouse's record.

    The run of version `committed` counts as finished even if the ledger lists it as unfinished; newer runs are ignored.
    """
    if not keys:
        return {}
    writer = dialect(warehouse.dialect)
    names = ("pk", "kind", "version", "schema", "f", "event_time", "valid_to")
    items, ledger = (_alias(exp.to_table(name, dialect=writer.name), alias)
                     for name, alias in ((log.items, "i"), (log.ledger, "l")))  # fmt: skip
    mine = [
        exp.EQ(this=col(name, "i"), expression=exp.Literal.string(value))
        for name, value in (("store", log.store), ("view", log.view))
    ]
    finished = exp.or_(
        not_null(col("finished_at", "l")),
        exp.EQ(this=col("version", "l"), expression=exp.Literal.number(committed)),
    )
    accepted = exp.Not(this=exp.Coalesce(this=col("refused", "i"), expressions=[exp.false()]))
    upto = exp.LTE(this=col("version", "i"), expression=exp.Literal.number(committed))
    requested = exp.In(
        this=col("pk", "i"), query=exp.select(col("pk")).from_(_key_source(warehouse, writer, keys)).subquery()
    )
    same_run = all_of(
        *(exp.EQ(this=col(name, "l"), expression=col(name, "i")) for name in ("run", "view", "store")),
    )
    query = (
        exp.select(*(with_alias(col(name, "i"), name) for name in names))
        .from_(items)
        .join(ledger, on=same_run, join_type="inner")
        .where(all_of(*mine, exp.paren(finished), accepted, upto, requested))
        .order_by(col("version", "i"))
    )
    exported: dict[str, ExportedRow] = {}
    for pk, kind, version, schema, f, event_time, valid_to in warehouse.rows(writer.sql(query)):
        row = None if kind == REMOVED else Row(f=f, event_time=event_time, valid_to=valid_to)
        exported[pk] = ExportedRow(version=int(version), schema=schema or "", row=row)
    return exported


def read_items(
    store: OnlineStore, sk: str, keys: Iterable[str], pace: RateLimiter, on_read: Callable[[int], None]
) -> dict[str, Item]:
    """Return the items of a view for these keys, read consistently and no faster than the pace allows.

    `on_read` is called after each read with the number of keys read so far.
    """
    pks, read = list(keys), dict[str, Item]()
    for start in range(0, len(pks), pace.batch_size):
        part = pks[start : start + pace.batch_size]
        items = store.read([(pk, sk) for pk in part], consistent=True)
        read |= {pk: item for (pk, _), item in items.items()}
        pace.acquire(len(part) - len(items) + sum(max(1, math.ceil(item.size / _READ_UNIT)) for item in items.values()))
        on_read(start + len(part))
    return read


def _read_rows(warehouse: Warehouse, writer: Dialect, query: exp.Select) -> dict[str, Row]:
    return {
        pk: Row(f=f, event_time=event_time, valid_to=valid_to)
        for pk, f, event_time, valid_to in warehouse.rows(writer.sql(query))
    }


def _key_source(warehouse: Warehouse, writer: Dialect, keys: Sequence[str]) -> exp.Expression:
    """Return a FROM item of the keys."""
    source = from_item(warehouse, pa.table({"pk": pa.array(keys, pa.string())}))
    return exp.maybe_parse(source, into=exp.Table, dialect=writer.name)


def _alias(source: exp.Expression, name: str) -> exp.Expression:
    if isinstance(source, exp.Select):
        return source.copy().subquery(name)
    aliased = source.copy()
    aliased.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
    return aliased
