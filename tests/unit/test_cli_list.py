"""list, show and schema."""

import json

import pytest

from featurelayer.cli import main
from featurelayer.dbt.schema import json_schema
from tests.unit.dbt_projects import column, exposure, manifest, model, project


@pytest.fixture
def shop(tmp_path, monkeypatch):
    columns = {
        "seats": column("integer", default=0, unit="seats", tags=["cabin"], range=[0, None]),
        "old": column("double", deprecated={"replaced_by": "seats"}),
    }
    facts = model("facts", columns=columns, ttl="36 hours", available_at="landed_at", online=True,
                  freshness={"warn_after": {"count": 2, "period": "hour"}})  # fmt: skip
    plane = model("plane", drop=("arr_delay",), columns={"x": column("double")})
    features = "legs.arr_delay", {"view": "facts", "role": "r", "keys": {"plane": "inbound"}, "features": ["seats"]}
    service = exposure(*features, depends_on=("model.shop.legs", "model.shop.facts"), label_timestamp="at")
    found = project(tmp_path, manifest(model(), facts, plane, exposures=(service,)))
    monkeypatch.chdir(found.root)
    return found


def output(capsys, *arguments):
    assert main(list(arguments)) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.usefixtures("shop")
def test_features_are_listed_by_default(capsys):
    out = output(capsys, "list")
    assert out.splitlines()[0].split() == ["FEATURE", "TYPE", "ENTITY", "DESCRIPTION"]
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["facts.arr_delay", "float64", "plane"],
        ["facts.seats", "int32", "plane"],
        ["facts.old", "float64", "plane"],
        ["legs.arr_delay", "float64", "plane"],
        ["plane.x", "float64", "plane"],
    ]
    assert output(capsys, "list", "features") == out


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        ("views", ["facts", "landed_at", "36 hours", "yes"]),
        ("entities", ["plane", "tailnum text", "3", "An aircraft."]),
        ("services", ["late", "2", "tailnum text, inbound text", "at", "Ops <ops@example.com>"]),
    ],
)
def test_each_kind_is_a_table_and_json(kind, cells, capsys):
    out = output(capsys, "list", kind)
    for cell in cells:
        assert cell in out
    assert len(json.loads(output(capsys, "list", kind, "--format", "json"))) == len(out.splitlines()) - 1


@pytest.mark.usefixtures("shop")
def test_list_as_json_is_the_same_as_show(capsys):
    listed = json.loads(output(capsys, "list", "views", "--format", "json"))
    assert listed[0] == json.loads(output(capsys, "show", "facts", "--format", "json"))


@pytest.mark.usefixtures("shop")
def test_a_view_is_shown_with_all_that_is_known(capsys):
    shown = json.loads(output(capsys, "show", "facts", "--format", "json"))
    assert shown["ttl"] == "36 hours"
    assert shown["freshness"] == {"warn_after": "2 hours", "error_after": None}
    assert shown["services"] == ["late"]
    assert shown["join_keys"] == [{"column": "tailnum", "entity": "plane", "key": "tailnum", "type": "text"}]
    assert shown["features"][1] == {
        "feature": "seats",
        "type": "int32",
        "description": "",
        "default": 0,
        "range": [0, None],
        "unit": "seats",
        "tags": ["cabin"],
    }
    text = output(capsys, "show", "facts")
    for part in (
        "36 hours",
        "warn_after=2 hours",
        "seats  (type int32; default 0; range 0, null; unit seats; tags cabin)",
    ):
        assert part in text


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("facts.seats", ["facts.seats", "int32", "late"]),
        ("facts.old", ["replaced_by=seats"]),
        ("late", ["request_keys", "inbound", "r__seats", "label_timestamp"]),
        ("entity:plane", ["An aircraft.", "tailnum=text"]),
        ("view:plane", ["landed_at"]),
        ("service:late", ["ops@example.com"]),
        ("feature:plane.x", ["plane.x"]),
    ],
)
def test_everything_can_be_shown(name, parts, capsys):
    text = output(capsys, "show", name)
    for part in parts:
        assert part in text
    assert json.loads(output(capsys, "show", name, "--format", "json"))


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plane", "'plane' means more than one thing: view, entity\n  fix  write view:plane or entity:plane"),
        ("leg", "there is no view, feature, entity or service 'leg' (did you mean 'legs'?)"),
        ("facts.seat", "(did you mean 'facts.seats'?)"),
        ("view:lat", "there is no view 'lat'"),
    ],
)
def test_a_name_that_means_nothing_or_too_much_is_1(name, said, capsys):
    assert main(["show", name]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_an_empty_project_says_how_to_begin(tmp_path, capsys):
    found = project(tmp_path, manifest())
    assert main(["list", "--project-dir", str(found.root)]) == 0
    captured = capsys.readouterr()
    assert "featurelayer init" in captured.err
    assert captured.out.split() == ["FEATURE", "TYPE", "ENTITY", "DESCRIPTION"]


def test_no_manifest_is_1_and_says_to_run_dbt_parse(tmp_path, capsys):
    (tmp_path / "dbt_project.yml").write_text("name: shop\n")
    assert main(["list", "--project-dir", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "there is no manifest.json" in err
    assert "dbt parse" in err


@pytest.mark.usefixtures("shop")
def test_on_a_terminal_the_table_is_drawn(monkeypatch, capsys):
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    out = output(capsys, "list", "entities")
    assert "An aircraft." in out


def test_schema_prints_the_schema(capsys):
    assert json.loads(output(capsys, "schema")) == json_schema()
