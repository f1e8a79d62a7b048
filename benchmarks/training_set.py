"""Training sets against the same join by hand, against polars and Feast, and against themselves on harder data.

    python benchmarks/training_set.py                     # three views, and a small set
    python benchmarks/training_set.py skew growth --runs 5
    python benchmarks/training_set.py all                 # an hour, 30 GB of disk and a download of Feast

Every contender reads the same labels and rows, writes the same parquet file and runs in a process of its own; the runs
alternate, so that a change of the machine's speed meets all. Printed are medians, peak memory and ratios of one run.

- `featurelayer`: `build_training_set(...).to_parquet(...)`, with checks, tie resolution, report, and lock.
- `dbt model`: the one query that `featurelayer dbt-model` writes, and nothing else.
- `by hand`: match-resolve-fetch SQL for DuckDB as an expert would write it for this data, and nothing else.
- `polars`: `join_asof` view by view.
- `feast`: `get_historical_features` of its DuckDB store, in a virtual environment that is made for it.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featurelayer.training import ResolvedRequest
    from featurelayer.warehouse import Warehouse

DATA = Path(__file__).parent / "data"
TTL = timedelta(days=90)
FEAST = "feast[duckdb]==0.67.0"


@dataclass(frozen=True, kw_only=True)
class World:
    """Labels and rows of random keys and times within a year.

    `skew` gives one key a fifth of all rows and labels, `late` an available time beside the event time. Of the labels
    the first `share` of the keys is kept. Without `expiring` rows are valid for ever, not for 90 days. The rest is what
    the engine may use.
    """

    labels: int = 1_000_000
    rows: int = 10_000_000
    views: int = 1
    features: int = 10
    rows_per_key: int = 100
    skew: bool = False
    late: bool = False
    share: float = 1.0
    expiring: bool = True
    memory_limit: str = ""

    @property
    def keys(self) -> int:
        return max(1, self.rows // self.rows_per_key)

    @property
    def folder(self) -> Path:
        kind = ("-skew" if self.skew else "") + ("-late" if self.late else "")
        return DATA / f"{self.labels}x{self.rows}x{self.views}x{self.features}-{self.rows_per_key}{kind}"

    @property
    def label_file(self) -> Path:
        return self.folder / ("labels.parquet" if self.share == 1 else f"labels-{self.share}.parquet")


def generate(world: World) -> None:
    """Write the data once: one DuckDB file and the same tables as parquet."""
    import duckdb

    folder, year = world.folder, 365 * 24 * 3600 * 1_000_000
    folder.mkdir(parents=True, exist_ok=True)

    def key_and_time(salt: int) -> str:
        key = f"(hash(i, {salt}, 1) % {world.keys})::BIGINT"
        if world.skew:
            key = f"CASE WHEN hash(i, {salt}, 4) % 5 = 0 THEN 0 ELSE {key} END"
        return f"{key} AS k, TIMESTAMP '2025-01-01' + to_microseconds((hash(i, {salt}, 2) % {year})::BIGINT) AS ts"

    # A tenth of the late rows comes up to three days late, and one in twenty states the event before it once more.
    event = "CASE WHEN hash(n, 9) % 20 = 0 THEN n - 1 ELSE n END" if world.late else "n"
    wait = "(CASE WHEN hash(n, 7) % 10 = 0 THEN hash(n, 8) % 259200 ELSE 60 END)::BIGINT" if world.late else "0"
    if not (folder / "done").exists():
        (folder / "views.duckdb").unlink(missing_ok=True)
        con = duckdb.connect(str(folder / "views.duckdb"), config={"threads": 2})
        con.execute("SET enable_progress_bar = false")
        for view in range(world.views):
            columns = ", ".join(
                f"(hash(n, {view * 1000 + f}) % 1000003) / 997.0 AS f{f}" for f in range(world.features)
            )
            con.execute(
                f"CREATE TABLE v{view} AS SELECT {key_and_time(view)}, ts + to_seconds({wait}) AS seen, {columns} "
                f"FROM (SELECT n, {event} AS i FROM range({world.rows}) r(n))"
            )
            con.execute(f"COPY v{view} TO '{folder}/v{view}.parquet'")
        con.execute(
            f"COPY (SELECT {key_and_time(99)}, (hash(i, 3) % 2)::INTEGER AS y FROM range({world.labels}) t(i)) "
            f"TO '{folder}/labels.parquet'"
        )
        con.close()
        (folder / "done").touch()
    if not world.label_file.exists():
        kept = f"SELECT * FROM '{folder}/labels.parquet' WHERE k < {int(world.keys * world.share)}"
        duckdb.connect().execute(f"COPY ({kept}) TO '{world.label_file}'")


def request(world: World) -> tuple[Warehouse, ResolvedRequest]:
    """What the product is asked for."""
    from featurelayer.model import DType, Feature, FeatureService, FeatureView, JoinKey, Key, ServiceView
    from featurelayer.training import Provenance, ResolvedRequest
    from featurelayer.warehouse.engines.duckdb.warehouse import connect

    integer, real, when = DType.parse("int64"), DType.parse("float64"), DType.parse("timestamp")
    names = tuple(f"f{f}" for f in range(world.features))
    found = {
        f"v{view}": FeatureView(
            name=f"v{view}",
            unique_id=f"model.bench.v{view}",
            relation_name=f'"views"."main"."v{view}"',
            entities=("thing",),
            join_keys=(JoinKey(column="k", entity="thing", key="k", dtype=integer),),
            features=tuple(Feature(name=name, dtype=real) for name in names),
            columns=(("k", integer), ("ts", when), ("seen", when), *((name, real) for name in names)),
            event_time="ts",
            available_at="seen" if world.late else None,
            ttl=TTL if world.expiring else None,
        )
        for view in range(world.views)
    }
    service = FeatureService(
        name="bench",
        views=tuple(ServiceView(view=name, prefix=name, features=names, keys=(("k", "k"),)) for name in found),
        request_keys=(Key(name="k", dtype=integer),),
        label_timestamp="ts",
    )
    provenance = Provenance(
        project="bench", manifest_sha256="0" * 64, dbt_version="", dbt_invocation_id="", service_fingerprint=""
    )
    settings = {"threads": 2} | ({"memory_limit": world.memory_limit} if world.memory_limit else {})
    warehouse = connect({"type": "duckdb", "path": "views.duckdb", "settings": settings}, root=world.folder)
    labels = warehouse.attach(world.label_file)
    return warehouse, ResolvedRequest(
        service=service, views=found, labels=labels, labels_name="labels", provenance=provenance
    )


def featurelayer(world: World) -> None:
    """The product's own path."""
    from featurelayer.training import build_training_set

    with build_training_set(*request(world)) as training_set:
        training_set.to_parquet(world.folder / "out-featurelayer.parquet")


