"""A training set against the same join written by hand, and against polars: wall time and peak memory, as ratios.

    python benchmarks/training_set.py [--labels 1000000] [--rows 10000000] [--views 3] [--features 10] [--runs 3]

All three read the same 100 rows per key and labels and write the same parquet file, each in a process of its own:

- `featurelayer`: `build_training_set(...).to_parquet(...)`, with checks, tie resolution, report, and lock.
- `by hand`: match-resolve-fetch SQL for DuckDB as an expert would write it for this data, and nothing else.
- `polars`: `join_asof` view by view, streaming where polars does.

The runs alternate, so that a change of the machine's speed meets all; printed are medians and their ratios.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

DATA = Path(__file__).parent / "data"
TTL = timedelta(days=90)


def generate(labels: int, rows: int, views: int, features: int) -> Path:
    """Write the data once: one DuckDB file and the same tables as parquet."""
    import duckdb

    folder = DATA / f"{labels}x{rows}x{views}x{features}"
    if (folder / "done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "views.duckdb").unlink(missing_ok=True)
    keys = max(1, rows // 100)
    year = 365 * 24 * 3600 * 1_000_000

    def key_and_time(salt: int) -> str:
        return (
            f"(hash(i, {salt}, 1) % {keys})::BIGINT AS k, "
            f"TIMESTAMP '2025-01-01' + to_microseconds((hash(i, {salt}, 2) % {year})::BIGINT) AS ts"
        )

    con = duckdb.connect(str(folder / "views.duckdb"), config={"threads": 2})
    con.execute("SET enable_progress_bar = false")
    query = f"SELECT {key_and_time(99)}, (hash(i, 3) % 2)::INTEGER AS y FROM range({labels}) t(i)"
    con.execute(f"COPY ({query}) TO '{folder}/labels.parquet'")
    for view in range(views):
        columns = ", ".join(f"(hash(i, {view * 1000 + f}) % 1000003) / 997.0 AS f{f}" for f in range(features))
        con.execute(f"CREATE TABLE v{view} AS SELECT {key_and_time(view)}, {columns} FROM range({rows}) t(i)")
        con.execute(f"COPY v{view} TO '{folder}/v{view}.parquet'")
    con.close()
    (folder / "done").touch()
    return folder


def featurelayer(folder: Path, views: int, features: int) -> None:
    """The product's own path."""
    from featurelayer.model import DType, Feature, FeatureService, FeatureView, JoinKey, Key, ServiceView
    from featurelayer.training import Provenance, Request, build_training_set
    from featurelayer.warehouse.duckdb import connect

    integer, real, when = DType.parse("int64"), DType.parse("float64"), DType.parse("timestamp")
    names = tuple(f"f{f}" for f in range(features))
    found = {
        f"v{view}": FeatureView(
            name=f"v{view}",
            unique_id=f"model.bench.v{view}",
            relation_name=f'"views"."main"."v{view}"',
            entities=("thing",),
            join_keys=(JoinKey(column="k", entity="thing", key="k", dtype=integer),),
            features=tuple(Feature(name=name, dtype=real) for name in names),
            columns=(("k", integer), ("ts", when), *((name, real) for name in names)),
            event_time="ts",
            ttl=TTL,
        )
        for view in range(views)
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
    warehouse = connect({"type": "duckdb", "path": "views.duckdb", "settings": {"threads": 2}}, root=folder)
    labels = warehouse.attach(folder / "labels.parquet")
    request = Request(service=service, views=found, labels=labels, labels_name="labels", provenance=provenance)
    with build_training_set(warehouse, request) as training_set:
        training_set.to_parquet(folder / "out-featurelayer.parquet")


def by_hand(folder: Path, views: int, features: int) -> None:
    """What an expert would write for this data: thin match, ties resolved where there are any, fetch, last join."""
    import duckdb

    con = duckdb.connect(str(folder / "views.duckdb"), read_only=True, config={"threads": 2})
    con.execute("SET enable_progress_bar = false")
    con.execute(f"SET temp_directory = '{folder}/spill'")
    con.execute(
        "CREATE TEMP TABLE labels AS SELECT row_number() OVER () - 1 AS id, * "
        f"FROM read_parquet('{folder}/labels.parquet')"
    )
    con.execute("SET VARIABLE first = (SELECT min(ts) - INTERVAL 90 DAYS FROM labels)")
    con.execute("SET VARIABLE last = (SELECT max(ts) FROM labels)")
    names = [f"f{f}" for f in range(features)]
    for view in range(views):
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
    selected = ", ".join(f"r{view}.{name} AS v{view}__{name}" for view in range(views) for name in names)
    joins = " ".join(f"LEFT JOIN r{view} ON r{view}.id = labels.id" for view in range(views))
    con.execute(
        f"COPY (SELECT k, ts, y, {selected} FROM labels {joins} ORDER BY labels.id) "
        f"TO '{folder}/out-by_hand.parquet' (FORMAT parquet)"
    )


def polars(folder: Path, views: int, features: int) -> None:
    """`join_asof`, which needs both sides sorted by time and takes the last row of a tie by position."""
    import polars as pl

    names = [f"f{f}" for f in range(features)]
    labels = pl.scan_parquet(folder / "labels.parquet").with_row_index("id").sort("ts")
    for view in range(views):
        right = pl.scan_parquet(folder / f"v{view}.parquet").select("k", "ts", *names).sort("ts")
        right = right.rename({name: f"v{view}__{name}" for name in names})
        labels = labels.join_asof(right, on="ts", by="k", strategy="backward", tolerance=TTL, check_sortedness=False)
    labels.sort("id").drop("id").collect(engine="auto").write_parquet(
        folder / "out-polars.parquet", compression="snappy"
    )


RUNNERS = {"featurelayer": featurelayer, "by hand": by_hand, "polars": polars}


def same_rows(folder: Path) -> str:
    """Compare the first two outputs by value; polars breaks ties by position, so only its row count counts."""
    import duckdb

    ours, hand = folder / "out-featurelayer.parquet", folder / "out-by_hand.parquet"
    (different,) = duckdb.execute(
        f"SELECT count(*) FROM (SELECT * FROM '{ours}') a POSITIONAL JOIN (SELECT * FROM '{hand}') b WHERE a <> b"
    ).fetchone()
    return "identical rows" if different == 0 else f"{different:,} rows differ"


def measure(name: str, folder: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Run one contender in its own process; seconds of work (imports are not counted) and peak MB."""
    command = [
        sys.executable,
        __file__,
        "--child",
        name,
        "--folder",
        str(folder),
        "--views",
        str(options.views),
        "--features",
        str(options.features),
    ]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, memory = json.loads(found.stdout.splitlines()[-1])
    return seconds, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], choices=[*RUNNERS], help="leave contenders out")
    parser.add_argument("--child", choices=[*RUNNERS], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        import duckdb  # noqa: F401 (imported by all before the clock starts)
        import pyarrow.parquet  # noqa: F401

        if options.child == "polars":
            import polars  # noqa: F401
        if options.child == "featurelayer":
            import featurelayer.sql.dialects.duckdb
            import featurelayer.training
            import featurelayer.warehouse.duckdb  # noqa: F401
        started = time.perf_counter()
        RUNNERS[options.child](options.folder, options.views, options.features)
        print(json.dumps([time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
        return
    folder = generate(options.labels, options.rows, options.views, options.features)
    names = [name for name in RUNNERS if name not in options.without]
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(options.runs):
        for name in names:
            runs[name].append(measure(name, folder, options))
    print(
        f"{options.labels:,} labels x {options.rows:,} rows x {options.views} views x {options.features} features, "
        f"{options.runs} runs"
    )
    print(f"{'':14}{'seconds':>10}{'peak MB':>10}{'time x':>10}{'memory x':>10}")
    base = [statistics.median(values) for values in zip(*runs["featurelayer"], strict=True)]
    for name in names:
        seconds, memory = (statistics.median(values) for values in zip(*runs[name], strict=True))
        print(f"{name:14}{seconds:10.2f}{memory:10.0f}{base[0] / seconds:10.2f}{base[1] / memory:10.2f}")
    if {"featurelayer", "by hand"} <= set(names):
        print(f"time x, memory x: featurelayer over that contender. featurelayer and by hand: {same_rows(folder)}.")


if __name__ == "__main__":
    main()
