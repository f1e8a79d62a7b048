"""Column lineage of all models, each evaluated once, upstream models first."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from featurelayer.lineage.cache import Cache, Stored, StoredColumn
from featurelayer.lineage.queries import Queries
from featurelayer.lineage.relation_names import normalize_relation_name, normalize_table_name
from featurelayer.lineage.relations import own_relation, table_lookup
from featurelayer.lineage.rolling_features import EVENTS, strip_shared_parts
from featurelayer.lineage.run_values import neutral_sql
from featurelayer.lineage.scope import AGAIN, Relation, Unreadable, Value, digest, sort_sources
from featurelayer.lineage.values import (
    ColumnGraph,
    ColumnKind,
    ColumnLineage,
    CompileRun,
    Edge,
    Output,
    SourceColumn,
    SqlModel,
)
from featurelayer.terminal_text import first_line

MAX_SQL = 1_000_000
MAX_FACTS = 60
"""How many facts a column takes over from the models above it."""
_TYPES = {"VARCHAR": "TEXT", "STRING": "TEXT", "INTEGER": "INT", "DOUBLE PRECISION": "DOUBLE", "FLOAT8": "DOUBLE"}

Pick = Callable[[ColumnLineage], Iterable[Hashable]]


def analyse(
    models: Iterable[SqlModel],
    *,
    dialect: str,
    run: CompileRun | None = None,
    cache: Path | None = None,
    seconds: float = 120.0,
    complete: bool = True,
) -> Lineage:
    """Return the lineage of all columns of all models; failures are reported per model, never raised.

    Args:
        models: all models, seeds, snapshots and sources, in any order.
        dialect: dbt's adapter type.
        run: when the SQL was compiled, so that dbt's `run_started_at` in it counts as no meaning of its own.
        cache: a file of results, keyed by the SQL and its inputs; created if missing, ignored
            if it can't be used.
        seconds: the limit of processor time; models not reached by then get that as their problem.
        complete: whether these are all models there are, so that the cache may forget others.
    """
    by_id = {model.unique_id: model for model in models}
    order, cyclic = _sort_by_dependency(by_id)
    stored = Cache.read(cache) if cache else Cache()
    analysis = _Analysis(by_id, _sql_dialect(dialect), run, stored, time.process_time() + seconds)
    for unique_id in order:
        analysis.add(unique_id)
    for unique_id in cyclic:
        analysis.fail(unique_id, "it depends on itself, through the models that it reads")
    if cache:
        stored.write(cache, keep=by_id if complete else None)
    return Lineage(analysis.stored, analysis.problems, {each: analysis.name(each) for each in analysis.stored})


class Lineage:
    """The result of `analyse`; the package's docstring shows its methods."""

    def __init__(self, stored: Mapping[str, Stored], problems: Mapping[str, str], relations: Mapping[str, str]) -> None:
        self._stored, self.problems, self._relations = stored, problems, relations
        self._columns: dict[str, dict[str, ColumnLineage]] = {}
        self._collect: dict[Pick, dict[tuple[str, str], frozenset[Hashable]]] = {}

    def columns(self, unique_id: str) -> Mapping[str, ColumnLineage]:
        """Return the output columns of a model by name in lower case; empty where its SQL is not known."""
        if unique_id not in self._columns:
            stored = self._stored.get(unique_id)
            self._columns[unique_id] = _lineages(unique_id, self._relations[unique_id], stored) if stored else {}
        return self._columns[unique_id]

    def output(self, unique_id: str) -> Output | None:
        """Return the columns that a model's SQL produces, None if it can't be followed.

        Unlike `columns`, it omits columns that are only declared or only read by others.
        """
        stored = self._stored.get(unique_id)
        if stored is None:
            return None
        spelled = stored.spelled
        return Output(columns=tuple(spelled.get(name, name) for name in stored.names), is_complete=stored.complete)

    def column(self, unique_id: str, column: str) -> ColumnLineage | None:
        """Return one output column of a model, in whatever case it is written, or None."""
        return self.columns(unique_id).get(column.casefold())

    def upstream(self, unique_id: str, column: str) -> tuple[ColumnLineage, ...]:
        """Return the column and all model columns that it derives from, nearest first."""
        start = self.column(unique_id, column)
        columns: dict[tuple[str, str], ColumnLineage] = {}
        waiting = deque([start] if start else [])
        while waiting:
            current = waiting.popleft()
            if (current.unique_id, current.column) not in columns:
                columns[current.unique_id, current.column] = current
                waiting += [above for source in current.sources if (above := self._find_column(source)) is not None]
        return tuple(columns.values())

    def collect(self, unique_id: str, column: str, pick: Pick) -> frozenset[Hashable]:
        """Return everything `pick` finds in a column and the columns above it, visiting each once for all callers.

        Keep the results of `pick` small: they are copied to all columns below.
        """
        findings = self._collect.setdefault(pick, {})
        waiting = [(unique_id, column.casefold())]
        while waiting:
            place = waiting[-1]
            lineage = self.column(*place)
            above = (
                [(source.unique_id, source.column) for source in lineage.sources if source.unique_id] if lineage else []
            )
            open_ones = (
                [parent for parent in above if parent not in findings and parent != place]
                if place not in findings
                else []
            )
            if open_ones:
                waiting += open_ones
                continue
            waiting.pop()
            if place not in findings:
                own = set(pick(lineage)) if lineage else set()
                findings[place] = frozenset(own.union(*(findings.get(parent, frozenset()) for parent in above)))
        return findings[unique_id, column.casefold()]

    def ancestors(self, unique_id: str, column: str) -> frozenset[SourceColumn]:
        """Return all columns that its value derives from, including those where lineage ends."""
        return frozenset(source for derived in self.upstream(unique_id, column) for source in derived.sources)

    def reaches(self, sources: Iterable[SourceColumn]) -> frozenset[SourceColumn]:
        """Return the columns and everything they derive from."""
        columns = set(sources)
        for source in tuple(columns):
            if source.unique_id:
                columns |= self.ancestors(source.unique_id, source.column)
        return frozenset(columns)

    def graph(self, unique_id: str, column: str) -> ColumnGraph:
        """Return a graph to draw: the columns above one, with an edge to each column derived from them."""
        edges = [
            Edge(
                above=source,
                below=SourceColumn(relation=derived.relation, column=derived.column, unique_id=derived.unique_id),
                kind=derived.kind,
                sql=derived.sql,
            )
            for derived in self.upstream(unique_id, column)
            for source in derived.sources
        ]
        nodes = dict.fromkeys(end for edge in edges for end in (edge.below, edge.above))
        return ColumnGraph(nodes=tuple(nodes), edges=tuple(edges))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the unique ids of all models whose SQL was followed."""
        return iter(self._stored)

    def _find_column(self, source: SourceColumn) -> ColumnLineage | None:
        return self.column(source.unique_id, source.column) if source.unique_id else None


class _Analysis:
    """The work of one call of `analyse`."""

    def __init__(
        self, models: Mapping[str, SqlModel], dialect: str, run: CompileRun | None, cache: Cache, deadline: float
    ) -> None:
        self.models, self.dialect, self.run, self.cache, self.deadline = models, dialect, run, cache, deadline
        self.stored: dict[str, Stored] = {}
        self.problems: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._marks: dict[str, str] = {}
        self._relations: dict[str, Relation] = {}

    def add(self, unique_id: str) -> None:
        """Evaluate a model whose inputs are already evaluated."""
        model = self.models[unique_id]
        if not model.sql:
            return
        if len(model.sql) > MAX_SQL:
            self.fail(unique_id, f"its SQL has {len(model.sql):,} characters, more than the {MAX_SQL:,} that are read")
            return
        key = self._key(model)
        stored = self.cache.find(unique_id, key)
        if stored is None:
            stored = self._evaluate(model)
            if stored is None:
                return
            self.cache.keep(unique_id, key, stored)
        if stored.problem:
            self.fail(unique_id, stored.problem)
        else:
            self.stored[unique_id] = stored

    def fail(self, unique_id: str, problem: str) -> None:
        """Record why a model can't be followed: for its readers, lineage ends there."""
        self.problems[unique_id] = problem

    def _key(self, model: SqlModel) -> str:
        """Return the cache key: a digest of the SQL and of everything known about its inputs."""
        marks = (f"{self.name(each)}={self._mark(each)}" for each in sorted(model.depends_on))
        types = repr((model.columns, model.added))
        return digest(
            self.dialect, model.relation_name, self._sql(model), types, f"{model.batch} {model.history}", *marks
        )

    def _sql(self, model: SqlModel) -> str:
        """Return the SQL of a model without the values of the run that compiled it."""
        if model.unique_id not in self._texts:
            raw, relation = model.raw, model.relation_name
            self._texts[model.unique_id] = neutral_sql(model.sql, raw=raw, run=self.run, relation_name=relation)
        return self._texts[model.unique_id]

    def name(self, unique_id: str) -> str:
        """Return the canonical name of a model's relation."""
        if unique_id not in self._names:
            model = self.models.get(unique_id)
            self._names[unique_id] = normalize_relation_name(model.relation_name, self.dialect) if model else ""
        return self._names[unique_id]

    def _mark(self, unique_id: str) -> str:
        if unique_id not in self._marks:
            stored, model = self.stored.get(unique_id), self.models.get(unique_id)
            declared = repr((model.columns, model.not_null)) if model else ""
            self._marks[unique_id] = digest(stored.mark, declared) if stored else digest(declared)
        return self._marks[unique_id]

    def _relation(self, unique_id: str) -> Relation:
        """Return a model's relation for its readers: its own columns, with the meaning of its SQL."""
        if unique_id not in self._relations:
            model, stored = self.models[unique_id], self.stored.get(unique_id)
            name = self.name(unique_id)
            relation = _declare_relation(model, name) if stored is None else _read_relation(model, name, stored)
            self._relations[unique_id] = relation
        return self._relations[unique_id]

    def _evaluate(self, model: SqlModel) -> Stored | None:
        if time.process_time() > self.deadline:
            self.fail(model.unique_id, "the time for lineage was up before it was reached")
            return None
        named = {self.name(each): each for each in model.depends_on if each in self.models and self.name(each)}
        relations = {name: self._relation(each) for name, each in named.items()}
        if model.relation_name:
            relations[self.name(model.unique_id)] = own_relation()
        find = table_lookup(relations, lambda table: normalize_table_name(table, self.dialect))
        try:
            sql = self._sql(model)
            tree = _parse_sql(sql, self.dialect)
            if EVENTS in sql:
                tree = strip_shared_parts(tree, batch=model.batch)
            queries = Queries(model.unique_id, self.dialect, find, batch=model.batch)
            relation = queries.relation(tree)
            for name in model.added:
                relation.columns.setdefault(
                    name.casefold(), Value(digest("history", name.casefold()), ColumnKind.EXPRESSION)
                )
            names = tuple(name for name in relation.columns if AGAIN not in name)
            is_complete = relation.is_complete
            for name, _ in model.columns:  # columns of a star over a source whose columns are not all declared
                relation.column(name.casefold())
            if model.history:
                relation.base = digest("history", relation.base)
            return _to_stored(relation, model, names, is_complete=is_complete)
        except Unreadable as error:
            return Stored(problem=f"its SQL can't be followed: {error}")
        except SqlglotError as error:
            return Stored(problem=f"its SQL can't be parsed: {first_line(error)[:300]}")
        except RecursionError:
            return Stored(problem="its SQL can't be followed: it is nested too deep to follow")
        except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
            # sqlglot parsed a form unlike the one expected here; don't fail all other models for it.
            return Stored(problem=f"its SQL can't be followed: a form that is not known here ({type(error).__name__})")


