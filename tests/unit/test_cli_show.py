"""What show adds to the annotations, and how it is drawn on a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from featurelayer.cli import main
from featurelayer.cli.render import render_description
from tests.unit.dbt_projects import column, exposure, manifest, model, project, version


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = "select tailnum, landed_at, delay * 60 as arr_delay, delay * 60 as seconds from db.main.raw"
    legs = model(
        columns={"seconds": column("double")},
        online=True,
        delay="5 minutes",
        ttl="1 day",
        node={"compiled_code": sql, "language": "sql", "depends_on": {"nodes": ["model.shop.raw"]}},
    )
    raw = {**model("raw", node={"columns": {}}), "config": {}}
    found = project(tmp_path, manifest(legs, raw, exposures=(exposure("legs.arr_delay", label_timestamp="at"),)))
    monkeypatch.chdir(found.root)


def shown(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, object]:
    assert main(["show", name, "--format", "json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.usefixtures("shop")
def test_a_feature_says_what_its_times_mean_where_it_comes_from_and_how_to_get_it(capsys) -> None:
    found = shown(capsys, "legs.arr_delay")
    assert "It counts as known 5 minutes later. After 1 day" in str(found["means"])
    assert found["comes_from"] == ["raw.delay"]
    assert "60" in str(found["expression"])
    assert found["look_alikes"] == [{"feature": "legs.seconds", "why": "the same computation"}]
    train, look_up = (str(each["command"]) for each in found["get_it"])
    assert train.startswith("featurelayer build-training-set --features legs.arr_delay ")
    assert look_up == "featurelayer lookup --service late --key tailnum=TAILNUM"


@pytest.mark.usefixtures("shop")
def test_an_owner_is_shown_with_all_that_is_theirs(capsys) -> None:
    found = shown(capsys, "owner:Ops")
    assert found["services"] == ["late"]
    assert found["addresses"] == ["ops@example.com"]


def test_a_description_is_drawn_with_headings_facts_and_tables(capsys) -> None:
    render_description(
        {
            "feature": "v.f",
            "description": "A *mean* [red]of[/red] delays.",
            "ttl": "1 day",
            "online": True,
            "unit": "",
            "tests": [{"test": "not_null", "column": "f", "last_run": "pass"}],
            "get_it": [{"command": "featurelayer lookup --service [s]"}],
        }
    )
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0].startswith("feature v.f")
    assert "A mean [red]of[/red] delays." in lines
    assert "time to live 1 day" in lines
    assert "online yes" in lines
    assert "unit" not in out
    assert lines[lines.index("tests") + 1 : lines.index("tests") + 3] == ["test column last run", "not_null f pass"]
    assert "featurelayer lookup --service [s]" in lines


def test_a_versioned_view_lists_its_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    found = project(tmp_path, manifest(*(version(number, latest=2) for number in (1, 2, 3)), model("other")))
    monkeypatch.chdir(found.root)
    for name, view in (("legs", "legs.v2"), ("legs.v1", "legs.v1")):
        described = shown(capsys, name)
        assert described["view"] == view
        assert described["versions"] == ["legs.v1", "legs.v2", "legs.v3"]
        assert described["latest"] == "legs.v2"
    assert "versions" not in shown(capsys, "other")
    assert main(["show", "legs.v3"]) == 0
    assert "versions     legs.v1, legs.v2, legs.v3" in " ".join(capsys.readouterr().out.split()).replace(
        "versions ", "versions     "
    )
