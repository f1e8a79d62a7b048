"""What a large export takes: memory against DuckDB's limit, rows per second, and a second one that finds few changes.

    python benchmarks/export_large.py                                                  1M entities: a minute or two
    python benchmarks/export_large.py --entities 10000000 --memory-limit 2GB           10M: a quarter of an hour

A project of one view is made, with one row per entity in a DuckDB file, and `featurelayer export` brings it to the stub
of `export.py`, which takes every write at once. Then 1 % of the entities get a newer row and it runs again; its first
step, which compares, is `featurelayer export --plan`. The floor is a process that reads every value of the view once,
with the same settings. Memory is the peak of the process, CPU that of all its threads.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb
from export import REGION, stub

SHARE = 100  # every so many entities get a newer row
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a process took, and what it printed."""

    seconds: float
    cpu: float
    peak: int
    output: str


def run(folder: Path, *command: str) -> Spent:
    """Run a command and measure it, all of it and nothing else."""
    output = folder / "output"
    began = time.perf_counter()
    with output.open("w") as out, (folder / "errors").open("w") as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{(folder / 'errors').read_text()}")
    scale = 1 if sys.platform == "darwin" else 1024
    return Spent(seconds=time.perf_counter() - began, cpu=used.ru_utime + used.ru_stime, peak=used.ru_maxrss * scale,
                 output=output.read_text())  # fmt: skip


def make_project(folder: Path, features: int, memory_limit: str, url: str) -> None:
    """Write a dbt project of one built view, and where it is exported to."""
    names = {"customer_id": "bigint", "at": "timestamp"} | {f"amount_{at:02d}": "double" for at in range(features)}
    meta = {"customer_id": {"featurelayer": {"join_key": "customer"}}}
    view = {
        "unique_id": "model.bench.spending", "name": "spending", "resource_type": "model", "package_name": "bench",
        "relation_name": '"bench"."main"."spending"', "original_file_path": "models/spending.sql",
        "patch_path": "bench://models/features.yml", "depends_on": {"nodes": []},
        "columns": {name: {"name": name, "data_type": kind, "config": {"meta": meta.get(name, {})}}
                    for name, kind in names.items()},
        "config": {"event_time": "at", "materialized": "table",
                   "meta": {"featurelayer": {"entity": "customer", "ttl": "365 days", "online": True}}},
    }  # fmt: skip
    made = {"dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json", "dbt_version": "1.11.16",
            "adapter_type": "duckdb", "project_name": "bench", "generated_at": "2026-01-01T00:00:00Z"}  # fmt: skip
    manifest = {"metadata": made, "nodes": {view["unique_id"]: view}, "exposures": {}}
    settings = {"memory_limit": memory_limit, "threads": 2}
    target = {"type": "duckdb", "path": "bench.duckdb", "settings": settings}
    store = {"type": "dynamodb", "table": "features", "region": REGION, "endpoint_url": url}
    (folder / "dbt_project.yml").write_text("name: bench\nprofile: bench\n")
    # What is JSON is YAML.
    (folder / "profiles.yml").write_text(json.dumps({"bench": {"target": "dev", "outputs": {"dev": target}}}))
    entities = {"customer": {"keys": {"customer_id": "bigint"}}}
    (folder / "featurelayer.yml").write_text(json.dumps({"entities": entities, "online_store": {"dev": store}}))
    (folder / "target").mkdir()
    (folder / "target" / "manifest.json").write_text(json.dumps(manifest))


def fill(folder: Path, entities: int, features: int, memory_limit: str) -> None:
    """Make the view: values of as many digits as measured ones have."""
    values = ", ".join(f"hash(k, {at}) % 1000003 / 997.0 AS amount_{at:02d}" for at in range(features))
    with duckdb.connect(str(folder / "bench.duckdb"), config={"memory_limit": memory_limit, "threads": 2}) as database:
        database.execute("SET enable_progress_bar = false")
        database.execute(
            "CREATE TABLE spending AS SELECT k AS customer_id, "
            f"now()::TIMESTAMP - INTERVAL 2 DAY - to_seconds(k % 86400) AS at, {values} FROM range({entities}) t(k)"
        )


