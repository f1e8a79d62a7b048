"""Runs SQL where the features live and hands the rows on as Arrow."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from featurelayer.errors import ConfigError, Problem, did_you_mean
from featurelayer.warehouse.base import Warehouse
from featurelayer.warehouse.engines import available, load_engine

__all__ = ["Warehouse", "available", "connect", "keep_running", "schema_of"]


def connect(
    connection: Mapping[str, Any], *, root: Path, writable: bool = False, wait: timedelta = timedelta(0)
) -> Warehouse:
    """Connect with a target of profiles.yml, with the credentials that dbt has there.

    Args:
        connection: the target's rendered output.
        root: the folder that relative paths in it start from.
        writable: whether to allow writes: the target's schema is created if missing. A DuckDB file is
            opened read-only otherwise.
        wait: how long to try while another process holds a DuckDB file, or writes to the same schema.

    Raises:
        ConfigError: the adapter type is not supported.
        WarehouseError: the engine can't be reached.
    """
    engine = load_engine(str(connection.get("type", "")))
    if engine is not None and hasattr(engine, "connect"):
        warehouse: Warehouse = engine.connect(connection, root=root, writable=writable, wait=wait)
        return warehouse
    return _connect_through_dbt(connection, engine, writable, wait)


def keep_running(connection: Mapping[str, Any], *, root: Path) -> AbstractContextManager[None]:
    """Keep an engine that runs in this process alive across several consecutive connections."""
    engine = load_engine(str(connection.get("type", "")))
    if engine is None or not hasattr(engine, "keep_running"):
        return nullcontext()
    keep: AbstractContextManager[None] = engine.keep_running(connection, root)
    return keep


def schema_of(connection: Mapping[str, Any]) -> str:
    """Return the schema that dbt builds a target in, as its engine has the name."""
    from featurelayer.warehouse.dbt_adapter.facts import facts_of, schema_of

    return schema_of(connection, facts_of(load_engine(str(connection.get("type", "")))))


def _connect_through_dbt(connection: Mapping[str, Any], engine: Any, writable: bool, wait: timedelta) -> Warehouse:
    from featurelayer.warehouse.dbt_adapter.facts import facts_of
    from featurelayer.warehouse.dbt_adapter.warehouse import connect, is_installed

    kind = str(connection.get("type", ""))
    if kind and is_installed(kind):
        return connect(connection, facts_of(engine), writable=writable, wait=wait)
    names = available()
    raise ConfigError(
        [
            Problem(
                what=f"dbt adapter '{kind}' is not supported{did_you_mean(kind, names)}"
                if engine is None
                else f"dbt's own adapter for {kind} is not installed",
                where="profiles.yml",
                fix=f"install it with `pip install dbt-{kind or 'ADAPTER'}`, "
                f"or choose a target of another type ({', '.join(names)}) with --target",
            )
        ]
    )
