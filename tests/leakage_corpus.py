"""The corpus of leaks and of honest SQL: reads it, runs lint over each case, writes the table of what it found.

A case is a small dbt project: a view with its SQL and annotations, the models above it, and the codes that lint has to
find. `python -m tests.leakage_corpus` writes the table in docs/leakage.md.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from featurelayer.lint import LintReport, lint
from featurelayer.model import Finding, Severity
from tests.unit.dbt_projects import column, manifest, project

FOLDER = Path(__file__).parent / "fixtures" / "leakage"
PAGE = Path(__file__).parents[1] / "docs" / "leakage.md"
BEGIN, END = "<!-- corpus: begin -->\n", "<!-- corpus: end -->\n"
CHECKS = ("FL201", "FL21", "FL22")
VIEW = "view"
KEYS = ("customer_id", "order_id", "store_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case. `found` are the codes of a leak, none for honest SQL; the rest is as in the files."""

    name: str
    idiom: str
    sql: str
    event_time: str
    features: tuple[str, ...]
    found: tuple[str, ...] = ()
    dialect: str = "duckdb"
    key: str = "customer_id"
    models: Mapping[str, str] = field(default_factory=dict)
    snapshots: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    static: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    block: Mapping[str, Any] = field(default_factory=dict)
    incremental: bool = False


@cache
def read_cases(file: str) -> tuple[Case, ...]:
    """Return the cases of `leaks` or of `innocent`."""
    listed = yaml.safe_load((FOLDER / f"{file}.yml").read_text(encoding="utf-8"))
    lists = ("features", "found", "static", "tests")
    return tuple(Case(**{key: tuple(said) if key in lists else said for key, said in each.items()}) for each in listed)


def lint_case(case: Case, root: Path) -> LintReport:
    """Write the case as a dbt project and return what lint finds."""
    nodes = [_view(case), *_models(case), *_tests(case)]
    document = manifest(*nodes, adapter=case.dialect, sources=_sources())
    entities = {key.removesuffix("_id"): {"keys": {key: "integer"}} for key in KEYS}
    return lint(project(root, document, entities=entities), (), CHECKS)


def judged(case: Case) -> tuple[Finding, ...]:
    """Return what lint finds in the case."""
    with tempfile.TemporaryDirectory() as folder:
        return lint_case(case, Path(folder)).findings


def _view(case: Case) -> dict[str, Any]:
    columns = {
        case.key: column("integer", join_key=case.key.removesuffix("_id")),
        case.event_time: column("timestamp"),
        **{name: column("double") for name in case.features},
    }
    columns |= {case.block[key]: column("timestamp") for key in ("valid_to", "available_at") if key in case.block}
    block = {"entity": case.key.removesuffix("_id"), **case.block}
    node = _node(VIEW, case.sql, case, columns=columns, block=block, config=case.config)
    node["config"]["event_time"] = case.event_time
    return node


def _models(case: Case) -> Iterator[dict[str, Any]]:
    for kind, group in (("model", case.models), ("snapshot", case.snapshots)):
        for name, sql in group.items():
            is_static = name in case.static
            block = {"entity": "product", "static": True} if is_static else None
            columns = {"product_id": column("integer", join_key="product")} if is_static else {}
            yield _node(name, sql, case, kind=kind, columns=columns, block=block)
    for name, types in case.seeds.items():
        yield {
            **_node(name, "", case, kind="seed", columns={key: column(of) for key, of in types.items()}),
            "compiled_code": None,
            "raw_code": "",
        }


