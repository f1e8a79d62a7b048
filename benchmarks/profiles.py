"""What a profile costs beside a plain scan: CPU time of both in one run, in DuckDB.

    python benchmarks/profiles.py                                200 columns x 10,000,000 rows: minutes, 18 GB of disk
    python benchmarks/profiles.py --columns 50 --rows 1000000    the same ratio, sooner

The plain scan counts values, least, greatest, mean and standard deviation of every column. The profile does that too,
with NaN and infinities set apart, counts different values, and takes quantiles and a histogram of 20 bins: once of all
rows, and once of 28 days of event time, as a run of the monitors does, with histograms of the last and of the three of
its weekday before.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from featurelayer.monitor.profiler import FeatureFrame, find_bins, measure_features
from featurelayer.sql.profile import RowSource, Slot
from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse

START, DAYS = datetime(2024, 1, 1, tzinfo=UTC), 28
SHAPED = (6, 13, 20, 27)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, default=200)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=1, help="times that each is done; the least counts")
    options = parser.parse_args()
    with made(options.columns, options.rows) as warehouse:
        columns = {column.name: column for column in warehouse.describe("t")}
        features = {name: column for name, column in columns.items() if name.startswith("c")}
        step = timedelta(seconds=1) * options.rows / DAYS
        slots = tuple(Slot(ranges=((START + step * day, START + step * (day + 1)),)) for day in range(DAYS))
        whole = FeatureFrame(rows=RowSource(source="t", chosen_by=("k", "happened_at")), columns=features)
        daily = FeatureFrame(
            rows=RowSource(source="t", time=columns["happened_at"], slots=slots, chosen_by=("k", "happened_at")),
            columns=features,
        )
        print(f"{options.columns} columns x {options.rows:,} rows, DuckDB {duckdb.__version__}, CPU seconds")
        plain = least(options.repeat, lambda: warehouse.rows(scan(features)))
        print(f"plain scan and aggregate              {plain:8.2f}")
        bins = find_bins(warehouse, whole, 20)
        spent = least(options.repeat, lambda: measure_features(warehouse, whole, {}, bins))
        print(f"{'profile of all rows':38}{spent:8.2f}   {spent / plain:.2f} x the plain scan")
        spent = least(options.repeat, lambda: measure_features(warehouse, daily, {}, bins, SHAPED))
        print(f"{f'profile of {DAYS} days':38}{spent:8.2f}   {spent / plain:.2f} x the plain scan")
        finding = least(options.repeat, lambda: find_bins(warehouse, whole, 20))
        print(f"{'finding the bins, once per baseline':38}{finding:8.2f}   {finding / plain:.2f} x the plain scan")


def scan(features: dict[str, object]) -> str:
    parts = [f"count({name}), min({name}), max({name}), avg({name}), stddev({name})" for name in features]
    return f"SELECT count(*), {', '.join(parts)} FROM t"


@contextmanager
def made(columns: int, rows: int) -> Iterator[DuckDBWarehouse]:
    """A table of doubles and integers, a tenth of the doubles missing, in a file of its own."""
    with tempfile.TemporaryDirectory(prefix="featurelayer-benchmark-") as folder:
        connection = duckdb.connect(str(Path(folder) / "t.duckdb"))
        connection.execute("SET memory_limit = '6GB'; SET preserve_insertion_order = false; SELECT setseed(0.5)")
        numbers = ", ".join(
            f"CAST(random() * 1000 AS BIGINT) AS c{number}"
            if number % 2
            else f"CASE WHEN random() < 0.1 THEN NULL ELSE (random() + random() + random()) * 100 END AS c{number}"
            for number in range(columns)
        )
        connection.execute(
            f"CREATE TABLE t AS SELECT i % 100000 AS k, TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND AS happened_at, "
            f"{numbers} FROM range({rows}) AS r(i)"
        )
        with closing(DuckDBWarehouse(connection)) as warehouse:
            yield warehouse


def least(repeat: int, run: Callable[[], object]) -> float:
    """Return the least CPU time of several runs, of all threads."""
    spent = []
    for _ in range(repeat):
        before = resource.getrusage(resource.RUSAGE_SELF)
        run()
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


if __name__ == "__main__":
    main()
