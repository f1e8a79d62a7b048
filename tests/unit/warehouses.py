"""A dbt project whose features are built: manifest, profile, and a DuckDB file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from featurelayer.layer import FeatureLayer
from tests.unit import dbt_projects as made

PROFILES = "shop: {target: dev, outputs: {dev: {type: duckdb, path: db.duckdb}}}\n"

LEGS = """
CREATE TABLE legs AS SELECT * FROM (VALUES
  ('N1', TIMESTAMP '2024-01-01 10:00', 5.0::DOUBLE),
  ('N1', TIMESTAMP '2024-01-01 12:00', NULL),
  ('N2', TIMESTAMP '2024-01-01 11:00', -3.5),
  ('''; DROP TABLE legs; --', TIMESTAMP '2024-01-01 09:00', 7.0),
  (NULL, TIMESTAMP '2024-01-01 09:00', 9.0)
) t(tailnum, landed_at, arr_delay)
"""


def layer(root: Path, *nodes: dict, exposures: tuple[dict, ...] = (), sql: str = LEGS, **more: Any) -> FeatureLayer:
    """A project of these nodes with this SQL run in its database; `legs` and the service `late` by default."""
    nodes = nodes or (made.model(),)
    exposures = exposures or (made.exposure("legs.arr_delay", label_timestamp="at"),)
    made.project(root, made.manifest(*nodes, exposures=exposures, **more))
    (root / "profiles.yml").write_text(PROFILES)
    with duckdb.connect(str(root / "db.duckdb")) as connection:
        connection.execute(sql)
    return FeatureLayer(root, profiles_dir=root)