def _node(
    name: str,
    sql: str,
    case: Case,
    *,
    kind: str = "model",
    columns: Mapping[str, Any] | None = None,
    block: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    depends: list[str] = []
    meta = {"featurelayer": dict(block)} if block else {}
    return {
        "unique_id": f"{kind}.shop.{name}",
        "name": name,
        "resource_type": kind,
        "package_name": "shop",
        "language": "sql",
        "relation_name": _quoted(case, "main", name),
        "columns": {key: {"name": key, **said} for key, said in (columns or {}).items()},
        "config": {"materialized": "table", **(config or {}), "meta": meta},
        "original_file_path": f"models/{name}.sql",
        "patch_path": "shop://models/features.yml",
        "raw_code": sql,
        "compiled_code": _compiled(sql, case, depends),
        "depends_on": {"nodes": depends},
    }


def _compiled(sql: str, case: Case, depends: list[str]) -> str:
    """Render the SQL as dbt does, and note what it reads."""

    def ref(name: str) -> str:
        kind = "seed" if name in case.seeds else "snapshot" if name in case.snapshots else "model"
        depends.append(f"{kind}.shop.{name}")
        return _quoted(case, "main", name)

    def source(of: str, name: str) -> str:
        depends.append(f"source.{of}.raw.{name}")
        return _quoted(case, "raw", name)

    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)
    more = {"this": _quoted(case, "main", VIEW), "is_incremental": lambda: case.incremental}
    return environment.from_string(sql).render(ref=ref, source=source, **more)


def _quoted(case: Case, schema: str, name: str) -> str:
    if case.dialect == "bigquery":
        return f"`shop`.`{schema}`.`{name}`"
    return f"shop.{schema}.{name}" if case.dialect == "snowflake" else f'"shop"."{schema}"."{name}"'


def _sources() -> dict[str, Any]:
    declared = yaml.safe_load((FOLDER / "sources.yml").read_text(encoding="utf-8"))
    return {
        f"source.shop.raw.{name}": {
            "unique_id": f"source.shop.raw.{name}",
            "name": name,
            "source_name": "raw",
            "resource_type": "source",
            "relation_name": f"shop.raw.{name}",
            "columns": {key: {"name": key, "data_type": of} for key, of in types.items()},
        }
        for name, types in declared.items()
    }


def _tests(case: Case) -> Iterator[dict[str, Any]]:
    """The data tests of a case, each as `unique model.column`."""
    for number, text in enumerate(case.tests):
        name, of, tested = re.split(r"[ .]", text)
        yield {
            "unique_id": f"test.shop.{number}",
            "name": name,
            "resource_type": "test",
            "attached_node": f"model.shop.{of}",
            "column_name": tested,
            "test_metadata": {"name": name, "kwargs": {"column_name": tested}},
            "config": {"enabled": True},
        }


def generated() -> str:
    """Return the tables of hits and of false alarms, in Markdown."""
    return "\n".join((*_hits(), "", *_alarms(), ""))


def _hits() -> Iterator[str]:
    yield "| leaks in the corpus | cases | found | missed |"
    yield "| --- | ---: | ---: | ---: |"
    groups: dict[str, list[bool]] = {}
    for case in read_cases("leaks"):
        groups.setdefault(case.idiom, []).append(set(case.found) <= {each.code for each in judged(case)})
    for idiom, hits in (*sorted(groups.items()), ("all", [hit for each in groups.values() for hit in each])):
        yield f"| {idiom} | {len(hits)} | {sum(hits)} | {len(hits) - sum(hits)} |"


def _alarms() -> Iterator[str]:
    yield "| honest SQL in the corpus | cases | false errors | false warnings |"
    yield "| --- | ---: | ---: | ---: |"
    groups: dict[str, list[tuple[Finding, ...]]] = {}
    for case in read_cases("innocent"):
        groups.setdefault(case.idiom, []).append(judged(case))
    for idiom, all_found in (*sorted(groups.items()), ("all", [found for each in groups.values() for found in each])):
        errors = sum(any(each.severity is Severity.ERROR for each in found) for found in all_found)
        warnings = sum(any(each.severity is not Severity.ERROR for each in found) for found in all_found)
        yield f"| {idiom} | {len(all_found)} | {errors} | {warnings} |"


def written(page: str) -> str:
    """Return the page with the tables as they are now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{generated()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