def change(folder: Path) -> int:
    """Give one of `SHARE` entities a newer row; return how many."""
    with duckdb.connect(str(folder / "bench.duckdb")) as database:
        database.execute(
            'INSERT INTO spending SELECT * REPLACE ("at" + INTERVAL 1 DAY AS "at", amount_00 + 1 AS amount_00) '
            f"FROM spending WHERE hash(customer_id) % {SHARE} = 0"
        )
        return (
            database.execute(f"SELECT count(*) FROM spending WHERE hash(customer_id) % {SHARE} = 0").fetchone()[0] // 2
        )


READ = """
import duckdb, sys
with duckdb.connect("bench.duckdb", read_only=True, config={"memory_limit": sys.argv[1], "threads": 2}) as database:
    print(database.execute("SELECT max(COLUMNS(*)) FROM spending").fetchone())
"""


def measure(entities: int, features: int, memory_limit: str, scratch: Path | None) -> dict:
    """Export twice, and return what that took."""
    exporting = [sys.executable, "-m", "featurelayer", "export", "--format", "json"]
    with tempfile.TemporaryDirectory(prefix="featurelayer-benchmark-", dir=scratch) as made, stub() as url:
        folder = Path(made)
        make_project(folder, features, memory_limit, url)
        fill(folder, entities, features, memory_limit)
        first = run(folder, *exporting)
        changed = change(folder)
        floor = run(folder, sys.executable, "-c", READ, memory_limit)
        plan = run(folder, *exporting, "--plan")
        second = run(folder, *exporting)
        size = (folder / "bench.duckdb").stat().st_size
    spent = {"first": first, "floor": floor, "plan": plan, "second": second}
    written = {name: json.loads(spent[name].output)["views"][0]["written"] for name in ("first", "second")}
    assert written["first"] == entities, written
    return {
        "entities": entities, "features": features, "changed": changed, "written": written["second"],
        "database": size, "memory_limit": in_bytes(memory_limit),
        "spent": {name: {"seconds": each.seconds, "cpu": each.cpu, "peak": each.peak} for name, each in spent.items()},
    }  # fmt: skip


def in_bytes(size: str) -> int:
    """Return the bytes that DuckDB takes `2GB` for."""
    number, unit = re.fullmatch(r"([\d.]+)\s*([A-Z]+)", size.upper()).groups()
    return int(float(number) * UNITS[unit])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--memory-limit", default="500MB", help="of DuckDB, such as 2GB")
    parser.add_argument("--scratch", type=Path, help="a folder with room; by default the system's for temporary files")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
    found = measure(options.entities, options.features, options.memory_limit, options.scratch)
    if options.json:
        print(json.dumps(found))
        return
    spent, entities = found["spent"], found["entities"]
    first, floor, second = spent["first"], spent["floor"], spent["second"]
    print(f"{entities:,} entities, {found['features']} features, memory_limit {options.memory_limit}; "
          f"afterwards the database has {found['database'] / 1e9:.1f} GB")  # fmt: skip
    print(f"{'':28}{'seconds':>9}{'CPU s':>9}{'us/item':>9}{'items/s':>10}{'peak / limit':>14}")
    for name, what in (("first", "first export"), ("floor", "reading the view once"), ("plan", "comparing it (--plan)"),
                       ("second", "second export")):  # fmt: skip
        each = spent[name]
        print(f"{what:28}{each['seconds']:9.1f}{each['cpu']:9.1f}{each['cpu'] / entities * 1e6:9.1f}"
              f"{entities / each['seconds']:10,.0f}{each['peak'] / found['memory_limit']:14.2f}")  # fmt: skip
    print(f"changed rows {found['changed'] / entities:.2%} of all, written the second time "
          f"{found['written'] / entities:.2%}; time over the first export {second['seconds'] / first['seconds']:.2f} "
          f"(CPU {second['cpu'] / first['cpu']:.2f}), over reading once {second['seconds'] / floor['seconds']:.1f} "
          f"(CPU {second['cpu'] / floor['cpu']:.1f})")  # fmt: skip


if __name__ == "__main__":
    main()
