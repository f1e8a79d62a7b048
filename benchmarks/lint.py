"""How long lint takes on a large project: 5,000 models of 20 columns, 10,000 tests, 500 feature views with their YAML.

    python benchmarks/lint.py [--models 5000] [--views 500] [--json]

Prints CPU seconds (best of 3), without compiled SQL, with it for the first time, and with it again, when only what has
changed is looked at; and ratios against `json.loads` of the manifest alone, measured in the same run. The claims: under
1 s without SQL, under 10 s with it.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from registry import manifest  # the one beside this file

from featurelayer.dbt import load_project
from featurelayer.lint import lint


def write(root: Path, models: int, views: int, *, compiled: bool) -> Path:
    """Write a project of that size and return the path of its manifest."""
    document = manifest(models, views)
    folder = root / "models"
    folder.mkdir(parents=True)
    for unique_id, node in document["nodes"].items():
        if node["resource_type"] != "model":
            kind = "unique" if "unique" in node["name"] else "not_null"
            node |= {"column_name": "customer_id", "test_metadata": {"name": kind, "kwargs": {}}}
            continue
        node["compiled_code"] = _sql(unique_id, node) if compiled else None
        if "featurelayer" in node["config"]["meta"]:
            node["patch_path"] = f"big://models/{node['name']}.yml"
            (root / "models" / f"{node['name']}.yml").write_text(_properties(node))
    (root / "dbt_project.yml").write_text("name: big\nprofile: big\n")
    (root / "featurelayer.yml").write_text("entities: {customer: {keys: {customer_id: bigint}}}\n")
    path = root / "target" / "manifest.json"
    path.parent.mkdir()
    path.write_text(json.dumps(document))
    return path


def _sql(unique_id: str, node: dict) -> str:
    """SQL that reads the model's parent and makes its columns, as dbt compiles it."""
    parents = node["depends_on"]["nodes"]
    relation = '"big"."main"."' + (parents[0] if parents else unique_id).rpartition(".")[2] + '"'
    sums = ",\n".join(
        f"    sum(f_{number}) over (partition by customer_id order by happened_at) as f_{number}"
        for number in range(18)
    )
    head = f"with source as (\n    select * from {relation}\n)\n\nselect\n    customer_id,\n    happened_at,\n"
    return f"{head}{sums}\nfrom source"


def _properties(node: dict) -> str:
    columns = [
        {
            "name": name,
            "data_type": column["data_type"],
            "description": column["description"],
            "config": column["config"],
        }
        for name, column in node["columns"].items()
    ]
    model = {"name": node["name"], "description": node["description"], "config": node["config"], "columns": columns}
    return yaml.safe_dump({"models": [model]}, sort_keys=False)


def seconds_of(task: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """The shortest of three runs, in CPU seconds: others may be using the machine. `before` is not counted."""
    times = []
    for _ in range(3):
        before()
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return min(times)


def forget(root: Path) -> None:
    """Remove what lint has kept of the SQL that it has seen."""
    for path in (root / "target").glob("featurelayer_*"):
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=5000)
    parser.add_argument("--views", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    result: dict[str, float] = {"models": arguments.models, "views": arguments.views}
    with tempfile.TemporaryDirectory() as folder:
        for name, compiled in (("without_sql", False), ("with_sql", True)):
            root = Path(folder) / name
            path = write(root, arguments.models, arguments.views, compiled=compiled)
            reading = seconds_of(lambda path=path: json.loads(path.read_bytes()) and None)
            runs = {name: lambda root=root: lint(load_project(root))}
            if compiled:
                runs = {f"{name}_first": runs[name], f"{name}_again": runs[name]}
            for run, task in runs.items():
                first = run.endswith("first")
                seconds = seconds_of(task, before=(lambda root=root: forget(root)) if first else (lambda: None))
                result |= {
                    f"{run}_seconds": round(seconds, 3),
                    f"{run}_ratio_to_json_loads": round(seconds / reading, 2),
                }
        result["findings"] = len(lint(load_project(root)).findings)
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{arguments.models} models, {arguments.views} feature views, {result['findings']} findings")
    for name, claim in (("without_sql", 1), ("with_sql_first", 10), ("with_sql_again", 10)):
        seconds = result[f"{name}_seconds"]
        verdict = f"under {claim} s" if seconds < claim else f"NOT under {claim} s"
        ratio = result[f"{name}_ratio_to_json_loads"]
        print(f"  {name.replace('_', ' '):<14} {seconds:7.3f} s   {ratio:6.2f} x json.loads   {verdict}")


if __name__ == "__main__":
    main()
