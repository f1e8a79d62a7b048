"""Column lineage of a project's compiled models, cached in dbt's target folder, and columns that no model produces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from featurelayer.dbt.catalog import CatalogColumns, read_catalog_columns
from featurelayer.dbt.columns import snapshot_columns
from featurelayer.dbt.inventory import Inventory
from featurelayer.dbt.inventory import Model as Node
from featurelayer.errors import closest
from featurelayer.lineage import CompileRun, Lineage, SqlModel, analyse, neutral_sql
from featurelayer.model import FeatureView

_FILE = "featurelayer_lineage.bin"
_FILE_WITH_TESTS = "featurelayer_lineage_tested.bin"
_CASE_COUNTS = frozenset({"postgres", "clickhouse"})
"""Engines to which "Amount" and "amount" are two columns, when both are quoted, as we quote them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingColumn:
    """A column that a view declares and that its model does not produce.

    `role` is what the view needs it for, `known_from` what says so, `nearest` the produced column most like it, ""
    if none is. It is not `is_certain` where a catalog says so that is older than the model.
    """

    column: str
    role: str
    known_from: str
    nearest: str = ""
    is_certain: bool = True

    def __str__(self) -> str:
        meant = f" (did you mean '{self.nearest}'?)" if self.nearest else ""
        return f"its model produces no column '{self.column}', the {self.role}, by {self.known_from}{meant}"


def trace(
    inventory: Inventory,
    *,
    adapter: str,
    unique_ids: Iterable[str] | None = None,
    trust_tests: bool = False,
    keep: bool = True,
    seconds: float = 120.0,
) -> Lineage:
    """Return the lineage of models and everything upstream; of every model if none are named.

    Args:
        inventory: dbt's nodes.
        adapter: dbt's adapter type, which selects the SQL dialect.
        unique_ids: the models to trace.
        trust_tests: take a column with a not_null test as never NULL, so that counting it is counting rows. Two
            fingerprints are to be compared only if both were made with it or both without.
        keep: use and write the cache file in the target folder.
        seconds: the limit of processor time.
    """
    wanted = _add_parents(inventory, unique_ids) if unique_ids is not None else tuple(inventory.models)
    nodes = (inventory.model(unique_id) for unique_id in wanted)
    return analyse(
        [_model(node, _not_null(inventory, node) if trust_tests else ()) for node in nodes if node is not None],
        dialect=adapter,
        run=_run(inventory),
        cache=inventory.path.parent / (_FILE_WITH_TESTS if trust_tests else _FILE) if keep else None,
        seconds=seconds,
        complete=unique_ids is None,
    )


def find_missing_columns(
    inventory: Inventory, lineage: Lineage, views: Sequence[FeatureView], *, adapter: str
) -> dict[str, tuple[MissingColumn, ...]]:
    """Return, by the id of each view that has some, the declared columns that its model does not produce.

    Compiled SQL decides where all of its columns are known, else the catalog, to which the columns of the SQL are
    added. Where neither knows, nothing is missing.
    """
    catalog = read_catalog_columns(inventory.path.parent, [view.unique_id for view in views])
    by_view = {view.id: tuple(_find_missing(inventory, lineage, catalog, view, adapter)) for view in views}
    return {name: missing for name, missing in by_view.items() if missing}


def _find_missing(
    inventory: Inventory, lineage: Lineage, catalog: CatalogColumns, view: FeatureView, adapter: str
) -> Iterator[MissingColumn]:
    output, listed = lineage.output(view.unique_id), catalog.columns.get(view.unique_id, ())
    if output is not None and output.is_complete:
        produced, known_from, is_certain = output.columns, "its compiled SQL", True
    elif listed:
        produced, known_from = (*listed, *(output.columns if output is not None else ())), "catalog.json"
        changed = _newest_change(inventory, view.unique_id)
        is_certain = catalog.written_at is None or changed is None or changed <= catalog.written_at
        if not is_certain:
            known_from += ", which is older than the model"
    else:
        return
    fold = str if adapter in _CASE_COUNTS else str.casefold
    names = {fold(name) for name in produced}
    for column, role in _list_columns(view):
        if fold(column) not in names:
            evidence = known_from
            if known_from == "its compiled SQL" and fold(column) in {fold(name) for name in listed}:
                evidence += " (catalog.json has it: it is older, or the model is still to be built)"
            yield MissingColumn(
                column=column, role=role, known_from=evidence, nearest=closest(column, produced), is_certain=is_certain
            )


def _list_columns(view: FeatureView) -> Iterator[tuple[str, str]]:
    """Yield each column that reading the view needs, once, with its role."""
    needed = [(key.column, f"join key of {key.entity}") for key in view.join_keys]
    needed += [
        (column, role)
        for column, role in (
            (view.event_time, "event time"),
            (view.available_at, "available time"),
            (view.created_timestamp, "created time"),
            (view.valid_to, "end of validity"),
        )
        if column
    ]
    needed += [(column, "tie-breaker") for column in view.tie_breaker]
    needed += [(feature.name, "feature") for feature in view.features]
    seen: set[str] = set()
    for column, role in needed:
        if column not in seen:
            seen.add(column)
            yield column, role


def _newest_change(inventory: Inventory, unique_id: str) -> datetime | None:
    """Return when dbt last parsed a changed file of the model or of an upstream model."""
    nodes = (inventory.model(each) for each in _add_parents(inventory, [unique_id]))
    return max((node.parsed_at for node in nodes if node is not None and node.parsed_at is not None), default=None)


def _add_parents(inventory: Inventory, unique_ids: Iterable[str]) -> tuple[str, ...]:
    found = list(dict.fromkeys(unique_ids))
    seen = set(found)
    for unique_id in found:  # the list grows during iteration
        node = inventory.model(unique_id)
        for parent in node.depends_on if node else ():
            if parent not in seen:
                seen.add(parent)
                found.append(parent)
    return tuple(found)


def _model(node: Node, not_null: tuple[str, ...]) -> SqlModel:
    config = node.config
    is_batch = config.get("materialized") == "incremental" and config.get("incremental_strategy") == "microbatch"
    is_snapshot = node.kind == "snapshot"
    return SqlModel(
        unique_id=node.unique_id,
        relation_name=node.relation_name,
        raw=node.raw_sql,
        sql=node.compiled_sql if node.language == "sql" and node.kind != "seed" else "",
        columns=tuple((column.name, column.data_type) for column in node.columns),
        depends_on=node.depends_on,
        not_null=not_null,
        batch=is_batch,
        history=is_snapshot,
        added=tuple(snapshot_columns(config).values()) if is_snapshot else (),
    )


def _not_null(inventory: Inventory, node: Node) -> tuple[str, ...]:
    tests = inventory.tests.get(node.unique_id, ())
    return tuple(test.column for test in tests if test.name == "not_null" and test.column and not test.where)


def _run(inventory: Inventory) -> CompileRun | None:
    """Return the time span of the compiling dbt run, from its start to the writing of the manifest."""
    start, end = inventory.run_started, inventory.manifest_time
    if start is None or end is None:
        return None
    second = timedelta(seconds=1)
    return CompileRun(start=start - second, end=end + second, invocation=inventory.invocation_id)


def normalize_compiled_sql(inventory: Inventory, node: Node) -> str:
    """Return a model's compiled SQL without the values of that run."""
    run, relation = _run(inventory), node.relation_name
    return neutral_sql(node.compiled_sql, raw=node.raw_sql, run=run, relation_name=relation)
