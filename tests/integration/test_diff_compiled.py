"""A project that dbt compiles twice, at other times, for another target and in another environment, has not changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from featurelayer.diff import DiffReport
from featurelayer.layer import FeatureLayer
from tests.integration.conftest import run_dbt, write_project

FEATURES = """{'events': {'agg': 'count'}, 'kinds': {'agg': 'count_distinct', 'of': 'kind'},
    'mean': {'agg': 'mean', 'of': 'amount', 'where': 'amount > 0'}, 'last': {'agg': 'time_since_last'}}"""
ROLLING = f"""
    {{{{ featurelayer.%s__rolling_features(featurelayer._rolling_plan(
        ref('events'), ['customer_id'], 'at', ['1 day', '7 days'], {FEATURES}, %s, none
    )) }}}}
"""
MODES = {
    "plain": "none, 'event-driven', none, none",
    "late": "'loaded_at', 'event-driven', none, none",
    "grid": "none, 'grid', '1 hour', '2026-01-01'",
    "grid_late": "'loaded_at', 'grid', '1 hour', '2026-01-01'",
}
FORMS = ("default", "duckdb", "postgres")
ROLLED = {f"{mode}_{form}": ROLLING % (form, arguments) for mode, arguments in MODES.items() for form in FORMS}
BATCH = """
    {{ config(materialized='incremental', incremental_strategy='microbatch', event_time='at', begin='2026-01-01',
              batch_size='day') }}
    {{ featurelayer.rolling_features(
        relation=ref('events'), keys=['customer_id'], event_time='at', windows=['1 day', '7 days'],
        features={'events': {'agg': 'count'}, 'kinds': {'agg': 'count_distinct', 'of': 'kind'}}) }}
"""
OWN = """
    {%- set until = run_started_at.strftime('%Y-%m-%d %H:%M') %}
    select customer_id, at, amount, kind -- compiled at {{ run_started_at }} by {{ invocation_id }}
    from {{ ref('events') }}
    where at <= '{{ run_started_at }}'
        and at <= '{{ until }}'
        and at > cast('{{ (run_started_at - modules.datetime.timedelta(days=30)).strftime("%Y-%m-%d") }}' as timestamp)
        and epoch(at) <= {{ run_started_at.timestamp() | int }}
        and '{{ target.name }}' <> 'x' and '{{ target.schema }}.' <> kind
        and kind <> '{{ invocation_id }}' and kind <> 'of {{ env_var("REGION", "eu") }}'
        and kind in ('a', 'b')
"""
KEY = "{name: customer_id, data_type: integer, config: {meta: {featurelayer: {join_key: customer}}}}"


def yaml() -> str:
    views = []
    for name in (*ROLLED, "batch", "own"):
        windowed = [f"{each}_{window}" for window in ("1d", "7d") for each in ("events", "kinds", "mean", "last")]
        if name == "batch":
            windowed = [each for each in windowed if each.startswith(("events", "kinds"))]
        columns = [f"{{name: {each}, data_type: double}}" for each in windowed]
        if name == "own":
            columns = ["{name: amount, data_type: double}", "{name: kind, data_type: varchar}"]
        times = "available_at: loaded_at, " if "late" in name else ""
        columns += ["{name: loaded_at, data_type: timestamp}"] if "late" in name else []
        views.append(
            f"  - name: {name}\n    config: {{event_time: at, meta: {{featurelayer: "
            f"{{entity: customer, {times}online: true}}}}}}\n    columns:\n      - {KEY}\n"
            "      - {name: at, data_type: timestamp}\n" + "".join(f"      - {each}\n" for each in columns)
        )
    return "models:\n" + "".join(views)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, compiled; its manifest is in `state`, too."""
    files = {
        "featurelayer.yml": "entities: {customer: {keys: {customer_id: integer}}}",
        "models/events.sql": "select 1 as customer_id, timestamp '2026-01-01' as at, 2.5 as amount, 'a' as kind,"
                             " timestamp '2026-01-02' as loaded_at",
        "models/events.yml": "models: [{name: events, config: {event_time: at}}]",
        "models/batch.sql": BATCH,
        "models/own.sql": OWN,
        **{f"models/{name}.sql": sql for name, sql in ROLLED.items()},
    }  # fmt: skip
    folder = write_project(tmp_path_factory.mktemp("compiled"), files)
    (folder / "models" / "views.yml").write_text(yaml())
    run_dbt(folder, "compile")
    shutil.copytree(folder / "target", folder / "state")
    return folder


