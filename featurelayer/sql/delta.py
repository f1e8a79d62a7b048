"""SQL of an export's changes: a snapshot against what the store is known to hold.

Two tables of the warehouse remember. The *ledger* has a row per run and view; a run that has committed has a
`finished_at`. The *items* are what each run meant to write, put there before its first write: key, encoded values, a
hash of them. What the store holds is, key by key, the newest item of a committed run that the store did not refuse.
Keys of runs that never committed are in doubt, and written again whatever they hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from featurelayer.model import DType
from featurelayer.sql.ast import all_of, any_of, call, col, not_null, table, with_alias
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.plan import RESERVED

NOW, STATE, DOUBT, CHANGED = (f"{RESERVED}{name}" for name in ("now", "state", "doubt", "changed"))
NEW, DIFFERENT, IN_DOUBT, REMOVED = "new", "changed", "doubt", "removed"

ITEMS = {
    "store": "text", "view": "text", "run": "text", "version": "int64", "kind": "text", "pk": "text", "f": "text",
    "schema": "text", "event_time": "int64", "valid_to": "int64", "hash": "text", "refused": "bool",
}  # fmt: skip
_TEXT = DType.parse("text")
# At most this many oversized keys are named; all are counted.
MOST_NAMED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The log tables of one view's exports to one store."""

    ledger: str
    items: str
    store: str
    view: str


