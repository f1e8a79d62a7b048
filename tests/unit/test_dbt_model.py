"""Training sets as dbt models: what the file says, when it is current, and that its rows are those of a build."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.cli import main
from featurelayer.dbt.artifacts import read_referable
from featurelayer.dbt_model import State, write_models
from featurelayer.dbt_model.text import _escape_jinja
from featurelayer.errors import LabelError, OutdatedModel, PlanError, UnknownNameError
from featurelayer.layer import FeatureLayer
from tests.profiles import examples
from tests.unit import dbt_projects as made
from tests.unit.warehouses import LEGS, layer

GOLDEN = Path(__file__).parents[1] / "sql" / "golden" / "dbt_model"
FILE = "models/featurelayer/late_training_set.sql"
CASES = """
CREATE TABLE cases AS SELECT * FROM (VALUES
  ('N1', TIMESTAMP '2024-01-01 10:30', 1), ('N1', TIMESTAMP '2024-01-01 10:30', 1),
  ('N2', TIMESTAMP '2024-01-01 11:00', 0), ('N9', TIMESTAMP '2024-01-01 11:00', 0), (NULL, NULL, NULL)
) t(tailnum, "at", y);
"""
TYPES = {"tailnum": "varchar", "at": "timestamp", "y": "integer"}


def cases(types: dict[str, str | None] | None = None, **node: Any) -> dict[str, Any]:
    """The labels' model; its contract is enforced and it is in the database unless said otherwise."""
    columns = {name: {"name": name, "data_type": text} for name, text in (TYPES if types is None else types).items()}
    config = {"meta": {}, "contract": {"enforced": True}, **node.pop("config", {})}
    return made.model("cases", node={"columns": columns, "config": config, **node})


def late(*features: Any, labels: str | None = "cases", **more: Any) -> dict[str, Any]:
    said = {"labels": labels} if labels else {}
    return made.exposure(*(features or ("legs.arr_delay",)), label_timestamp="at", **said, **more)


def project(
    root: Path, *nodes: dict[str, Any], exposed: dict[str, Any] | None = None, sql: str = CASES + LEGS, **more: Any
) -> FeatureLayer:
    found = layer(root, *(nodes or (made.model(), cases())), exposures=(exposed or late(),), sql=sql, **more)
    (root / "models").mkdir(exist_ok=True)
    return found


def again(root: Path, *nodes: dict[str, Any], exposures: tuple[dict[str, Any], ...]) -> FeatureLayer:
    """The same project after its YAML was changed and parsed."""
    made.project(root, made.manifest(*nodes, exposures=exposures))
    return FeatureLayer(root, profiles_dir=root)


def rendered(text: str, relations: dict[tuple[Any, ...], str]) -> str:
    """The SQL that dbt makes of a model."""

    class Relation(str):
        def render(self) -> str:
            return str(self)

    def ref(*names: str, v: Any = None) -> Relation:
        return Relation(relations[names if v is None else (*names, v)])

    return jinja2.Environment().from_string(text).render(ref=ref, config=lambda **_: "")


