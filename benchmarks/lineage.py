"""How long column lineage takes: 500 models of 20 columns, and 5,000, against parsing their SQL and nothing else.

    python benchmarks/lineage.py [--models 500 5000] [--json]

A fifth of the models cast a source's columns; the others join one of these to a dimension in a CTE and make ten
expressions and eight windows of it. Prints CPU seconds: for `sqlglot.parse_one` of all SQL, for lineage when nothing is
kept on disk, when all is, and when one model in a hundred has changed; and each as a ratio to the parsing, measured in
the same run.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import sqlglot

from featurelayer.lineage import SqlModel, analyse


def project(count: int) -> list[SqlModel]:
    """Models in groups of five, the first of which the others read."""
    return [_staging(number) if number % 5 == 0 else _features(number) for number in range(count)]


def _staging(number: int) -> SqlModel:
    columns = ", ".join(f"cast(x{place} as double) as c{place}" for place in range(17))
    sql = f"select id, event_at, status, {columns} from raw.t{number} where id is not null"
    return SqlModel(unique_id=f"model.{number}", relation_name=f'"db"."main"."m{number}"', sql=sql)


def _features(number: int) -> SqlModel:
    parent = number - number % 5
    joined = ", ".join(f"s.c{place} * 2 + coalesce(d.v{place}, 0) as c{place}" for place in range(10))
    passed = ", ".join(f"c{place} as f{place}" for place in range(10))
    frame = "partition by id order by event_at rows between 6 preceding and current row"
    windows = ", ".join(f"sum(c{place}) over ({frame}) as g{place}" for place in range(8))
    sql = f"""
        with source as (select * from "db"."main"."m{parent}"),
        joined as (
            select s.id, s.event_at, {joined}
            from source s left join raw.d{number} d on s.id = d.id
            where s.status <> 'x'
        )
        select id, event_at, {passed}, {windows} from joined
    """
    return SqlModel(
        unique_id=f"model.{number}",
        relation_name=f'"db"."main"."m{number}"',
        sql=sql,
        depends_on=(f"model.{parent}",),
    )


def seconds(task: Callable[[], object]) -> float:
    """CPU seconds: others may be using the machine."""
    start = time.process_time()
    task()
    return time.process_time() - start


def measure(count: int) -> dict[str, float]:
    models = project(count)
    changed = [
        replace(model, sql=model.sql + " ") if number % 100 == 1 else model for number, model in enumerate(models)
    ]
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "lineage.bin"

        def trace(which: list[SqlModel]) -> None:
            found = analyse(which, dialect="duckdb", cache=cache, seconds=3600)
            assert not found.problems, found.problems

        return {
            "parse": seconds(lambda: [sqlglot.parse_one(model.sql, read="duckdb") for model in models]),
            "nothing kept": seconds(lambda: trace(models)),
            "all kept": seconds(lambda: trace(models)),
            "1 in 100 changed": seconds(lambda: trace(changed)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {count: measure(count) for count in arguments.models}
    if arguments.json:
        print(json.dumps(found))
        return
    for count, times in found.items():
        print(f"{count} models, {count * 20} columns")
        for name, taken in times.items():
            print(f"  {name:17} {taken:7.3f} s   {taken / times['parse']:5.2f} x parse")


if __name__ == "__main__":
    main()