class Delta:
    """Builds the statements on one view's log in one engine's SQL."""

    def __init__(self, writer: Dialect, log: Log) -> None:
        self._writer, self._log = writer, log

    temporary = (NOW, STATE, DOUBT, CHANGED)

    # --- the state of the store ----------------------------------------------------------------------------------

    def create_state(self, *, until: int | None = None) -> str:
        """Create a table of the store's content, now or when the run of version `until` had committed."""
        thin = exp.select(*(col(name) for name in ("pk", "kind", "hash", "event_time", "version")))
        return self._create(STATE, thin.from_(self.rows_in_store(until).subquery("s")))

    def create_state_from_listing(self, source: str) -> str:
        """Create the table of the store's content from its key listing; values are unknown."""
        null = with_alias(exp.cast(exp.Null(), self._writer.type(_TEXT)), "hash")
        keys = exp.select(col("pk"), with_alias(_text(DIFFERENT), "kind"), null, col("event_time"), col("version"))
        return self._create(STATE, keys.from_(exp.maybe_parse(source, into=exp.Table, dialect=self._writer.name)))

    def rows_in_store(self, until: int | None) -> exp.Select:
        """Return the rows of the store's content, now or when the run of version `until` had committed."""
        return self._latest(self._store_items(until))

    def _latest(self, items: exp.Select) -> exp.Select:
        """Select the newest item of each key."""
        newest = exp.Window(
            this=exp.RowNumber(),
            partition_by=[col("pk", "i")],
            order=exp.Order(expressions=[exp.Ordered(this=col("version", "i"), desc=True, nulls_first=False)]),
        )
        names = ("pk", "kind", "hash", "f", "schema", "event_time", "valid_to", "version")
        ranked = exp.select(*(col(name, "i") for name in names), with_alias(newest, f"{RESERVED}rank"))
        ranked = ranked.from_(items.subquery("i"))
        first = exp.EQ(this=col(f"{RESERVED}rank"), expression=exp.Literal.number(1))
        return exp.select(*(col(name) for name in names)).from_(ranked.subquery("r")).where(first)

    def create_doubt(self) -> str:
        """Create a table of the keys in doubt: those of runs that never committed.

        `event_time` is the newest event that such a run has seen, `valued` is 1 if one meant to write values.
        """
        values = exp.Case().when(exp.EQ(this=col("kind", "i"), expression=_text(REMOVED)), _number(0)).else_(_number(1))
        newest = with_alias(exp.Max(this=col("event_time", "i")), "event_time")
        keys = exp.select(col("pk", "i"), newest, with_alias(exp.Max(this=values), "valued"))
        keys = keys.from_(self._items("i")).join(self._ledger("l"), on=self._same_run())
        return self._create(DOUBT, keys.where(all_of(*self._mine("i"), self._is_unfinished())).group_by(col("pk", "i")))

    def create_now(self, source: exp.Expression, common: str) -> str:
        """Create a table of the snapshot's keys, each with a hash of its values and of the fields all items share."""
        body: list[exp.Expression] = [exp.Literal.string(f"{common}|"), col("f", "e")]
        for name in ("event_time", "valid_to"):
            text = exp.cast(col(name, "e"), self._writer.type(_TEXT))
            body += [exp.Literal.string("|"), exp.Coalesce(this=text, expressions=[exp.Literal.string("")])]
        hashed = call("MD5", exp.Concat(expressions=body))
        rows = exp.select(col("pk", "e"), col("event_time", "e"), with_alias(hashed, "hash")).from_(_alias(source, "e"))
        return self._create(NOW, rows)

    def duplicate_keys(self) -> str:
        """Return some keys that the snapshot has more than once."""
        several = exp.GT(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(1))
        keys = exp.select(col("pk")).from_(table(NOW)).group_by(col("pk")).having(several)
        return self._writer.sql(keys.order_by(col("pk")).limit(3))

    def snapshot_stats(self) -> str:
        """Return the number of entities of the snapshot and its newest event time."""
        return self._writer.sql(
            exp.select(exp.Count(this=exp.Star()), exp.Max(this=col("event_time"))).from_(table(NOW))
        )

    # --- the changes to write ------------------------------------------------------------------------------------

    def create_changes(self, *, full: bool, alive_since: int | None, moved: bool = False) -> str:
        """Create a table of the keys to write, each with its reason.

        `full` writes all. A missing key is removed, except if its values are older than `alive_since` and
        so have expired, and except in the run in which all keys have `moved`: readers still follow the old ones.
        `event_time` is the newest event of the key that exports have seen, whatever is there now.
        """
        unknown = any_of(_null("was_pk", "k"), exp.EQ(this=col("was", "k"), expression=_text(REMOVED)))
        differs = exp.NullSafeNEQ(this=col("was_hash", "k"), expression=col("hash", "k"))
        doubted = not_null(col("pk", "d"))
        kind = exp.Case().when(_null("now_pk", "k"), _text(REMOVED)).when(doubted, _text(IN_DOUBT))
        kind = kind.when(unknown, _text(NEW)).else_(_text(DIFFERENT))
        present: exp.Expression = not_null(col("now_pk", "k"))
        if not full:
            present = all_of(present, any_of(unknown.copy(), differs, doubted.copy()))
        removed = all_of(_null("now_pk", "k"), self._needs_tombstone(full, alive_since, moved))
        # One join for present and missing keys: two joins at once take twice the memory.
        return self._create(
            CHANGED,
            exp.select(
                with_alias(_either_of(col("pk", "k"), col("pk", "d")), "pk"),
                with_alias(kind, "kind"),
                col("hash", "k"),
                with_alias(_newest_seen(), "event_time"),
            )
            .from_(_now_and_before().subquery("k"))
            .join(table(DOUBT, "d"), on=_same("pk", "d", "k"), join_type="full")
            .where(any_of(present, removed)),
        )

    def count_removals(self, *, alive_since: int | None, keys: str) -> str:
        """Return the number of keys with visible values, and how many of those will be removed.

        Not counted is what has expired (events before `alive_since`), and what runs have written whose items were
        found by other keys than `keys`.
        """
        other = exp.select(exp.Literal.number(1)).from_(self._ledger("l"))
        other = other.where(all_of(
            *self._mine("l"), _same("version", "l", "s"), exp.NEQ(this=col("keys", "l"), expression=_text(keys)),
        ))  # fmt: skip
        visible = exp.select(col("pk", "s")).from_(table(STATE, "s"))
        visible = visible.where(all_of(
            exp.NEQ(this=col("kind", "s"), expression=_text(REMOVED)), *_alive("s", alive_since),
            exp.Not(this=exp.Exists(this=other)),
        ))  # fmt: skip
        in_store = exp.select(exp.Literal.number(1)).from_(table(STATE, "s")).where(_same("pk", "s", "d"))
        in_store = in_store.where(exp.NEQ(this=col("kind", "s"), expression=_text(REMOVED)))
        doubted = exp.select(col("pk", "d")).from_(table(DOUBT, "d"))
        doubted = doubted.where(all_of(
            exp.EQ(this=col("valued", "d"), expression=_number(1)), *_alive("d", alive_since),
            exp.Not(this=exp.Exists(this=in_store)),
        ))  # fmt: skip
        removed = exp.select(col("pk")).from_(table(CHANGED))
        removed = removed.where(exp.EQ(this=col("kind"), expression=_text(REMOVED)))
        return self._writer.sql(
            exp.select(exp.Count(this=exp.Star()), exp.Count(this=col("pk", "c")))
            .from_(exp.union(visible, doubted, distinct=False).subquery("h"))
            .join(removed.subquery("c"), on=_same("pk", "c", "h"), join_type="left")
        )

    def _needs_tombstone(self, full: bool, alive_since: int | None, moved: bool) -> exp.Expression:
        """Test whether a key missing from the snapshot gets a tombstone."""
        doubted = not_null(col("pk", "d"))
        if moved and not full:
            return doubted
        alive: list[exp.Expression] = [exp.NEQ(this=col("was", "k"), expression=_text(REMOVED))]
        if alive_since is not None and not full:
            recent = exp.GTE(this=col("was_at", "k"), expression=exp.Literal.number(alive_since))
            alive.append(any_of(_null("was_at", "k"), recent))
        return any_of(doubted, all_of(*alive))

    def create_rollback_changes(self, *, until: int) -> str:
        """Create a table of the keys whose content differs from that at version `until`."""
        then = self.rows_in_store(until)
        removed = _absent("t")
        kind = exp.Case().when(removed, _text(REMOVED)).else_(_text(DIFFERENT))
        keys = exp.union(
            exp.select(col("pk")).from_(table(STATE)), exp.select(col("pk")).from_(table(DOUBT)), distinct=True
        )
        differs = any_of(
            all_of(removed.copy(), exp.Not(this=_absent("s"))),
            all_of(exp.Not(this=removed.copy()), exp.NullSafeNEQ(this=col("hash", "s"), expression=col("hash", "t"))),
            not_null(col("pk", "d")),
        )
        return self._create(
            CHANGED,
            exp.select(col("pk", "k"), with_alias(kind, "kind"), col("hash", "t"))
            .from_(keys.subquery("k"))
            .join(table(STATE, "s"), on=_same("pk", "s", "k"), join_type="left")
            .join(then.subquery("t"), on=_same("pk", "t", "k"), join_type="left")
            .join(table(DOUBT, "d"), on=_same("pk", "d", "k"), join_type="left")
            .where(differs),
        )

    def count_changes(self) -> str:
        """Return the number of keys to write, by reason."""
        return self._writer.sql(
            exp.select(col("kind"), exp.Count(this=exp.Star())).from_(table(CHANGED)).group_by(col("kind"))
        )

    def sizes(self, source: exp.Expression, fixed: int) -> str:
        """Return, by reason, the keys, bytes and write units of the changes, with values from `source`.

        `fixed` are the bytes of an item without its key and values; one unit writes up to 1 KB.
        """
        rows = exp.select(col("kind", "c"), col("pk", "c"), col("f", "e")).from_(table(CHANGED, "c"))
        return self._sizes(
            rows.join(_alias(_rows_to_write(source), "e"), on=_same("pk", "e", "c"), join_type="left"), fixed
        )

    def sizes_in_log(self, run: str, fixed: int) -> str:
        """Return the same figures for the changes that a run has written to the log."""
        return self._sizes(self._log_rows(run), fixed)

    def too_large(self, source: exp.Expression, fixed: int, *, item: int, key: int) -> str:
        """Return the changes too large for the store: keys, bytes of item and key, and the number of such keys.

        Values are taken from `source`; only the first keys are returned.
        """
        rows = exp.select(col("pk", "c"), col("f", "e")).from_(table(CHANGED, "c"))
        rows = rows.join(_alias(_rows_to_write(source), "e"), on=_same("pk", "e", "c"), join_type="inner")
        return self._too_large(rows, fixed, item=item, key=key)

    def too_large_in_log(self, run: str, fixed: int, *, item: int, key: int) -> str:
        """Return the oversized items that a run has written to the log."""
        return self._too_large(self._log_rows(run), fixed, item=item, key=key)

    def _log_rows(self, run: str) -> exp.Select:
        mine = all_of(*self._mine("i"), exp.EQ(this=col("run", "i"), expression=_text(run)))
        return exp.select(col("kind", "i"), col("pk", "i"), col("f", "i")).from_(self._items("i")).where(mine)

    def _too_large(self, rows: exp.Select, fixed: int, *, item: int, key: int) -> str:
        length = self._writer.bytes_of(col("pk", "r"))
        sized = exp.select(col("pk", "r"), with_alias(self._size(fixed), "size"), with_alias(length, "length"))
        too_large = any_of(
            exp.GT(this=col("size"), expression=exp.Literal.number(item)),
            exp.GT(this=col("length"), expression=exp.Literal.number(key)),
        )
        every = exp.Window(this=exp.Count(this=exp.Star()))
        oversized = exp.select(col("pk"), col("size"), col("length"), every)
        oversized = oversized.from_(sized.from_(rows.subquery("r")).subquery("s")).where(too_large)
        return self._writer.sql(oversized.order_by(col("pk")).limit(MOST_NAMED))

    def _size(self, fixed: int) -> exp.Expression:
        """Return the size of an item of `r` in bytes."""
        size: exp.Expression = exp.Literal.number(fixed)
        for part in (col("pk", "r"), col("f", "r")):
            length = exp.Coalesce(this=self._writer.bytes_of(part), expressions=[exp.Literal.number(0)])
            size = exp.Add(this=size, expression=length)
        return size

    def _sizes(self, rows: exp.Select, fixed: int) -> str:
        sized = exp.select(col("kind", "r"), with_alias(self._size(fixed), "size")).from_(rows.subquery("r"))
        units = exp.Ceil(this=exp.Div(this=col("size"), expression=exp.Literal.number("1024.0")))
        return self._writer.sql(
            exp.select(col("kind"), exp.Count(this=exp.Star()), exp.Sum(this=col("size")), exp.Sum(this=units))
            .from_(sized.subquery("s"))
            .group_by(col("kind"))
        )

    def stats_at(self, until: int) -> str:
        """Return how many entities the store held at `until`, and their newest event time."""
        exists = exp.NEQ(this=col("kind"), expression=_text(REMOVED))
        counts = exp.select(exp.Count(this=exp.Star()), exp.Max(this=col("event_time")))
        return self._writer.sql(counts.from_(self.rows_in_store(until).subquery("s")).where(exists))

    # --- the log -------------------------------------------------------------------------------------------------

    def log_changes(self, source: exp.Expression, *, run: str, version: int, schema: str) -> tuple[str, str]:
        """Return the statements that write the changes to the log."""
        constant = {"store": self._log.store, "view": self._log.view, "run": run, "version": version, "schema": schema}
        written = exp.select(*self._columns(constant, body="e"))
        written = written.from_(table(CHANGED, "c")).join(
            _alias(_rows_to_write(source), "e"), on=_same("pk", "e", "c"), join_type="inner"
        )
        written = written.where(exp.NEQ(this=col("kind", "c"), expression=_text(REMOVED)))
        removed = exp.select(*self._columns(constant, body=None, seen="c")).from_(table(CHANGED, "c"))
        removed = removed.where(exp.EQ(this=col("kind", "c"), expression=_text(REMOVED)))
        return self._insert(written), self._insert(removed)

    def log_rollback(self, *, until: int, run: str, version: int) -> tuple[str, str]:
        """Return the statements that write a rollback's changes to the log, each item with its own schema."""
        constant = {"store": self._log.store, "view": self._log.view, "run": run, "version": version}
        written = exp.select(*self._columns(constant, body="t")).from_(table(CHANGED, "c"))
        written = written.join(self.rows_in_store(until).subquery("t"), on=_same("pk", "t", "c"), join_type="inner")
        written = written.where(exp.NEQ(this=col("kind", "c"), expression=_text(REMOVED)))
        removed = exp.select(*self._columns({**constant, "schema": ""}, body=None)).from_(table(CHANGED, "c"))
        removed = removed.where(exp.EQ(this=col("kind", "c"), expression=_text(REMOVED)))
        return self._insert(written), self._insert(removed)

    def items_to_write(self, run: str, kind: str, *, shuffled: bool = False) -> str:
        """Return the items a run writes for one reason: key, values, schema, event time and end.

        `shuffled` spreads similar keys apart in a deterministic order.
        """
        names = ("pk", "f", "schema", "event_time", "valid_to")
        wanted = (
            exp.EQ(this=col(name, "i"), expression=_text(value)) for name, value in (("run", run), ("kind", kind))
        )
        mine = all_of(*self._mine("i"), *wanted)
        query = exp.select(*(col(name, "i") for name in names)).from_(self._items("i")).where(mine)
        return self._writer.sql(query.order_by(call("MD5", col("pk", "i"))) if shuffled else query)

    def newest_items(self, source: str, version: int) -> str:
        """Return the items of the run of a version for the keys of `source`, accepted by the store or not.

        The ledger may not list that run yet; items that it did not change are those of earlier runs.
        """
        committed = any_of(
            not_null(col("finished_at", "l")), exp.EQ(this=col("version", "i"), expression=_number(version))
        )
        until = exp.LTE(this=col("version", "i"), expression=_number(version))
        keys = exp.select(col("pk")).from_(exp.maybe_parse(source, into=exp.Table, dialect=self._writer.name))
        wanted = exp.In(this=col("pk", "i"), query=keys.subquery())
        rows = exp.select(_all("i")).from_(self._items("i")).join(self._ledger("l"), on=self._same_run())
        latest = self._latest(rows.where(all_of(*self._mine("i"), committed, until, wanted)))
        names = ("pk", "f", "schema", "event_time", "valid_to")
        exists = exp.NEQ(this=col("kind"), expression=_text(REMOVED))
        return self._writer.sql(exp.select(*(col(name) for name in names)).from_(latest.subquery("n")).where(exists))

    def mark_refused(self, run: str, source: str) -> str:
        """Mark the keys of `source` as refused: the store held a newer item."""
        refused_keys = exp.select(col("pk")).from_(exp.maybe_parse(source, into=exp.Table, dialect=self._writer.name))
        keys = exp.In(this=col("pk"), query=refused_keys.subquery())
        mine = all_of(*self._mine(), exp.EQ(this=col("run"), expression=_text(run)), keys)
        refused = exp.EQ(this=col("refused"), expression=exp.Boolean(this=True))
        return self._writer.sql(exp.Update(this=self._items(), expressions=[refused], where=exp.Where(this=mine)))

    def prune(self, *, keep_since: int, committed: int, garbage: int) -> tuple[str, ...]:
        """Return the statements that delete log rows no longer needed.

        That is what the runs from version `keep_since` on need not restore; what runs before the one of version
        `committed` meant to write and never finished, for it has written those keys again; and tombstones of before
        version `garbage`, which the store has forgotten, too.
        """
        following = exp.Window(
            this=call("LEAD", col("version", "i")),
            partition_by=[col("pk", "i")],
            order=exp.Order(expressions=[exp.Ordered(this=col("version", "i"))]),
        )
        committed_items = self._store_items(None).subquery("i")
        followed = exp.select(col("run", "i"), col("pk", "i"), with_alias(following, "next")).from_(committed_items)
        old = exp.select(col("run"), col("pk")).from_(followed.subquery("f"))
        old = old.where(exp.LTE(this=col("next"), expression=exp.Literal.number(keep_since)))
        both_keys = exp.Tuple(expressions=[col("run"), col("pk")])
        dead = (
            exp.select(col("run", "l")).from_(self._ledger("l")).where(all_of(*self._mine("l"), self._is_unfinished()))
        )
        before = exp.LT(this=col("version"), expression=exp.Literal.number(committed))
        return (
            self._delete(exp.In(this=both_keys, query=old.subquery())),
            self._delete(before, exp.In(this=col("run"), query=dead.subquery())),
            self._delete(
                exp.EQ(this=col("kind"), expression=_text(REMOVED)),
                exp.LTE(this=col("version"), expression=exp.Literal.number(min(keep_since, garbage))),
            ),
        )

    # --- pieces --------------------------------------------------------------------------------------------------

    def _store_items(self, until: int | None) -> exp.Select:
        """Select the items that the store has accepted, up to a version."""
        accepted = exp.Not(this=exp.Coalesce(this=col("refused", "i"), expressions=[exp.false()]))
        wanted = [*self._mine("i"), not_null(col("finished_at", "l")), accepted]
        if until is not None:
            wanted.append(exp.LTE(this=col("version", "i"), expression=exp.Literal.number(until)))
        rows = exp.select(_all("i")).from_(self._items("i")).join(self._ledger("l"), on=self._same_run())
        return rows.where(all_of(*wanted))

    def _is_unfinished(self) -> exp.Expression:
        return exp.Is(this=col("finished_at", "l"), expression=exp.Null())

    def _same_run(self) -> exp.Expression:
        return all_of(_same("run", "l", "i"), _same("view", "l", "i"))

    def _mine(self, alias: str | None = None) -> list[exp.Expression]:
        return [
            exp.EQ(this=col("store", alias), expression=_text(self._log.store)),
            exp.EQ(this=col("view", alias), expression=_text(self._log.view)),
        ]

    def _items(self, alias: str | None = None) -> exp.Table:
        return self._relation(self._log.items, alias)

    def _ledger(self, alias: str) -> exp.Table:
        return self._relation(self._log.ledger, alias)

    def _relation(self, name: str, alias: str | None) -> exp.Table:
        relation = exp.to_table(name, dialect=self._writer.name)
        if alias is not None:
            relation.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
        return relation

    def _columns(self, constant: Mapping[str, Any], body: str | None, seen: str | None = None) -> list[exp.Expression]:
        """Return an item's columns: constants, reason, key, hash, and the rest from `body`.

        A removed item has no body; its event time is the newest that exports have seen, from `seen`.
        """
        columns: list[exp.Expression] = []
        for name, dtype in ITEMS.items():
            kind = DType.parse(dtype)
            if name in constant:
                columns.append(with_alias(self._writer.literal(constant[name], kind), name))
            elif name in ("kind", "pk", "hash"):
                columns.append(col(name, "c"))
            elif body is not None and name != "refused":
                columns.append(col(name, body))
            elif seen is not None and name == "event_time":
                columns.append(col(name, seen))
            else:
                columns.append(with_alias(self._writer.literal(None, kind), name))
        return columns

    def _insert(self, rows: exp.Select) -> str:
        names = [exp.to_identifier(name, quoted=True) for name in ITEMS]
        return self._writer.sql(exp.Insert(this=exp.Schema(this=self._items(), expressions=names), expression=rows))

    def _delete(self, *conditions: exp.Expression) -> str:
        where = exp.Where(this=all_of(*self._mine(), *conditions))
        return self._writer.sql(exp.Delete(this=self._items(), where=where))

    def _create(self, name: str, query: exp.Query) -> str:
        return self._writer.create(name, query)