def rows(found: FeatureLayer, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query in the project's database, whose session is in Tokyo, in an order of their own."""
    with duckdb.connect(str(found.project.root / "db.duckdb")) as connection:
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
        return sorted(connection.execute(sql).fetchall(), key=str)


def built(found: FeatureLayer, **options: Any) -> list[tuple[Any, ...]]:
    with found.build_training_set("late", **options) as training_set:
        return sorted((tuple(row.values()) for row in training_set.to_arrow().to_pylist()), key=str)


RELATIONS: dict[tuple[Any, ...], str] = {("cases",): '"db"."main"."cases"', ("legs",): '"db"."main"."legs"'}


# --- what it says ----------------------------------------------------------------------------------------------------


def test_the_file_is_the_join_over_refs(tmp_path: Path) -> None:
    facts = made.model(
        "facts",
        columns={"seats": made.column("integer", default=0)},
        drop=("landed_at", "arr_delay"),
        static=True,
        config={"event_time": None},
    )
    exposed = late("legs.arr_delay", "facts.*", depends_on=("model.shop.legs", "model.shop.facts"))
    nodes = (made.model(ttl="24 hours", available_at="landed_at"), facts, cases())
    (model,) = project(tmp_path, *nodes, exposed=exposed).dbt_models("late")
    golden = GOLDEN / "late_training_set.sql"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(model.text or "", encoding="utf-8")
    assert model.text == golden.read_text(encoding="utf-8"), "UPDATE_GOLDEN=1 pytest writes it anew"
    assert str(model.path) == FILE


@pytest.mark.parametrize("mode", ["known_at", "event_time"])
def test_the_rows_are_those_of_a_build(tmp_path: Path, mode: str) -> None:
    sql = (
        CASES
        + LEGS
        + "; INSERT INTO legs VALUES ('N1', TIMESTAMP '2024-01-01 10:30', 1), ('N1', '2024-01-01 10:30', 2)"
    )
    found = project(tmp_path, made.model(delay="1 minute", ttl="1 day"), cases(), sql=sql)
    (model,) = found.dbt_models("late", mode=mode)
    got = rows(found, rendered(model.text or "", RELATIONS))
    assert got == built(found, mode=mode)
    assert len(got) == 5
    assert [row[3] for row in got if row[0] == "N1"] == ([5.0, 5.0] if mode == "known_at" else [2.0, 2.0])


def test_every_ref_is_rendered_so_that_no_flag_of_dbt_changes_what_a_label_may_see(tmp_path: Path) -> None:
    (model,) = project(tmp_path).dbt_models("late")
    assert model.text is not None
    assert model.text.count("ref(") == model.text.count(").render() }}") == 4
    assert '"db"' not in model.text
    assert "{{ config(materialized='table') }}" in model.text


@pytest.mark.parametrize(
    ("version", "expected"), [(2, "ref('legs', v=2)"), ("beta", "ref('legs', v='beta')"), (1.5, "ref('legs', v=1.5)")]
)
def test_versions_and_packages_are_said(tmp_path: Path, version: Any, expected: str) -> None:
    node = {"version": version, "latest_version": version, "unique_id": f"model.shop.legs.v{version}"}
    foreign = {"unique_id": "model.hub.cases", "package_name": "hub"}
    exposed = late("legs.arr_delay", depends_on=(f"model.shop.legs.v{version}",))
    (model,) = project(tmp_path, made.model(node=node), cases(**foreign), exposed=exposed).dbt_models("late")
    assert f"{{{{ {expected}.render() }}}}" in (model.text or "")
    assert "{{ ref('hub', 'cases').render() }}" in (model.text or "")


def test_labels_may_be_a_version_a_seed_or_a_snapshot(tmp_path: Path) -> None:
    one = cases(version=1, latest_version=2, unique_id="model.shop.cases.v1")
    two = cases(version=2, latest_version=2, unique_id="model.shop.cases.v2")
    seed = cases(unique_id="seed.shop.sown", name="sown", resource_type="seed", config={"contract": None})
    found = project(tmp_path, made.model(), one, two, seed, exposed=late(labels="cases.v1"))
    for labels, expected in ((None, "'cases', v=1"), ("cases", "'cases', v=2"), ("sown", "'sown'")):
        (model,) = found.dbt_models("late", labels)
        assert f"FROM {{{{ ref({expected}).render() }}}}" in (model.text or "")
    assert read_referable(found.project.target_path)["cases"].version == 2


def test_of_two_models_of_one_name_the_projects_own_is_meant(tmp_path: Path) -> None:
    other = cases(unique_id="model.hub.cases", package_name="hub")
    for nodes in ((other, cases()), (cases(), other)):
        (model,) = project(tmp_path / str(nodes[0]["package_name"]), made.model(), *nodes).dbt_models("late")
        assert "FROM {{ ref('cases').render() }}" in (model.text or "")


# --- Jinja -----------------------------------------------------------------------------------------------------------


@given(text=st.text(st.sampled_from("{}%#'\"- \n_ax")))
@settings(max_examples=examples(300))
def test_text_comes_out_of_jinja_as_it_is(text: str) -> None:
    environment = jinja2.Environment(keep_trailing_newline=True)
    assert environment.from_string(_escape_jinja(text)).render() == text


def test_what_jinja_would_read_is_only_text(tmp_path: Path) -> None:
    odd = '{{ 1 }} {% raw %} {# x #} "__fl_ref0"'
    column = "{{ y }}"
    view = made.model(columns={"note": made.column("varchar", default=odd)})
    sql = CASES.replace(" y)", f' "{column}")') + LEGS + "; ALTER TABLE legs ADD COLUMN note VARCHAR"
    types = {"tailnum": "varchar", "at": "timestamp", column: "integer"}
    found = project(tmp_path, view, cases(types), exposed=late("legs.*"), sql=sql)
    (model,) = found.dbt_models("late")
    got = rows(found, rendered(model.text or "", RELATIONS))
    assert got == built(found)
    assert {row[-1] for row in got} == {None, odd}


# --- the file --------------------------------------------------------------------------------------------------------


def run(root: Path, *arguments: str) -> int:
    return main(["dbt-model", *arguments, "--project-dir", str(root), "--profiles-dir", str(root)])


def test_write_then_check_then_a_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project(tmp_path)
    assert run(tmp_path, "check", "--service", "late") == 1
    said = capsys.readouterr()
    assert f"{FILE}  missing" in said.out
    assert "fix  run featurelayer dbt-model write --service late\n" in said.err
    assert run(tmp_path, "write", "--service", "late") == 0
    assert f"{FILE}  written" in capsys.readouterr().out
    assert run(tmp_path, "check") == 0
    said = capsys.readouterr()
    assert f"{FILE}  current" in said.out
    assert said.err == ""  # nor does the file make the manifest look outdated
    before = (tmp_path / FILE).stat().st_mtime_ns
    assert run(tmp_path, "write") == 0
    assert f"{FILE}  unchanged" in capsys.readouterr().out
    assert (tmp_path / FILE).stat().st_mtime_ns == before

    again(tmp_path, made.model(ttl="1 hour"), cases(), exposures=(late(),))
    assert run(tmp_path, "check") == 1
    said = capsys.readouterr()
    assert f"{FILE}  stale" in said.out
    assert '+    "m"."__fl_event" >= "m"."__fl_time" - INTERVAL \'1\' HOUR\n' in said.out
    assert "is not what the project says now" in said.err
    assert run(tmp_path, "write") == 0
    assert run(tmp_path, "check") == 0


def test_an_edited_file_is_stale_and_its_difference_is_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project(tmp_path)
    assert run(tmp_path, "write") == 0
    file = tmp_path / FILE
    file.write_text("".join(f"{line} \n" for line in file.read_text().splitlines()))
    capsys.readouterr()
    assert run(tmp_path, "check") == 1
    assert "more lines\n" in capsys.readouterr().out
    file.write_bytes((tmp_path / FILE).read_bytes())
    assert run(tmp_path, "write") == 0
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))  # as git may check it out
    assert run(tmp_path, "check") == 0


