"""A dbt project whose features are in a schema of a PostgreSQL server: manifest, profile, tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from featurelayer.layer import FeatureLayer
from featurelayer.warehouse.engines.postgres.warehouse import PostgresWarehouse, connect
from tests.servers.postgres import Server
from tests.unit import dbt_projects as made

LEGS = """
CREATE TABLE {schema}.legs AS SELECT * FROM (VALUES
  ('N1', TIMESTAMP '2024-01-01 10:00', 5.0::double precision),
  ('N1', TIMESTAMP '2024-01-01 12:00', NULL),
  ('N2', TIMESTAMP '2024-01-01 11:00', -3.5),
  ('''; DROP TABLE legs; --', TIMESTAMP '2024-01-01 09:00', 7.0),
  (NULL, TIMESTAMP '2024-01-01 09:00', 9.0)
) AS t (tailnum, landed_at, arr_delay)
"""


def session(server: Server, schema: str, **more: Any) -> PostgresWarehouse:
    """A connection of its own, with `schema` as the target's."""
    return connect(server.target(schema, **more), root=Path.cwd())


def layer(
    root: Path, server: Server, *nodes: dict, exposures: tuple[dict, ...] = (), sql: str = LEGS, **more: Any
) -> FeatureLayer:
    """A project of these nodes with this SQL run in a schema named after its folder; `legs` and `late` by default."""
    schema = root.name
    # dbt names a relation in full.
    node = {"relation_name": f'"postgres"."{schema}"."legs"'}
    nodes = nodes or (made.model(node=node),)
    exposures = exposures or (made.exposure("legs.arr_delay", label_timestamp="at"),)
    made.project(root, made.manifest(*nodes, exposures=exposures, adapter="postgres", **more))
    target = server.target(schema)
    (root / "profiles.yml").write_text(json.dumps({"shop": {"target": "dev", "outputs": {"dev": target}}}))
    warehouse = session(server, schema)
    warehouse.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    warehouse.execute(f'CREATE SCHEMA "{schema}"')
    warehouse.execute(sql.format(schema=f'"{schema}"'))
    warehouse.close()
    return FeatureLayer(root, profiles_dir=root)