def _same(name: str, one: str, other: str) -> exp.Expression:
    return exp.EQ(this=col(name, one), expression=col(name, other))


def _now_and_before() -> exp.Select:
    """Outer join the snapshot's keys with the store's, keeping the facts of both sides."""
    columns = {"pk": "was_pk", "kind": "was", "hash": "was_hash", "event_time": "was_at"}
    return (
        exp.select(
            with_alias(_either_of(col("pk", "n"), col("pk", "s")), "pk"),
            with_alias(col("pk", "n"), "now_pk"),
            col("hash", "n"),
            *(with_alias(col(name, "s"), alias) for name, alias in columns.items()),
        )
        .from_(table(NOW, "n"))
        .join(table(STATE, "s"), on=_same("pk", "s", "n"), join_type="full")
    )


def _either_of(one: exp.Expression, other: exp.Expression) -> exp.Expression:
    return exp.Coalesce(this=one, expressions=[other])


def _newest_seen() -> exp.Expression:
    """Return the newest event of a key seen by the last export or by one that never committed."""
    was, doubted = col("was_at", "k"), col("event_time", "d")
    return exp.Case().when(exp.GT(this=doubted, expression=was), doubted.copy()).else_(_either_of(was.copy(), doubted))


def _null(name: str, alias: str) -> exp.Expression:
    return exp.Is(this=col(name, alias), expression=exp.Null())