def _declare_relation(model: SqlModel, name: str) -> Relation:
    columns = {}
    for column, of in model.columns:
        source = SourceColumn(relation=name, column=column.casefold(), unique_id=model.unique_id)
        sure = column in model.not_null
        key = digest("column", name, column.casefold())
        columns[column.casefold()] = Value(key, ColumnKind.PASSTHROUGH, frozenset((source,)), type=_type(of), sure=sure)
    return Relation(base=digest("table", name), reads=(name, model.unique_id), columns=columns)


def _read_relation(model: SqlModel, name: str, stored: Stored) -> Relation:
    types = {column.casefold(): _type(of) for column, of in model.columns}
    columns = {}
    for column in stored.columns:
        source = SourceColumn(relation=name, column=column.name, unique_id=model.unique_id)
        columns[column.name] = Value(
            column.key,
            ColumnKind.PASSTHROUGH,
            frozenset((source,)),
            facts=frozenset(column.facts[:MAX_FACTS]),
            type=types.get(column.name, "") or column.type,
            sure=column.sure or column.name in model.not_null,
            form=column.form,
        )
    relation = Relation(
        base=stored.base,
        where=frozenset(stored.where),
        columns=columns,
        unlisted=not stored.complete,
        unique=None if stored.unique is None else frozenset(stored.unique),
        spelled=stored.spelled,
        facts=frozenset(stored.facts[:MAX_FACTS]),
    )
    if stored.open:
        relation.reads = (name, model.unique_id)
    return relation


