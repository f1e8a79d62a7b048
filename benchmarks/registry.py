"""How long the registry of a large project takes: 5,000 models of 20 columns, 10,000 tests, 500 feature views.

    python benchmarks/registry.py [--models 5000] [--views 500] [--json]

Prints seconds (best of 3) and ratios against `json.loads` alone and against reading the file, measured in the same run.
The claim: under half a second.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from featurelayer.dbt import load_project, load_registry

COLUMNS = 20


def manifest(models: int, views: int) -> dict:
    """A manifest of the size and shape that dbt 1.11 writes, after `dbt compile`."""
    nodes = {}
    for index in range(models):
        node = _model(index, is_view=index < views)
        nodes[node["unique_id"]] = node
        for test in _tests(node):
            nodes[test["unique_id"]] = test
    services = {
        f"exposure.big.service_{index}": _service(index, range(index * 10, index * 10 + 10))
        for index in range(views // 10)
    }
    version = "https://schemas.getdbt.com/dbt/manifest/v12.json"
    metadata = {
        "dbt_schema_version": version,
        "dbt_version": "1.11.16",
        "adapter_type": "duckdb",
        "project_name": "big",
    }
    macros = {
        f"macro.dbt.macro_{index}": {"macro_sql": "{% macro m() %} x {% endmacro %}" * 20} for index in range(800)
    }
    return {"metadata": metadata, "nodes": nodes, "macros": macros, "exposures": services, "disabled": {}}


def _model(index: int, *, is_view: bool) -> dict:
    sql = (
        "\n".join(f"    sum(case when kind = {number} then amount end) as f_{number}," for number in range(COLUMNS)) * 4
    )
    meta = {"featurelayer": {"entity": "customer", "ttl": "7 days", "online": True}} if is_view else {}
    return {
        "unique_id": f"model.big.orders_{index}",
        "name": f"orders_{index}",
        "resource_type": "model",
        "package_name": "big",
        "relation_name": f'"big"."main"."orders_{index}"',
        "raw_code": sql,
        "compiled_code": sql,
        "columns": {name: _column(name, index, is_view=is_view) for name in _names()},
        "config": {
            "materialized": "table",
            "event_time": "happened_at",
            "meta": meta,
            "tags": [],
            "quoting": {},
            "grants": {},
        },
        "meta": meta,
        "description": "What a customer ordered. " * 8,
        "tags": ["nightly"],
        "original_file_path": f"models/orders_{index}.sql",
        "patch_path": "big://models/orders.yml",
        "depends_on": {"nodes": [f"model.big.orders_{index - 1}"] if index else [], "macros": ["macro.dbt.macro_1"]},
        "unrendered_config": {"materialized": "table"},
    }


def _names() -> Iterator[str]:
    yield from ("customer_id", "happened_at")
    yield from (f"f_{number}" for number in range(COLUMNS - 2))


def _column(name: str, index: int, *, is_view: bool) -> dict:
    dtype = {"customer_id": "bigint", "happened_at": "timestamp"}.get(name, "decimal(18, 4)" if index % 2 else "double")
    said = {"join_key": "customer"} if name == "customer_id" else {"default": 0, "unit": "EUR"} if name == "f_1" else {}
    meta = {"featurelayer": said} if is_view and said else {}
    return {
        "name": name,
        "description": "Sum of the amounts of one kind, in euros.",
        "meta": meta,
        "data_type": dtype,
        "constraints": [],
        "quote": None,
        "config": {"meta": meta, "tags": []},
        "tags": [],
        "granularity": None,
        "doc_blocks": [],
    }


def _tests(node: dict) -> list[dict]:
    return [
        {
            "unique_id": f"test.big.{kind}_{node['name']}",
            "name": f"{kind}_{node['name']}",
            "resource_type": "test",
            "compiled_code": "select count(*) from big.main.orders where customer_id is null " * 18,
            "config": {"enabled": True, "severity": "ERROR", "meta": {}, "store_failures": None},
            "depends_on": {"nodes": [node["unique_id"]], "macros": ["macro.dbt.macro_2"]},
            "attached_node": node["unique_id"],
        }
        for kind in ("not_null", "unique")
    ]


def _service(index: int, views: range) -> dict:
    return {
        "unique_id": f"exposure.big.service_{index}",
        "name": f"service_{index}",
        "type": "ml",
        "config": {"meta": {"featurelayer": {"features": [f"orders_{view}.*" for view in views]}}},
        "depends_on": {"nodes": [f"model.big.orders_{view}" for view in views]},
        "original_file_path": "models/services.yml",
        "owner": {"name": "ML", "email": "ml@example.com"},
    }


def best(task: Callable[[], object]) -> float:
    """The shortest of three runs, in seconds."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=5000)
    parser.add_argument("--views", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "dbt_project.yml").write_text("name: big\nprofile: big\n")
        (root / "featurelayer.yml").write_text("entities: {customer: {keys: {customer_id: bigint}}}\n")
        path = root / "target" / "manifest.json"
        path.parent.mkdir()
        path.write_text(json.dumps(manifest(arguments.models, arguments.views)))
        project = load_project(root)
        size = path.stat().st_size / 1e6
        views = len(load_registry(project).views)
        seconds = {
            "registry": best(lambda: load_registry(project)),
            "json.loads": best(lambda: json.loads(path.read_bytes())),
            "file read": best(path.read_bytes),
        }
    ours = seconds["registry"]
    result = {
        "manifest_mb": round(size, 1),
        "views": views,
        "registry_seconds": round(ours, 3),
        "ratio_to_json_loads": round(ours / seconds["json.loads"], 3),
        "ratio_to_file_read": round(ours / seconds["file read"], 1),
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"manifest of {size:.0f} MB, {arguments.models} models, {views} feature views")
    for name, value in seconds.items():
        print(f"  {name:<12} {value:7.3f} s   {ours / value:6.2f} x")
    print(f"  {'under 0.5 s' if ours < 0.5 else 'NOT under 0.5 s'}")


if __name__ == "__main__":
    main()
