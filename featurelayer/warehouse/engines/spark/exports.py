"""The tables of exports on Spark: SQL statements on them run as changes to parts of a log.

Spark changes no rows and has no transactions. So a name of such a table in a statement stands for the parts of the
newest generation (`_spark_log`), and a statement that changes one writes new parts: an INSERT a further one, a DELETE
or an UPDATE a part in place of those that have such rows. For others there is a view under the table's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp

from featurelayer.errors import WarehouseError
from featurelayer.warehouse.engines.spark.log import PREFIX, Generation, LogPart, Transaction, newest, overtaken, sweep

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

MADE = "featurelayer.made"
"""The table property of what is ours."""
_OURS = re.compile(r"featurelayer_(exports|export_items|streamed__\w+)", re.IGNORECASE)
_CHANGE = re.compile(r"(CREATE TABLE IF NOT EXISTS|INSERT INTO|UPDATE|DELETE FROM|ALTER TABLE)\s+")
_PROPERTIES = f"TBLPROPERTIES ('{MADE}' = 'part of exports')"
_PART = "__fl_part"
_ROWS = "__fl_rows"
# Above this number of parts the smallest are merged.
_MOST, _LEFT = 24, 12
_COLUMNS = ("table", "part", "rows", "committed", "token")

Run = Callable[[str], list[Any]]
"""Runs a statement and returns its rows, failures being ours."""


class SparkMetastore:
    """The generations and parts in one schema."""

    def __init__(self, schema: str, run: Run) -> None:
        self._schema, self._run = schema, run

    def names(self) -> list[str]:
        tables = self._run(f"SHOW TABLES IN {_quote(self._schema)} LIKE '{PREFIX}*'")
        return [row["tableName"] for row in tables if not row["isTemporary"]]

    def create(self, name: str, generation: Generation) -> bool:
        assert generation.committed is not None
        committed = (generation.committed - datetime.fromtimestamp(0, UTC)).total_seconds()
        values = [
            exp.Tuple(expressions=[
                exp.Literal.string(part.table), exp.Literal.string(part.name), exp.Literal.number(part.rows),
                exp.Literal.number(int(committed)), exp.Literal.string(generation.token),
            ])
            for part in generation.parts
        ]  # fmt: skip
        names = [exp.to_identifier(column, quoted=True) for column in _COLUMNS]
        rows = exp.Values(expressions=values, alias=exp.TableAlias(this=exp.to_identifier("parts"), columns=names))
        query = _sql(exp.select(*map(_column, _COLUMNS)).from_(rows))
        try:
            self._run(f"CREATE VIEW {self.place(name)} TBLPROPERTIES ('{MADE}' = 'generation') AS\n{query}")
        except WarehouseError:
            if name in self.names():
                return False
            raise
        return True

    def read(self, name: str) -> Generation | None:
        try:
            rows = self._run(f"SELECT * FROM {self.place(name)}")  # noqa: S608 (quoted)
        except WarehouseError:
            if name in self.names():
                raise
            return None
        parts = tuple(LogPart(table=row["table"], name=row["part"], rows=row["rows"]) for row in rows)
        committed = datetime.fromtimestamp(rows[0]["committed"], UTC)
        return Generation(parts=parts, committed=committed, token=rows[0]["token"])

    def drop(self, name: str, *, generation: bool) -> None:
        self._run(f"DROP {'VIEW' if generation else 'TABLE'} IF EXISTS {self.place(name)}")

    def place(self, name: str) -> str:
        """Qualify a name with the schema, as SQL."""
        return f"{_quote(self._schema)}.{_quote(name)}"


class ExportTables:
    """The tables of exports in one schema, as one session sees and changes them."""

    def __init__(self, session: SparkSession, schema: str, run: Run) -> None:
        self._session, self._schema, self._run = session, schema, run
        self._metastore = SparkMetastore(schema, run)
        self._transaction: Transaction | None = None
        self._touched: set[str] = set()
        self._views: dict[tuple[str, ...], str] = {}

    # --- reading -------------------------------------------------------------------------------------------------

    def resolve(self, sql: str) -> str:
        """Replace the tables of exports in a statement by the current views of their rows."""
        mentions = list(self._mentions(sql))
        if not mentions:
            return sql
        state = self._transaction or newest(self._metastore)
        copied, text = 0, ""
        for start, end, name in mentions:
            parts = state.parts_of(name)
            text += sql[copied:start] + (self._view(parts) if parts else sql[start:end])
            copied = end
        return text + sql[copied:]

    def _mentions(self, sql: str) -> Iterator[tuple[int, int, str]]:
        """Yield the positions and names of the tables of exports in a statement."""
        if not self._schema or not _OURS.search(sql):
            return
        kinds = sqlglot.TokenType
        tokens = sqlglot.tokenize(sql, read="spark")
        for place, token in enumerate(tokens):
            if token.token_type not in (kinds.IDENTIFIER, kinds.VAR) or not _OURS.fullmatch(token.text):
                continue
            if any(each.token_type is kinds.DOT for each in tokens[place + 1 : place + 2]):
                continue  # a column of the table: our queries alias their tables
            first = token
            if place > 1 and tokens[place - 1].token_type is kinds.DOT:
                first = tokens[place - 2]
                if first.text.lower() != self._schema.lower():
                    continue
            yield first.start, token.end + 1, token.text.lower()

    def _view(self, parts: Sequence[LogPart]) -> str:
        """Return a temporary view of parts, made once because parts never change."""
        names = tuple(part.name for part in parts)
        if names not in self._views:
            view = f"__fl_log_{len(self._views)}"
            self._run(f"CREATE TEMPORARY VIEW {_quote(view)} AS\n{self._union(parts)}")
            self._views[names] = view
        return _quote(self._views[names])

    def _union(self, parts: Iterable[LogPart]) -> str:
        places = (self._metastore.place(part.name) for part in parts)
        return "\nUNION ALL\n".join(f"SELECT * FROM {place}" for place in places)  # noqa: S608 (quoted)

    # --- changing ------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, now: datetime) -> Iterator[None]:
        """Commit all changes made inside the block, or none if an error leaves it.

        Raises:
            WriteConflict: another transaction has changed something since this one began.
        """
        self._transaction = transaction = Transaction(self._metastore, self._schema)
        self._touched = set()
        try:
            yield
            transaction.commit(now)
        except BaseException as error:
            with suppress(WarehouseError):
                transaction.clear()
                if isinstance(error, WarehouseError) and transaction.is_swept():
                    raise overtaken(self._schema) from error
            raise
        finally:
            self._transaction = None
        self._publish()
        transaction.clear()
        sweep(self._metastore, now)

    def change(self, sql: str) -> bool:
        """Run a statement that changes a table of exports; return False for any other statement."""
        opening = _CHANGE.match(sql)
        target = next(self._mentions(sql), None) if opening else None
        if opening is None or target is None or target[0] != opening.end():
            return False
        if self._transaction is None:
            raise WarehouseError("the tables of exports are changed in a transaction", sql=sql)
        name, rest = target[2], sql[target[1] :].strip()
        self._touched.add(name)
        match opening[1]:
            case "INSERT INTO":
                self._insert(self._transaction, name, rest)
            case "CREATE TABLE IF NOT EXISTS":
                self._create(self._transaction, name, rest)
            case "DELETE FROM":
                self._replace(self._transaction, name, {}, _condition(sql))
            case "UPDATE":
                self._replace(self._transaction, name, _assignments(sql), _condition(sql))
            case _:
                self._widen(self._transaction, name, sql)
        return True

    def _create(self, transaction: Transaction, name: str, columns: str) -> None:
        if transaction.parts_of(name):
            return
        self._refuse_foreign(name)
        part = transaction.new_part()
        self._run(f"CREATE TABLE {self._metastore.place(part)} {columns} USING parquet {_PROPERTIES}")
        transaction.replace((), [LogPart(table=name, name=part, rows=0)])

    def _insert(self, transaction: Transaction, name: str, rest: str) -> None:
        names, query = _into(rest)
        source = f"(\n{self.resolve(query)}\n) AS given ({', '.join(_quote(each) for each in names)})"
        typed = ", ".join(
            f"CAST({_quote(field.name) if field.name in names else 'NULL'} AS {field.dataType.simpleString()}) "
            f"AS {_quote(field.name)}"
            for field in self._schema_of(transaction.parts_of(name))
        )
        part = self._write_part(transaction, name, f"SELECT {typed} FROM {source}")  # noqa: S608 (quoted)
        if part.rows:
            transaction.replace([each for each in transaction.parts_of(name) if not each.rows], [part])
            self._fold(transaction, name)

    def _replace(
        self, transaction: Transaction, name: str, assigned: dict[str, exp.Expression], condition: exp.Expression
    ) -> None:
        """Rewrite the parts with rows that meet a condition: without these rows, or with new column values."""
        parts = transaction.parts_of(name)
        numbered = "\nUNION ALL\n".join(
            f"SELECT *, {place} AS {_quote(_PART)} FROM {self._metastore.place(part.name)}"  # noqa: S608 (quoted)
            for place, part in enumerate(parts)
        )
        counts = exp.select(_column(_PART), exp.Count(this=exp.Star())).from_(_ROWS).where(condition.copy())
        counted = self.resolve(_sql(counts.group_by(_column(_PART))))
        hits = dict(self._run(f"WITH {_ROWS} AS (\n{numbered}\n)\n{counted}"))
        if not hits:
            return
        hit = [part for place, part in enumerate(parts) if place in hits]
        rows = sum(part.rows for part in hit) - (0 if assigned else sum(hits.values()))
        fields = [field.name for field in self._schema_of(parts)]
        first = exp.Coalesce(this=condition.copy(), expressions=[exp.false()])
        others = exp.select(*map(_column, fields)).from_(_ROWS).where(exp.Not(this=first))
        values = (
            exp.alias_(assigned[field], field, quoted=True) if field in assigned else _column(field) for field in fields
        )
        changed = exp.select(*values).from_(_ROWS).where(condition)
        query: exp.Expression = exp.union(others, changed, distinct=False) if assigned else others
        new = []
        if rows or len(hit) == len(parts):
            source = f"WITH {_ROWS} AS (\n{self._union(hit)}\n)\n{self.resolve(_sql(query))}"
            new = [self._write_part(transaction, name, source, rows=rows)]
        transaction.replace(hit, new)

    def _widen(self, transaction: Transaction, name: str, sql: str) -> None:
        """Add columns by merging all parts into one; this is rare."""
        parts = transaction.parts_of(name)
        statement = sqlglot.parse_one(sql, read="spark")
        new = ", ".join(
            f"CAST(NULL AS {column.args['kind'].sql(dialect='spark')}) AS {_quote(column.name)}"
            for column in statement.find_all(exp.ColumnDef)
        )
        query = f"SELECT *, {new} FROM (\n{self._union(parts)}\n)"  # noqa: S608 (quoted)
        transaction.replace(parts, [self._write_part(transaction, name, query)])

    def _fold(self, transaction: Transaction, name: str) -> None:
        parts = sorted(transaction.parts_of(name), key=lambda part: part.rows)
        if len(parts) > _MOST:
            small = parts[: len(parts) - _LEFT]
            transaction.replace(small, [self._write_part(transaction, name, self._union(small))])

    def _write_part(self, transaction: Transaction, name: str, query: str, *, rows: int | None = None) -> LogPart:
        part = transaction.new_part()
        place = self._metastore.place(part)
        self._run(f"CREATE TABLE {place} USING parquet {_PROPERTIES} AS\n{query}")
        if rows is None:
            ((rows,),) = self._run(f"SELECT count(*) FROM {place}")  # noqa: S608 (quoted)
        return LogPart(table=name, name=part, rows=int(rows))

    def _schema_of(self, parts: Sequence[LogPart]) -> StructType:
        return self._session.table(self._metastore.place(parts[0].name)).schema

    # --- for others ----------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Point the tables' views at the newest state, even if another process made it."""
        shown = None
        while shown is None or shown.number != newest(self._metastore).number:
            shown = newest(self._metastore)
            for name in sorted(self._touched):
                if parts := shown.parts_of(name):
                    place, query = self._metastore.place(name), self._union(parts)
                    self._run(
                        f"CREATE OR REPLACE VIEW {place} TBLPROPERTIES ('{MADE}' = 'view of exports') AS\n{query}"
                    )

    def _refuse_foreign(self, name: str) -> None:
        """Raise if featurelayer did not write the table of that name."""
        place = self._metastore.place(name)
        if not self._session.catalog.tableExists(place):
            return
        properties = {row["key"] for row in self._run(f"SHOW TBLPROPERTIES {place}")}
        if MADE not in properties:
            raise WarehouseError(
                f"{self._schema}.{name} is there, and featurelayer did not make it",
                fix="rename it: exports are remembered under this name",
            )


def _into(rest: str) -> tuple[list[str], str]:
    """Parse an INSERT's columns and query from the text after the table."""
    tokens = sqlglot.tokenize(rest, read="spark")
    end = next(place for place, token in enumerate(tokens) if token.token_type is sqlglot.TokenType.R_PAREN)
    names = [token.text for token in tokens[:end] if token.token_type is sqlglot.TokenType.IDENTIFIER]
    return names, rest[tokens[end].end + 1 :]


def _condition(sql: str) -> exp.Expression:
    """Return the condition of a DELETE or an UPDATE."""
    where = sqlglot.parse_one(sql, read="spark").args["where"]
    condition: exp.Expression = where.this
    return condition


def _assignments(sql: str) -> dict[str, exp.Expression]:
    """Return the assignments of an UPDATE, by column."""
    return {each.this.name: each.expression for each in sqlglot.parse_one(sql, read="spark").expressions}


def _column(name: str) -> exp.Column:
    return exp.column(name, quoted=True)


def _sql(expression: exp.Expression) -> str:
    return expression.sql(dialect="spark", identify=True)


def _quote(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql(dialect="spark")
