"""The forms of a point-in-time join on Spark, on two local cores: what each costs, as ratios of one run.

    python benchmarks/spark.py                                    # 1M labels x 10M rows, three features
    python benchmarks/spark.py --labels 100000 --rows 1000000     # a small one
    python benchmarks/spark.py --skew                             # one key has a fifth of all rows and labels
    python benchmarks/spark.py --forms chosen "without ties" --runs 3

All forms read the same parquet files and give the same rows, which is checked by a checksum. Printed is the processor
time of the Java process, which does all the work, in seconds: medians of the runs, which alternate, after one that
warms up; and the ratio to the chosen form. Forms that grow with the pairs of rows and labels of a key are left out with
--skew, where they do not end.

- `chosen`: what featurelayer writes: a running maximum over whole rows, with two more that count ties.
- `without ties`: the same as `featurelayer dbt-model` has it, which counts nothing.
- `two passes`: the portable form: a running maximum of the event time, then a join back to the rows of that time.
- `asof`: Spark's own ASOF JOIN, which ties break by luck and Spark before 4.3 does not have.
- `lead`: every row holds until the next one begins, found by LEAD; then a join by key and range.
- `row_number`: all rows before a label, the best of them by row_number.
- `max_by`: the same by max_by and GROUP BY.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from training_set import TTL, World, generate

QUADRATIC = ("lead", "row_number", "max_by")
FEATURES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--skew", action="store_true")
    parser.add_argument("--forms", nargs="+", default=[])
    parser.add_argument("--runs", type=int, default=2)
    asked = parser.parse_args()
    world = World(labels=asked.labels, rows=asked.rows, features=FEATURES, skew=asked.skew)
    generate(world)
    with tempfile.TemporaryDirectory(prefix="featurelayer-bench-") as folder:
        warehouse = started(Path(folder))
        try:
            queries = forms(warehouse, world)
            left_out = QUADRATIC if asked.skew else ()
            wanted = [name for name in queries if (not asked.forms or name in asked.forms) and name not in left_out]
            measure(warehouse, {name: queries[name] for name in wanted}, asked.runs)
        finally:
            warehouse.close()


def started(folder: Path) -> Any:
    """Spark on two cores, with no settings but those of size and place."""
    from featurelayer.warehouse.engines.spark.warehouse import connect

    settings = {
        "spark.master": "local[2]",
        "spark.driver.memory": "2g",
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.join.asofJoin.enabled": "true",
        "spark.local.dir": str(folder / "spill"),
        "spark.sql.warehouse.dir": str(folder / "tables"),
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={folder / 'metastore'};create=true",
    }
    target = {"type": "spark", "method": "session", "host": "NA", "schema": "default"}
    return connect({**target, "server_side_parameters": settings}, root=folder)


def forms(warehouse: Any, world: World) -> dict[str, str]:
    """The queries by name; each gives a row per label that found one: its number and the features."""
    from sqlglot import exp

    from featurelayer.model import DType
    from featurelayer.sql.dialects.spark import DIALECT
    from featurelayer.sql.planner import plan_training_set
    from featurelayer.sql.scripts.materialized import MaterializedScript
    from featurelayer.testing import make_service, make_view

    folder = world.folder.resolve()
    warehouse.session.read.parquet((folder / "v0.parquet").as_uri()).createOrReplaceTempView("v0")
    names = [f"f{number}" for number in range(FEATURES)]
    typed = {column.name: str(column.dtype) for column in warehouse.describe("v0")}
    columns = {"ts": typed["ts"], **{name: typed[name] for name in names}}
    view = make_view("v0", {"k": "int64"}, columns, names, event_time="ts", ttl=TTL, relation_name="`v0`")
    source = warehouse.attach(folder / "labels.parquet")
    service = make_service((view, None, None), label_timestamp="ts")
    described = {view.id: warehouse.describe("v0")}
    plan = plan_training_set(service, {view.id: view}, described, source=source.sql, label_columns=source.columns)
    script = DIALECT.compile(plan)
    for statement in script.steps[0].statements:
        warehouse.execute(statement.sql)
    assert DType.parse(typed["k"]).is_key
    join, listed = plan.joins[0], ", ".join(names)
    portable = MaterializedScript(DIALECT)
    two_passes = portable.query(plan)
    for cte in portable.view_ctes(plan, join):
        two_passes = two_passes.with_(exp.to_identifier(cte.name, quoted=True), as_=cte.query)
    kept = f"SELECT __fl_id, {listed} FROM (%s) WHERE __fl_rank = 1"
    seconds = int(TTL.total_seconds())
    inside = f"l.k = f.k AND f.ts <= l.ts AND f.ts >= l.ts - INTERVAL '{seconds}' SECOND"
    values = ", ".join(f"f.{name}" for name in names)
    row = f"struct(f.ts, {values})"
    lead = "SELECT *, lead(ts) OVER (PARTITION BY k ORDER BY ts) AS until FROM v0"
    ranked = (
        f"SELECT l.__fl_id, {values}, row_number() OVER (PARTITION BY l.__fl_id ORDER BY f.ts DESC, "
        f"{', '.join(f'f.{name} DESC' for name in names)}) AS best FROM __fl_labels l JOIN v0 f ON {inside}"
    )
    return {
        "chosen": kept % _query_of(script.steps[1].statements[0].sql),
        "without ties": kept % DIALECT.sql(DIALECT.script.view_ctes(plan, join)[-1].query),
        "two passes": f"SELECT l.__fl_id, {listed} FROM ({_with_ids(DIALECT, two_passes)}) l WHERE l.found",
        "asof": (
            f"SELECT l.__fl_id, {values} FROM __fl_labels l LEFT ASOF JOIN v0 f MATCH_CONDITION (l.ts >= f.ts) "
            f"ON l.k = f.k WHERE f.ts >= l.ts - INTERVAL '{seconds}' SECOND"
        ),
        "lead": (
            f"SELECT l.__fl_id, {values} FROM __fl_labels l JOIN ({lead}) f ON {inside} "
            "AND (f.until IS NULL OR l.ts < f.until)"
        ),
        "row_number": f"SELECT __fl_id, {listed} FROM ({ranked}) WHERE best = 1",
        "max_by": (
            f"SELECT __fl_id, {', '.join(f'best.{name}' for name in names)} FROM (SELECT l.__fl_id, "
            f"max_by({row}, {row}) AS best FROM __fl_labels l JOIN v0 f ON {inside} GROUP BY l.__fl_id)"
        ),
    }


def _query_of(statement: str) -> str:
    """The query of a CACHE TABLE statement."""
    return statement.split(" AS\n", 1)[1]


def _with_ids(writer: Any, query: Any) -> str:
    """The portable query with the labels' numbers and whether there was a row, and in no order."""
    from sqlglot import exp

    from featurelayer.sql.ast import col, not_null, with_alias
    from featurelayer.sql.join_rules import LABELS
    from featurelayer.sql.plan import ID

    query.set("order", None)
    values = [exp.alias_(each.this, each.alias.removeprefix("v0__")) for each in query.expressions if each.alias]
    query.set("expressions", [col(ID, LABELS), with_alias(not_null(col(ID, "v0")), "found"), *values])
    return str(writer.sql(query))


