"""Erase a subject: its values in the store, its streamed log entries, and its rows in the warehouse's export tables.

In the store every item of the subject becomes a tombstone without values, newer than any write of a run under way, so
no such run restores the values. A later export restores them if the source still has them: erase the subject there
first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlglot import exp

from featurelayer.errors import CodecError, PlanError, Problem, RelationNotBuilt
from featurelayer.export.drain import stream_table
from featurelayer.export.ledger import Ledger, Tables
from featurelayer.model import FeatureView
from featurelayer.online.base import Item, OnlineStore
from featurelayer.online.definitions import ViewCommit, ViewDefinition, commit_key, view_definition
from featurelayer.online.keys import encode_key_column, join_key, key_prefix, parse_key
from featurelayer.online.streaming import GRACE_SECONDS, key_values, read_log_entries
from featurelayer.retry import retry_on_conflict
from featurelayer.sql.ast import all_of, col
from featurelayer.sql.dialects import dialect
from featurelayer.warehouse.base import Warehouse

_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReport:
    """The counts erased of a subject in one view: items of the store, log entries, rows of the two tables."""

    view: str
    items: int
    log: int
    export_items: int
    streamed: int

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Some or all parts of a view's key, with their values."""

    view: FeatureView
    definition: ViewDefinition
    values: Mapping[str, Any]

    @property
    def pk(self) -> str | None:
        """The key's text, if all parts are known."""
        parts = [self.values[key.column] for key in self.view.join_keys if key.column in self.values]
        if len(parts) < len(self.view.join_keys):
            return None
        encoded = [
            encode_key_column(key.dtype, [part], where=f"{self.view.id}.{key.column}")[0]
            for key, part in zip(self.view.join_keys, parts, strict=True)
        ]
        return join_key(key_prefix(self.view.entities), encoded)

    def owns(self, pk: str) -> bool:
        """Whether a key belongs to the subject."""
        whole = self.pk
        if whole is not None:
            return pk == whole
        values = key_values(self.definition, pk)
        return values is not None and all(values[column] == value for column, value in self.values.items())


def find_subjects(views: Iterable[FeatureView], keys: Mapping[str, str]) -> list[Subject]:
    """Return the subject in every view whose key has all these columns; values are text as typed by a user.

    Raises:
        PlanError: no view has these key columns.
        CodecError: a value does not have its key's type.
    """
    views = list(views)
    subjects, misfits = list[Subject](), list[Problem]()
    for view in views:
        types = {key.column: key.dtype for key in view.join_keys}
        if not set(keys) <= set(types):
            continue
        values = {}
        for column, text in keys.items():
            try:
                values[column] = parse_key(types[column], text, where=f"{view.id}.{column}")
            except CodecError as error:
                misfits += error.problems
        subjects.append(Subject(view=view, definition=view_definition(view), values=values))
    if misfits:
        raise CodecError(misfits)
    if not subjects:
        key_columns = sorted({key.column for view in views for key in view.join_keys})
        raise PlanError([Problem(
            what=f"no online view has a key with {' and '.join(sorted(keys))}",
            fix=f"the columns of keys are {', '.join(key_columns) or 'none: no view is online'}",
        )])  # fmt: skip
    return subjects


def forget(store: OnlineStore, warehouse: Warehouse, tables: Tables, subject: Subject) -> ErasureReport:
    """Erase a subject in one view; `warehouse` is open for writing. Running it again finishes what was interrupted."""
    # Checked outside the transaction, which a failed query would end.
    relation = stream_table(subject.view, tables)
    is_streamed = _exists(warehouse, relation)
    newest = _next_version(warehouse, tables, subject)
    remembered = _find_exported_keys(warehouse, tables, subject)
    # The log first: a concurrent drain must not append entries to a table that is erased already.
    log = [item.key for item, entry in read_log_entries(store, subject.definition.sk) if subject.owns(entry.pk)]
    store.remove(log)
    listed = [subject.pk] if subject.pk is not None else [
        key.pk for key in store.live(subject.definition.sk) if subject.owns(key.pk)
    ]  # fmt: skip
    pks = sorted({pk for pk in (*listed, *remembered) if pk is not None})
    items = sum(
        _write_tombstones(store, subject.definition, pks[at : at + _AT_ONCE], newest)
        for at in range(0, len(pks), _AT_ONCE)
    )

    def erase() -> tuple[int, int]:
        with warehouse.transaction():
            export_items = _delete_items(warehouse, tables, subject, remembered)
            return export_items, _delete_streamed(warehouse, relation, subject) if is_streamed else 0

    gone, rows = retry_on_conflict(erase)
    return ErasureReport(view=subject.view.id, items=items, log=len(log), export_items=gone, streamed=rows)