def test_a_file_of_somebody_else_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = project(tmp_path)
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text("select 1")
    (model,) = found.dbt_models("late")
    assert model.state is State.FOREIGN
    with pytest.raises(OutdatedModel, match="featurelayer did not write"):
        write_models(tmp_path, [model])
    assert run(tmp_path, "write") == run(tmp_path, "check") == 1
    assert "another folder with --path" in capsys.readouterr().err
    assert (tmp_path / FILE).read_text() == "select 1"


def test_a_file_whose_service_is_gone_is_reported_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project(tmp_path)
    assert run(tmp_path, "write") == 0
    again(tmp_path, made.model(), cases(), exposures=(late(name="soon"),))
    assert run(tmp_path, "write") == 0
    assert "late_training_set is left over" in capsys.readouterr().err
    assert run(tmp_path, "check") == 1
    said = capsys.readouterr()
    assert f"{FILE}  orphaned" in said.out
    assert "delete the file" in said.err
    assert (tmp_path / FILE).exists()
    assert (tmp_path / "models/featurelayer/soon_training_set.sql").exists()


def test_a_file_remembers_what_it_was_written_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = cases({"plane no": "varchar", "{{ when }}": "timestamp"}, unique_id="model.shop.others", name="others")
    project(tmp_path, made.model(), named, exposed=late(labels=None))
    options = [
        "--labels",
        "others",
        "--key",
        "tailnum=plane no",
        "--label-timestamp",
        "{{ when }}",
        "--mode",
        "event_time",
    ]
    assert run(tmp_path, "check") == 1
    assert "no feature service names the dbt model of its labels" in capsys.readouterr().err
    assert run(tmp_path, "write", "--service", "late", *options, "--path", "models/sets") == 0
    file = tmp_path / "models/sets/late_training_set_event_time.sql"
    assert "--key 'tailnum=plane no' --mode event_time --path models/sets\n" in file.read_text()
    assert run(tmp_path, "check") == 0
    assert run(tmp_path, "check", "--service", "late", *options, "--path", "models/sets") == 0
    again(tmp_path, made.model(ttl="1 hour"), named, exposures=(late(labels=None),))
    assert run(tmp_path, "check") == 1
    assert run(tmp_path, "write") == 0
    assert run(tmp_path, "check") == 0
    file.write_text(file.read_text().replace("--mode event_time", "--mode 'spoilt"))
    assert run(tmp_path, "check") == 1
    assert "late_training_set_event_time is left over" in capsys.readouterr().err


def test_a_place_where_dbt_would_not_read_it_is_refused(tmp_path: Path) -> None:
    taken = cases(
        unique_id="model.shop.late_training_set", name="late_training_set", original_file_path="models/own.sql"
    )
    found = project(tmp_path, made.model(), cases(), taken)
    with pytest.raises(PlanError) as caught:
        found.dbt_models("late", folder="elsewhere")
    assert [problem.what for problem in caught.value.problems] == [
        "dbt reads no models from elsewhere",
        "the project has another model named 'late_training_set'",
    ]
    assert caught.value.problems[1].where == "models/own.sql"


def test_model_paths_of_the_project_are_heeded(tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "dbt_project.yml").write_text("name: shop\nprofile: shop\nmodel-paths: [transform, more]\n")
    (model,) = FeatureLayer(tmp_path, profiles_dir=tmp_path).dbt_models("late")
    assert str(model.path) == "transform/featurelayer/late_training_set.sql"