def _type(text: str) -> str:
    upper = text.upper().strip()
    return {
        "VARCHAR": "TEXT",
        "STRING": "TEXT",
        "INTEGER": "INT",
        "DOUBLE PRECISION": "DOUBLE",
        "FLOAT8": "DOUBLE",
    }.get(upper, upper)


def _to_stored(relation: Relation, model: SqlModel, names: tuple[str, ...], *, is_complete: bool) -> Stored:
    columns = [
        StoredColumn(
            name=name,
            key=value.key,
            kind=value.kind,
            sources=sort_sources(value.sources),
            steps=value.steps,
            facts=tuple(sorted(value.facts, key=repr)),
            type=value.type,
            sure=value.sure,
            form=value.form,
        )
        for name, value in relation.columns.items()
    ]
    unique = None if relation.unique is None or model.history else tuple(sorted(relation.unique))
    mark = digest(
        relation.rows,
        *(f"{column.name} {column.key} {column.type} {column.sure} {column.facts!r}" for column in columns),
        *(repr(fact) for fact in sorted(relation.facts, key=repr)),
        repr((names, is_complete, relation.spelled, unique)),
    )
    return Stored(
        base=relation.base,
        where=tuple(sorted(relation.where)),
        columns=columns,
        steps=relation.steps,
        sources=sort_sources(relation.sources),
        facts=tuple(sorted(relation.facts, key=repr)),
        open=relation.is_open or (model.history and not model.added),
        names=names,
        unique=unique,
        complete=is_complete and (not model.history or bool(model.added)),
        spelled=relation.spelled,
        mark=mark,
    )