def dbt_model(world: World) -> None:
    """The same set as one query, as `featurelayer dbt-model` writes it."""
    from featurelayer.sql.compiler import compile_statement
    from featurelayer.training import plan_request

    warehouse, wanted = request(world)
    query = compile_statement(plan_request(warehouse, wanted), warehouse.dialect)
    warehouse.execute(f"COPY ({query}) TO '{world.folder}/out-dbt_model.parquet' (FORMAT parquet)")
    warehouse.close()


def by_hand(world: World) -> None:
    """What an expert would write for this data: thin match, ties resolved where there are any, fetch, last join."""
    import duckdb

    folder = world.folder
    con = duckdb.connect(str(folder / "views.duckdb"), read_only=True, config={"threads": 2})
    con.execute("SET enable_progress_bar = false")
    con.execute(f"SET temp_directory = '{folder}/spill'")
    if world.memory_limit:
        con.execute(f"SET memory_limit = '{world.memory_limit}'")
    con.execute(
        f"CREATE TEMP TABLE labels AS SELECT row_number() OVER () - 1 AS id, * FROM read_parquet('{world.label_file}')"
    )
    con.execute("SET VARIABLE first = (SELECT min(ts) - INTERVAL 90 DAYS FROM labels)")
    con.execute("SET VARIABLE last = (SELECT max(ts) FROM labels)")
    names = [f"f{f}" for f in range(world.features)]
    for view in range(world.views):
        con.execute(f"""
            CREATE TEMP TABLE m{view} AS
            SELECT l.id, f.k, f.ts FROM labels l ASOF JOIN (
                SELECT k, ts FROM v{view} SEMI JOIN labels USING (k)
                WHERE ts BETWEEN getvariable('first') AND getvariable('last')
            ) f ON l.k = f.k AND l.ts >= f.ts
            WHERE f.ts >= l.ts - INTERVAL 90 DAYS""")
        columns = ", ".join(f"f.{name}" for name in names)
        con.execute(
            f"CREATE TEMP TABLE r{view} AS SELECT m.id, {columns} "
            f"FROM m{view} m JOIN v{view} f ON f.k = m.k AND f.ts = m.ts"
        )
        tied = con.execute(f"SELECT id FROM r{view} GROUP BY id HAVING count(*) > 1").fetchall()
        for (label,) in tied:
            order = ", ".join(f"{name} DESC" for name in names)
            row = con.execute(f"SELECT * FROM r{view} WHERE id = {label} ORDER BY {order} LIMIT 1").fetchone()
            con.execute(f"DELETE FROM r{view} WHERE id = {label}")
            con.execute(f"INSERT INTO r{view} VALUES ({', '.join('?' * len(row))})", row)
    selected = ", ".join(f"r{view}.{name} AS v{view}__{name}" for view in range(world.views) for name in names)
    joins = " ".join(f"LEFT JOIN r{view} ON r{view}.id = labels.id" for view in range(world.views))
    con.execute(
        f"COPY (SELECT k, ts, y, {selected} FROM labels {joins} ORDER BY labels.id) "
        f"TO '{folder}/out-by_hand.parquet' (FORMAT parquet)"
    )