def test_options_without_a_service_are_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "write", "--labels", "cases") == 2
    assert "Pass the service" in capsys.readouterr().err


# --- labels ----------------------------------------------------------------------------------------------------------


def test_nothing_of_the_warehouse_is_needed_where_columns_are_declared(tmp_path: Path) -> None:
    found = project(tmp_path)
    (tmp_path / "db.duckdb").unlink()
    (tmp_path / "profiles.yml").unlink()
    (model,) = found.dbt_models("late")
    assert model.text is not None


@pytest.mark.parametrize("types", [{}, {"tailnum": "varchar", "at": None}], ids=["none", "untyped"])
def test_columns_that_are_not_declared_are_read_from_the_warehouse(
    tmp_path: Path, types: dict[str, str | None]
) -> None:
    found = project(tmp_path, made.model(), cases(types))
    (model,) = found.dbt_models("late")
    (tmp_path / "declared").mkdir()
    (declared,) = project(tmp_path / "declared").dbt_models("late")
    assert model.text == declared.text


def test_labels_of_which_nothing_is_known_are_an_error(tmp_path: Path) -> None:
    for types, reason in (({}, "it declares none"), ({"tailnum": "varchar", "at": None}, "at has no data_type")):
        found = project(tmp_path / reason, made.model(), cases(types), sql=LEGS)
        with pytest.raises(PlanError, match=f"'cases' are not known: {reason}") as caught:
            found.dbt_models("late")
        assert "data_type" in caught.value.problems[0].fix


def test_without_a_contract_it_is_said_that_columns_may_be_missing(tmp_path: Path) -> None:
    project(tmp_path, made.model(), cases(config={"contract": {"enforced": False}}))
    warnings: list[str] = []
    FeatureLayer(tmp_path, profiles_dir=tmp_path, warn=warnings.append).dbt_models("late")
    assert len(warnings) == 1
    assert "does not declare is left out" in warnings[0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [(None, "no labels given for late"), ("casse", r"no dbt model 'casse'.*did you mean 'cases'")],
)
def test_labels_that_are_not_there(tmp_path: Path, labels: str | None, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        project(tmp_path, exposed=late(labels=None)).dbt_models("late", labels)


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    found = project(tmp_path, made.model(), cases({"tail": "integer", "when": "timestamp"}))
    with pytest.raises(PlanError) as caught:
        found.dbt_models()
    assert [problem.what for problem in caught.value.problems] == [
        "the labels have no column 'tailnum' (did you mean 'tail'?), which late joins on",
        "the labels have no timestamp column 'at'",
    ]
    with pytest.raises(UnknownNameError, match="did you mean 'late'"):
        found.dbt_models("lat")


def test_nanoseconds_and_exports_are_beyond_a_model(tmp_path: Path) -> None:
    fine = {"columns": {"landed_at": made.column("timestamp_ns")}}
    found = project(tmp_path, made.model(**fine), cases(TYPES | {"at": "TIMESTAMP_NS"}))
    with pytest.raises(PlanError) as caught:
        found.dbt_models("late")
    assert [problem.what.partition(" has ")[0] for problem in caught.value.problems] == [
        "cases: 'at'",
        "legs: 'landed_at'",
    ]
    with pytest.raises(PlanError, match="as_served can't be a dbt model"):
        found.dbt_models("late", mode="as_served")


def test_a_key_that_a_static_view_has_twice_fails_the_model_and_not_the_row_count(tmp_path: Path) -> None:
    view = made.model(drop=("landed_at",), static=True, config={"event_time": None})
    found = project(tmp_path, view, cases())
    (model,) = found.dbt_models("late")
    with pytest.raises(
        duckdb.InvalidInputException, match="one row per key, and this one has several for tailnum = N1"
    ):
        rows(found, rendered(model.text or "", RELATIONS))
    with duckdb.connect(str(tmp_path / "db.duckdb")) as connection:
        connection.execute("DELETE FROM legs WHERE arr_delay IS NULL")
    assert rows(found, rendered(model.text or "", RELATIONS)) == built(found)


# --- the service's labels elsewhere ----------------------------------------------------------------------------------


def test_a_build_takes_the_services_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = project(tmp_path)
    assert built(found) == built(found, labels="cases")
    output = ["--output", str(tmp_path / "x.csv"), "--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path)]
    assert main(["build-training-set", "--service", "late", *output]) == 0
    assert main(["build-training-set", "--features", "legs.*", *output]) == 2
    assert "--labels" in capsys.readouterr().err
    with pytest.raises(LabelError, match="no labels given"):
        again(tmp_path, made.model(), cases(), exposures=(late(labels=None),)).build_training_set("late")
