"""The column lineage of a dbt project: its models as dbt compiled them, analysed, and kept in dbt's target folder."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from featurelayer.dbt.inventory import Inventory
from featurelayer.dbt.inventory import Model as Node
from featurelayer.lineage import Lineage, Model, Run, analyse

_FILE = "featurelayer_lineage.bin"
_FILE_WITH_TESTS = "featurelayer_lineage_tested.bin"


def trace(
    inventory: Inventory,
    *,
    adapter: str,
    unique_ids: Iterable[str] | None = None,
    trust_tests: bool = False,
    keep: bool = True,
    seconds: float = 120.0,
) -> Lineage:
    """Return the lineage of models and of all that they are built from; of every model if none are named.

    Args:
        inventory: dbt's nodes.
        adapter: dbt's adapter type, which says how to read the SQL.
        unique_ids: the models that are asked about.
        trust_tests: take a column with a not_null test as never NULL, so that counting it is counting rows. Two
            fingerprints are to be compared only if both were made with it or both without.
        keep: use and write the file in the target folder that spares the next run the work.
        seconds: how much processor time it may take.
    """
    wanted = _with_parents(inventory, unique_ids) if unique_ids is not None else tuple(inventory.models)
    nodes = (inventory.model(unique_id) for unique_id in wanted)
    return analyse(
        [_model(node, _not_null(inventory, node) if trust_tests else ()) for node in nodes if node is not None],
        dialect=adapter,
        run=_run(inventory),
        cache=inventory.path.parent / (_FILE_WITH_TESTS if trust_tests else _FILE) if keep else None,
        seconds=seconds,
        complete=unique_ids is None,
    )


def _with_parents(inventory: Inventory, unique_ids: Iterable[str]) -> tuple[str, ...]:
    found = list(dict.fromkeys(unique_ids))
    seen = set(found)
    for unique_id in found:  # grows while it is walked
        node = inventory.model(unique_id)
        for parent in node.depends_on if node else ():
            if parent not in seen:
                seen.add(parent)
                found.append(parent)
    return tuple(found)


def _model(node: Node, not_null: tuple[str, ...]) -> Model:
    config = node.config
    is_batch = config.get("materialized") == "incremental" and config.get("incremental_strategy") == "microbatch"
    return Model(
        unique_id=node.unique_id,
        relation_name=node.relation_name,
        sql=node.compiled_sql if node.language == "sql" and node.kind != "seed" else "",
        columns=tuple((column.name, column.data_type) for column in node.columns),
        depends_on=node.depends_on,
        not_null=not_null,
        batch=is_batch,
        history=node.kind == "snapshot",
    )


def _not_null(inventory: Inventory, node: Node) -> tuple[str, ...]:
    tests = inventory.tests.get(node.unique_id, ())
    return tuple(test.column for test in tests if test.name == "not_null" and test.column and not test.where)


def _run(inventory: Inventory) -> Run | None:
    """The time from the start of the dbt run that compiled the SQL to the writing of the manifest."""
    start, end = inventory.run_started, inventory.generated
    if start is None or end is None:
        return None
    return Run(start=start - timedelta(seconds=1), end=end + timedelta(seconds=1))