def reading(world: World) -> None:
    """The floor where every block of the file holds some row that is wanted: sum up all columns, cold."""
    import duckdb

    con = duckdb.connect(str(world.folder / "views.duckdb"), read_only=True, config={"threads": 2})
    for view in range(world.views):
        con.execute(f"SELECT max(k), max(ts), {', '.join(f'sum(f{f})' for f in range(world.features))} FROM v{view}")


def polars(world: World) -> None:
    """`join_asof`, which needs both sides sorted by time and takes the last row of a tie by position."""
    import polars as pl

    names = [f"f{f}" for f in range(world.features)]
    labels = pl.scan_parquet(world.label_file).with_row_index("id").sort("ts")
    for view in range(world.views):
        right = pl.scan_parquet(world.folder / f"v{view}.parquet").select("k", "ts", *names).sort("ts")
        right = right.rename({name: f"v{view}__{name}" for name in names})
        labels = labels.join_asof(right, on="ts", by="k", strategy="backward", tolerance=TTL, check_sortedness=False)
    labels.sort("id").drop("id").collect(engine="auto").write_parquet(
        world.folder / "out-polars.parquet", compression="snappy"
    )


def feast(world: World) -> None:
    """Feast's DuckDB offline store, to an Arrow table and a parquet file; its registry is made before."""
    import pandas as pd
    import pyarrow.parquet as pq
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
    from feast.types import Float64
    from feast.value_type import ValueType

    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(world.folder / "feast.db"),
            offline_store={"type": "duckdb"},
            online_store={"type": "sqlite", "path": str(world.folder / "feast-online.db")},
            entity_key_serialization_version=3,
        )
    )
    names = [f"f{f}" for f in range(world.features)]
    key = Entity(name="thing", join_keys=["k"], value_type=ValueType.INT64)
    views = [
        FeatureView(
            name=f"v{view}",
            entities=[key],
            ttl=TTL if world.expiring else timedelta(0),
            schema=[Field(name=name, dtype=Float64) for name in names],
            source=FileSource(path=str(world.folder / f"v{view}.parquet"), timestamp_field="ts"),
        )
        for view in range(world.views)
    ]
    store.apply([key, *views])
    started = time.perf_counter()
    labels = pd.read_parquet(world.label_file).rename(columns={"ts": "event_timestamp"})
    features = [f"v{view}:{name}" for view in range(world.views) for name in names]
    found = store.get_historical_features(labels, features, full_feature_names=True).to_arrow()
    pq.write_table(found, world.folder / "out-feast.parquet", compression="snappy")
    print(json.dumps({"rows": found.num_rows, "seconds": time.perf_counter() - started}))


