"""What `rolling_features` writes, in every form, has no leak in it, nor has the demo: lint follows both to the end."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from featurelayer.dbt import load_project
from featurelayer.lint import lint
from tests.integration.conftest import run_dbt, write_project
from tests.integration.test_macros_rolling import DAYS, SOURCES, VARIANTS, name_of, rolling_model

pytestmark = pytest.mark.slow
AGGREGATES = ("events", "total", "average", "words", "since_red")


def view(name: str, features: tuple[str, ...], *, late: bool, keys: tuple[str, ...] = ("case_id", "k")) -> dict:
    block = {"entity": "case" if "case_id" in keys else "k", **({"available_at": "known_at"} if late else {})}
    types = {"happened_at": "timestamp", **({"known_at": "timestamp"} if late else {})}
    columns: list[dict] = []
    for key in keys:
        said = {"featurelayer": {"join_key": f"{block['entity']}.{key}"}}
        columns.append({"name": key, "data_type": "varchar", "config": {"meta": said}})
    columns += [{"name": column, "data_type": of} for column, of in types.items()]
    columns += [{"name": feature, "data_type": "double"} for feature in features]
    return {"name": name, "config": {"event_time": "happened_at", "meta": {"featurelayer": block}}, "columns": columns}


def test_no_form_of_the_macro_has_a_leak(tmp_path: Path) -> None:
    forms = {name_of(*variant): variant for variant in VARIANTS}
    models = {name: rolling_model(form=form, when=when, late=late) for name, (form, when, late) in forms.items()}
    views = [view(name, tuple(f"{each}_20s" for each in AGGREGATES), late=late) for name, (_, _, late) in forms.items()]
    views.append(view("days", ("events_w", "total_w"), late=True, keys=("k",)))
    for name, (form, when, late) in forms.items():
        if form == "default":  # PostgreSQL's form compiles here, too, and is read as DuckDB's SQL
            other = name.replace("default", "postgres")
            portable = rolling_model(form=form, when=when, late=late)
            models[other] = portable.replace("default__rolling_features", "postgres__rolling_features")
            views.append(view(other, tuple(f"{each}_20s" for each in AGGREGATES), late=late))
    files = {f"models/{name}.sql": sql for name, sql in models.items()}
    files |= {
        "models/days.sql": DAYS.replace("ref('daily_events')", "source('raw', 'daily')"),
        "models/sources.yml": SOURCES,
        "models/views.yml": yaml.safe_dump({"models": views}),
        "featurelayer.yml": "entities: {case: {keys: {case_id: varchar, k: varchar}}, k: {keys: {k: varchar}}}",
    }
    folder = write_project(tmp_path, files)
    assert run_dbt(folder, "compile").returncode == 0
    report = lint(load_project(folder), checks=("FL21", "FL220"))
    assert report.views == len(views)
    assert [(found.code, found.message) for found in report.findings] == []


def test_the_demo_has_no_leak_and_no_duplicate(demo_project: Path) -> None:
    report = lint(load_project(demo_project), checks=("FL201", "FL21", "FL22", "FL63"))
    assert report.views == 6
    assert not report.without_sql
    assert report.findings == ()