def _lineages(unique_id: str, relation: str, stored: Stored) -> dict[str, ColumnLineage]:
    rows = Relation(base=stored.base, where=frozenset(stored.where)).rows
    return {
        column.name: ColumnLineage(
            unique_id=unique_id,
            relation=relation,
            column=column.name,
            kind=column.kind,
            sql=column.steps[-1].sql if column.steps else column.sources[0].column if column.sources else column.name,
            fingerprint=digest("feature", column.key, rows),
            value=column.key,
            rows=rows,
            sources=column.sources,
            steps=column.steps,
            row_steps=stored.steps,
            row_sources=stored.sources,
            facts=column.facts,
            row_facts=stored.facts,
        )
        for column in stored.columns
        if AGAIN not in column.name
    }


def _sort_by_dependency(models: Mapping[str, SqlModel]) -> tuple[list[str], list[str]]:
    """Sort unique ids so that each comes after its inputs; return those in a cycle separately."""
    waiting = {
        unique_id: {above for above in model.depends_on if above in models} for unique_id, model in models.items()
    }
    below: dict[str, list[str]] = {}
    for unique_id, above in waiting.items():
        for reader in above:
            below.setdefault(reader, []).append(unique_id)
    ready = deque(unique_id for unique_id, above in waiting.items() if not above)
    order = []
    while ready:
        unique_id = ready.popleft()
        order.append(unique_id)
        for reader in below.get(unique_id, ()):
            waiting[reader].discard(unique_id)
            if not waiting[reader]:
                ready.append(reader)
    sorted_ids = set(order)
    return order, [unique_id for unique_id in models if unique_id not in sorted_ids]


def _sql_dialect(adapter: str) -> str:
    """Return sqlglot's dialect for dbt's adapter type."""
    return {"sqlserver": "tsql", "synapse": "tsql", "fabric": "tsql", "glue": "spark", "spark": "spark"}.get(
        adapter, adapter if adapter in sqlglot.Dialect.classes or _has_dialect(adapter) else ""
    )


def _has_dialect(adapter: str) -> bool:
    try:
        sqlglot.Dialect.get_or_raise(adapter)
    except ValueError:
        return False
    return True


def _parse_sql(sql: str, dialect: str) -> exp.Expression:
    """Parse a statement to its syntax tree.

    The garbage collector is paused: nothing in the tree is garbage yet, and scanning it takes a fifth of the time.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return cast("exp.Expression", sqlglot.parse_one(sql, read=dialect))
    finally:
        if collects:
            gc.enable()