def _next_version(warehouse: Warehouse, tables: Tables, subject: Subject) -> int:
    """Return a version that is greater than that of any run of the view, finished or not."""
    runs = Ledger(warehouse, tables).rows(subject.view.id) if _exists(warehouse, tables.ledger) else []
    return max([time.time_ns() // 1_000, *(row.version + 1 for row in runs)])


def _write_tombstones(store: OnlineStore, view: ViewDefinition, pks: Sequence[str], newest: int) -> int:
    """Write tombstones that win over present items and runs under way; return how many items had values."""
    control = commit_key(view.sk)
    there = store.read([control, *((pk, view.sk) for pk in pks)], consistent=True)
    commit = there.pop(control, None)
    newest = max([newest, *(item.version + 1 for item in there.values())])
    if commit is not None:
        newest = max(newest, ViewCommit.from_item(commit).version + 1)
    ttl = math.ceil(newest / 1_000_000) + GRACE_SECONDS
    # Also for absent keys: a run under way may be about to write them.
    store.write(
        [Item(pk=pk, sk=view.sk, version=newest, as_of=newest, ttl=ttl, deleted=True) for pk in pks],
        rewind=True, rewrite=True,
    )  # fmt: skip
    return sum(not item.deleted for item in there.values())


def _find_exported_keys(warehouse: Warehouse, tables: Tables, subject: Subject) -> list[str]:
    """Return the subject's keys in the warehouse's export log."""
    writer = dialect(warehouse.dialect)
    if not _exists(warehouse, tables.items):
        return []
    rows = exp.select(col("pk")).distinct().from_(exp.to_table(tables.items, dialect=writer.name))
    rows = rows.where(all_of(*_view_conditions(tables, subject)))
    if subject.pk is not None:
        rows = rows.where(exp.EQ(this=col("pk"), expression=exp.Literal.string(subject.pk)))
    return [pk for (pk,) in warehouse.rows(writer.sql(rows)) if subject.owns(pk)]


def _delete_items(warehouse: Warehouse, tables: Tables, subject: Subject, pks: Sequence[str]) -> int:
    deleted = 0
    for start in range(0, len(pks), _AT_ONCE):
        keys = exp.In(this=col("pk"), expressions=[exp.Literal.string(pk) for pk in pks[start : start + _AT_ONCE]])
        deleted += _delete_rows(warehouse, tables.items, all_of(*_view_conditions(tables, subject), keys))
    return deleted


def _delete_streamed(warehouse: Warehouse, relation: str, subject: Subject) -> int:
    writer = dialect(warehouse.dialect)
    types = {key.column: key.dtype for key in subject.view.join_keys}
    mine = [
        exp.EQ(this=col(column), expression=writer.literal(value, types[column]))
        for column, value in subject.values.items()
    ]
    return _delete_rows(warehouse, relation, all_of(*mine))


def _delete_rows(warehouse: Warehouse, relation: str, condition: exp.Expression) -> int:
    """Delete rows and return how many there were."""
    writer = dialect(warehouse.dialect)
    place = exp.to_table(relation, dialect=writer.name)
    counted = exp.select(exp.Count(this=exp.Star())).from_(place.copy()).where(condition.copy())
    [(count,)] = warehouse.rows(writer.sql(counted))
    warehouse.execute(writer.sql(exp.Delete(this=place, where=exp.Where(this=condition))))
    return int(count)


def _view_conditions(tables: Tables, subject: Subject) -> list[exp.Expression]:
    conditions = {"store": tables.store, "view": subject.view.id}
    return [exp.EQ(this=col(name), expression=exp.Literal.string(value)) for name, value in conditions.items()]


def _exists(warehouse: Warehouse, relation: str) -> bool:
    try:
        warehouse.describe(relation)
    except RelationNotBuilt:
        return False
    return True