def diff(project: Path, **environment: str) -> DiffReport:
    run_dbt(project, "compile", **environment)
    return FeatureLayer(project).diff(project / "state")


def told(report: DiffReport) -> list[tuple[str, ...]]:
    return [(str(each.kind), each.view, ", ".join(each.features), *each.details) for each in report.changes]


@pytest.fixture
def edit(compiled: Path) -> Any:
    """Replace a text in a model's file; undone afterwards."""
    before: dict[Path, str] = {}

    def replace(name: str, old: str, new: str) -> None:
        path = compiled / "models" / name
        before.setdefault(path, path.read_text())
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    yield replace
    for path, text in before.items():
        path.write_text(text)


def test_an_unchanged_project_has_no_changes(compiled: Path) -> None:
    texts = [json.loads((compiled / folder / "manifest.json").read_text())["nodes"] for folder in ("state", "target")]
    assert diff(compiled) == DiffReport()
    texts[1] = json.loads((compiled / "target" / "manifest.json").read_text())["nodes"]
    assert all(
        node["compiled_code"] != texts[1][unique_id]["compiled_code"]
        for unique_id, node in texts[0].items()
        if node["name"] in ("own", *ROLLED)
    ), "the texts that dbt compiles differ, or this tests nothing"


def test_another_target_and_another_environment_are_no_change(compiled: Path) -> None:
    profiles = compiled / "profiles.yml"
    before = profiles.read_text()
    profiles.write_text(before.replace("dev", "ci").replace("type: duckdb,", "type: duckdb, schema: pr_42,"))
    try:
        assert told(diff(compiled, REGION="us")) == []
    finally:
        profiles.write_text(before)


def test_a_changed_window_is_told_of_its_own_features_with_its_reason(compiled: Path, edit: Any) -> None:
    """All uses of the macro at once: a compilation takes seconds."""
    for name in ROLLED:
        edit(f"{name}.sql", "['1 day', '7 days']", "{'1d': '1 day', '7d': '14 days'}")
    edit("batch.sql", "['1 day', '7 days']", "{'1d': '1 day', '7d': '14 days'}")
    found = told(diff(compiled))
    assert {each[0] for each in found} == {"meaning changed"}
    assert [each for each in found if len(each) != 4] == [], "one reason each"
    assert all("run_started_at" not in each[3] for each in found)
    for name in (*ROLLED, "batch"):
        features = {feature for each in found if each[1] == name for feature in each[2].split(", ")}
        windowed = {"events_7d", "kinds_7d"} if name == "batch" else {"events_7d", "kinds_7d", "mean_7d"}
        assert features - {"last_7d"} == windowed, name


def test_a_window_that_replaces_another_is_removed_and_added(compiled: Path, edit: Any) -> None:
    for name in ROLLED:
        edit(f"{name}.sql", "'7 days'", "'14 days'")
    edit("batch.sql", "'7 days'", "'14 days'")
    edit("views.yml", "_7d", "_14d")
    found = {each[:3] for each in told(diff(compiled))}
    assert {each[0] for each in found} == {"added", "removed"}
    assert len(found) == 2 * (len(ROLLED) + 1)


def test_a_changed_literal_is_told_among_those_of_the_run(compiled: Path, edit: Any) -> None:
    edit("own.sql", "('a', 'b')", "('a', 'c')")
    (found,) = told(diff(compiled))
    assert found[:3] == ("meaning changed", "own", "amount, kind")
    assert found[3:] == ("no longer filter: kind IN ('a', 'b')", "now filter: kind IN ('a', 'c')")


def test_a_changed_offset_from_the_run_is_told(compiled: Path, edit: Any) -> None:
    edit("own.sql", "days=30", "days=60")
    (found,) = told(diff(compiled))
    assert found[:3] == ("meaning changed", "own", "amount, kind")
    assert all("run_started_at" in detail for detail in found[3:])