def measure(warehouse: Any, queries: dict[str, str], runs: int) -> None:
    """Run every form in turn, and say what it took."""
    spent: dict[str, list[float]] = {name: [] for name in queries}
    answers = {}
    for turn in range(runs + 1):
        for name, query in queries.items():
            summed = " + ".join(f"sum(CAST(f{number} * 1000 AS BIGINT))" for number in range(FEATURES))
            began = processor_seconds(warehouse)
            answers[name] = warehouse.rows(f"SELECT count(*), {summed}, sum(__fl_id) FROM (\n{query}\n)")[0]
            if turn:
                spent[name].append(processor_seconds(warehouse) - began)
            print(f"  run {turn}, {name}: {processor_seconds(warehouse) - began:.1f} s", flush=True)
    first = next(iter(queries))
    base = statistics.median(spent[first])
    print(f"{'form':<14}{'processor s':>12}{'ratio':>8}")
    for name, times in spent.items():
        same = "" if answers[name] == answers[first] else "   other rows"
        print(f"{name:<14}{statistics.median(times):>12.1f}{statistics.median(times) / base:>8.2f}{same}")


def processor_seconds(warehouse: Any) -> float:
    """What the Java process has used."""
    pid = warehouse.session.sparkContext._jvm.java.lang.ProcessHandle.current().pid()
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