RUNNERS: dict[str, Callable[[World], None]] = {
    "featurelayer": featurelayer, "dbt model": dbt_model, "by hand": by_hand, "reading": reading, "polars": polars,
    "feast": feast,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Runs to be compared: name, contender and world; the first one is divided by each other one."""

    runs: tuple[tuple[str, str, World], ...]
    claim: str


def peers(world: World, *others: str) -> tuple[tuple[str, str, World], ...]:
    return tuple((name, name, world) for name in ("featurelayer", *others))


def ours(**worlds: World) -> tuple[tuple[str, str, World], ...]:
    return tuple((name.replace("_", " "), "featurelayer", world) for name, world in worlds.items())


PLAIN = World()
SCENARIOS = {
    "view": Scenario(runs=peers(PLAIN, "by hand", "polars"), claim="at most 1.1 of by hand"),
    "views": Scenario(runs=peers(replace(PLAIN, views=3), "by hand", "polars"), claim="at most 1.1 of by hand"),
    "ten-views": Scenario(runs=peers(replace(PLAIN, views=10), "by hand", "polars"), claim="at most 1.1 of by hand"),
    "wide": Scenario(
        runs=peers(World(rows=3_000_000, features=200), "by hand", "polars"), claim="at most 1.1 of by hand"
    ),
    "small": Scenario(
        runs=peers(World(labels=100_000, rows=1_000_000, views=3), "by hand", "polars"), claim="fixed costs show"
    ),
    "late": Scenario(runs=ours(with_available_at=replace(PLAIN, late=True), plain=PLAIN), claim="at most 1.6"),
    "skew": Scenario(runs=ours(one_key_a_fifth=replace(PLAIN, skew=True), uniform=PLAIN), claim="at most 1.3"),
    "few-keys": Scenario(
        runs=(
            *ours(all_keys=PLAIN, one_percent=replace(PLAIN, share=0.01)),
            ("1 % by hand", "by hand", replace(PLAIN, share=0.01)),
            ("reading it", "reading", replace(PLAIN, share=0.01)),
        ),
        claim="at least 5, and not far from by hand and from reading the columns",
    ),
    "few-keys-of-three": Scenario(
        runs=ours(all_keys=replace(PLAIN, views=3), one_percent=replace(PLAIN, views=3, share=0.01)), claim="at least 5"
    ),
    "growth": Scenario(
        runs=ours(ten_million=PLAIN, one_million=World(rows=1_000_000), fifty_million=World(rows=50_000_000)),
        claim="at most 10 and at least 0.2",
    ),
    "memory": Scenario(
        runs=ours(two_GB=replace(PLAIN, views=10, memory_limit="2GB"), free=replace(PLAIN, views=10)),
        claim="peak at most 2,800 MB",
    ),
    "many-labels": Scenario(
        runs=ours(
            fifty_million=World(labels=50_000_000, memory_limit="2GB"), one_million=replace(PLAIN, memory_limit="2GB")
        ),
        claim="peak at most 2,800 MB",
    ),
    "dbt-model": Scenario(
        runs=(
            *peers(replace(PLAIN, views=3), "dbt model"),
            ("dbt model in 2 GB", "dbt model", replace(PLAIN, views=3, memory_limit="2GB")),
        ),
        claim="at least 0.5",
    ),
    "feast": Scenario(
        runs=peers(replace(PLAIN, views=3, expiring=False), "feast"), claim="at most 1/12, 100 rows per key"
    ),
    "feast-history": Scenario(
        runs=peers(World(labels=100_000, rows=1_000_000, views=3, rows_per_key=1000, expiring=False), "feast"),
        claim="at most 1/50, 1,000 rows per key",
    ),
}  # fmt: skip
DEFAULT = ("views", "small")
UNITS = ("seconds", "CPU", "peak MB")


def same_rows(world: World) -> str:
    """Compare two outputs by value; polars breaks ties by position, so only its row count counts."""
    import duckdb

    ours, hand = world.folder / "out-featurelayer.parquet", world.folder / "out-by_hand.parquet"
    (different,) = duckdb.execute(
        f"SELECT count(*) FROM (SELECT * FROM '{ours}') a POSITIONAL JOIN (SELECT * FROM '{hand}') b WHERE a <> b"
    ).fetchone()
    return "identical rows" if different == 0 else f"{different:,} rows differ"


def python_of(contender: str) -> str:
    """Feast has dependencies of its own; it never shares an environment with us."""
    if contender != "feast":
        return sys.executable
    folder = DATA / "feast-venv"
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", FEAST], check=True)
        (folder / "done").touch()
    return str(python)


def read_ahead(contender: str, world: World) -> None:
    """Have the system hold a contender's files in memory, or who follows one that reads the same has it easier."""
    views = (
        [f"v{view}.parquet" for view in range(world.views)] if contender in ("polars", "feast") else ["views.duckdb"]
    )
    for path in (world.label_file, *(world.folder / name for name in views)):
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def measure(contender: str, world: World) -> tuple[float, ...]:
    """Run one contender in its own process; seconds of work (imports are not counted), of CPU, and peak MB."""
    command = [python_of(contender), __file__, "--child", contender, json.dumps(asdict(world))]
    read_ahead(contender, world)
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return tuple(json.loads(found.stdout.splitlines()[-1]))


def child(contender: str, world: World) -> None:
    """Import what the contender uses, then run it against the clock."""
    import pyarrow.parquet  # noqa: F401

    if contender == "polars":
        import polars  # noqa: F401
    elif contender == "feast":
        import feast.infra.offline_stores.duckdb  # noqa: F401
    else:
        import duckdb  # noqa: F401
    if contender in ("featurelayer", "dbt model"):
        import sqlglot.dialects.duckdb  # noqa: F401

        import featurelayer.sql.dialects.duckdb
        import featurelayer.training
        import featurelayer.warehouse.digest
        import featurelayer.warehouse.engines.duckdb.warehouse  # noqa: F401
    started, busy = time.perf_counter(), time.process_time()
    RUNNERS[contender](world)
    print(json.dumps([time.perf_counter() - started, time.process_time() - busy, peak()]))


def peak() -> float:
    """This process's greatest resident memory in MB; `ru_maxrss` would count its parent's before it was started."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024


def run(name: str, scenario: Scenario, rounds: int) -> None:
    """Run a scenario and print its table."""
    for _, _, world in scenario.runs:
        generate(world)
    runs: dict[str, list[tuple[float, ...]]] = {label: [] for label, _, _ in scenario.runs}
    for _ in range(rounds):
        for label, contender, world in scenario.runs:
            runs[label].append(measure(contender, world))
    world = scenario.runs[0][2]
    print(f"\n{name}: {world.labels:,} labels x {world.rows:,} rows x {world.views} views x {world.features} features")
    print(f"{'':20}" + "".join(f"{head:>10}" for head in (*UNITS, "time x", "CPU x", "memory x")))
    medians = {
        label: [statistics.median(values) for values in zip(*found, strict=True)] for label, found in runs.items()
    }
    base = medians[scenario.runs[0][0]]
    for label, found in medians.items():
        ratios = "".join(f"{one / other:10.2f}" for one, other in zip(base, found, strict=True))
        print(f"{label:20}{found[0]:10.2f}{found[1]:10.2f}{found[2]:10.0f}{ratios}")
    print(f"x: {scenario.runs[0][0]} over that line; wanted: {scenario.claim}", end="")
    print(f"; featurelayer and by hand: {same_rows(world)}" if "by hand" in runs else "", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(SCENARIOS)}, or all")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--child", choices=[*RUNNERS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, World(**json.loads(options.scenarios[0])))
        return
    names = list(SCENARIOS) if options.scenarios == ["all"] else options.scenarios or list(DEFAULT)
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        parser.error(f"there is no scenario {', '.join(unknown)}; choose from {', '.join(SCENARIOS)}")
    for name in names:
        run(name, SCENARIOS[name], options.runs)


if __name__ == "__main__":
    main()
