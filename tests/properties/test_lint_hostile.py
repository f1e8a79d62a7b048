"""Whatever stands in a manifest, lint answers with findings: it never raises and never hangs."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from featurelayer.cli import main
from featurelayer.dbt import load_project
from featurelayer.errors import FeatureLayerError
from featurelayer.lint import lint
from featurelayer.lint.formats import github, sarif
from tests.profiles import examples
from tests.unit.linting import asked_tests, service, view, write

BAD = Path(__file__).parents[1] / "fixtures" / "bad_project"
MANIFEST = json.loads((BAD / "manifest.json").read_text(encoding="utf-8"))
SQL = (
    "selec from where ((((", "select * from (select * from (" * 40, "", "\x00", "select 'unterminated", "{{ jinja }}",
    "select " + "(" * 3000 + "1" + ")" * 3000, "with a as (select * from b), b as (select * from a) select * from a",
    "select 1; drop table x", "/* " * 500, "select " + ", ".join(f"a{n}" for n in range(3000)), "ﷺ select ☃",
)  # fmt: skip


def nested(depth: int) -> Any:
    value: Any = "bottom"
    for level in range(depth):
        value = [value] if level % 2 else {"deeper": value}
    return value


# By name, so that a failing example can be printed.
LARGE = {
    "<huge text>": "x" * 100_000,
    "<deep>": nested(500),
    "<deep meta>": {"meta": {"featurelayer": nested(300)}},
    "<many>": [f"name_{number}" for number in range(5000)],
    "<wide>": {f"key_{number}": number for number in range(3000)},
}
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(list(LARGE)),
    st.just([]),
    st.just({}), st.lists(st.integers() | st.none(), max_size=3), st.just({"featurelayer": 7}),
    st.just({"featurelayer": {"entity": {"a": [None]}}}),
    st.sampled_from(SQL), st.just("model.bad_shop.customer_spend"), st.just(["model.x"] * 50),
)  # fmt: skip


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return every place in the manifest that something can be put in."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            found += paths(inner, (*path, key))
    return found


ANNOTATIONS = [path for path in paths(MANIFEST) if "featurelayer" in path and path[0] in ("nodes", "exposures")]
PLACES = [
    path
    for path in paths(MANIFEST)
    if path[0] in ("nodes", "exposures", "groups", "sources", "disabled") or path[:2] == ("metadata", "adapter_type")
]


def spoilt(changes: list[tuple[tuple[Any, ...], Any, bool]]) -> dict[str, Any]:
    manifest = copy.deepcopy(MANIFEST)
    for path, junk, remove in changes:
        place = manifest
        for key in path[:-1]:
            place = place[key] if isinstance(place, dict) and key in place else None
            if not isinstance(place, dict):
                break
        if isinstance(place, dict) and path[-1] in place:
            if remove:
                del place[path[-1]]
            else:
                place[path[-1]] = LARGE.get(junk, junk) if isinstance(junk, str) else junk
    return manifest


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = Path(shutil.copytree(BAD / "project", tmp_path_factory.mktemp("hostile") / "bad"))
    (root / "target").mkdir()
    return root


def answer(root: Path, manifest: str) -> None:
    """Lint the project with that manifest, and write the report in every format."""
    (root / "target" / "manifest.json").write_text(manifest, encoding="utf-8", errors="surrogatepass")
    report = lint(load_project(root))
    assert report.findings
    json.dumps(report.to_dict())
    json.dumps(sarif(report, "1"))
    list(github(report))
    assert all(item.message and item.fix and len(item.message) < 5000 for item in report.findings)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.sampled_from(PLACES) | st.sampled_from(ANNOTATIONS), JUNK, st.booleans()), min_size=1, max_size=6
    )
)
@example([(("nodes", "model.bad_shop.customer_spend", "columns"), None, False)])
def test_a_manifest_with_anything_in_it_is_answered(bad: Path, changes: list[Any]) -> None:
    answer(bad, json.dumps(spoilt(changes)))


@pytest.mark.parametrize("sql", SQL)
def test_sql_that_is_none_is_answered(sql: str, bad: Path) -> None:
    manifest = copy.deepcopy(MANIFEST)
    for node in manifest["nodes"].values():
        node["compiled_code"] = sql
    answer(bad, json.dumps(manifest))


def test_models_that_read_each_other_are_answered(bad: Path) -> None:
    manifest = copy.deepcopy(MANIFEST)
    models = [key for key in manifest["nodes"] if key.startswith("model.")]
    for key in models:
        manifest["nodes"][key]["depends_on"] = {"nodes": models}
        relations = " cross join ".join(manifest["nodes"][other]["relation_name"] or "x" for other in models)
        manifest["nodes"][key]["compiled_code"] = f"select * from {relations}"
    answer(bad, json.dumps(manifest))


@pytest.mark.parametrize(
    "text",
    ['{"metadata": {}, "nodes": ' + "[" * 100_000, "[" * 100_000, "{", "", "[]", "null", '{"metadata": 3}',
     '{"nodes": []}',
     '{"metadata": {"dbt_schema_version": "x/manifest/v12.json"}, "nodes": {"model.a.b": '
     + "[" * 5000 + "]" * 5000 + "}}"],
    ids=range(9),
)  # fmt: skip
def test_a_manifest_that_is_none_is_a_finding(text: str, bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer(bad, text)
    assert main(["lint", "--project-dir", str(bad)]) == 1
    captured = capsys.readouterr()
    assert "FL110" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize(
    "lint_block",
    ["7", "[a, b]", "{off: 3}", "{disabled: 3}", "{severity: [x]}", "{? [a] : b}",
      "{naming: {aggregates: {mean: {a: b}}}}", "'{{ nothing }}'",
     "{naming: {windows: {'': [x]}}}", "{naming: {forbidden: {1: 2}}}", "{naming: {required: 5}}",
        "{? [b] : c}",
     "{naming: {windows: {sometime: [soon]}, grammar: '<what>__<window>'}}"],
)  # fmt: skip
def test_settings_that_are_none_are_a_finding(lint_block: str, tmp_path: Path) -> None:
    project = write(tmp_path, view(), *asked_tests(), exposures=(service(),))
    config = project.root / "featurelayer.yml"
    config.write_text(f"{config.read_text()}\nlint: {lint_block}\n")
    try:
        report = lint(load_project(project.root))
    except FeatureLayerError as error:
        pytest.fail(f"it raised {error}")
    assert [item.file for item in report.findings] in ([], ["featurelayer.yml"], ["featurelayer.yml"] * 2)