def _alive(alias: str, since: int | None) -> list[exp.Expression]:
    """Return the conditions for an event not to have expired; none if nothing expires."""
    if since is None:
        return []
    recent = exp.GTE(this=col("event_time", alias), expression=_number(since))
    return [any_of(_null("event_time", alias), recent)]


def _absent(alias: str) -> exp.Expression:
    """Test whether the outer joined state has no values for a key."""
    return any_of(
        exp.Is(this=col("pk", alias), expression=exp.Null()),
        exp.EQ(this=col("kind", alias), expression=_text(REMOVED)),
    )


def _all(alias: str) -> exp.Column:
    return exp.Column(this=exp.Star(), table=exp.to_identifier(alias, quoted=True))


def _number(value: int) -> exp.Expression:
    return exp.Literal.number(value)


def _text(value: str) -> exp.Expression:
    return exp.Literal.string(value)


def _rows_to_write(source: exp.Expression) -> exp.Expression:
    """Select only the rows to write, so that the values of the others are never encoded."""
    if not isinstance(source, exp.Select):
        return source
    pk = next(column for column in source.selects if column.alias_or_name == "pk").unalias()
    exists = exp.NEQ(this=col("kind"), expression=_text(REMOVED))
    keys = exp.select(col("pk")).from_(table(CHANGED)).where(exists)
    return source.where(exp.In(this=pk.copy(), query=keys.subquery()))


def _alias(source: exp.Expression, name: str) -> exp.Expression:
    """Return a FROM item under an alias."""
    if isinstance(source, exp.Select):
        return source.copy().subquery(name)
    relation = source.copy()
    relation.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
    return relation
