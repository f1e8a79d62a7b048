"""Lint's frame: everything at once, places, ignores, selection, settings, formats and exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from featurelayer import FeatureLayer
from featurelayer.cli import main
from featurelayer.errors import ManifestNotFound, UnknownNameError
from featurelayer.lint import all_checks, lint
from featurelayer.lint.formats import github, sarif
from featurelayer.model import Severity
from tests.unit.dbt_projects import column
from tests.unit.linting import asked_tests, codes, described, findings, service, view, write

BAD = Path(__file__).parents[1] / "fixtures" / "bad_project"


@pytest.fixture
def bad(tmp_path):
    """The bad project with its manifest, where dbt would have put it."""
    root = Path(shutil.copytree(BAD / "project", tmp_path / "bad"))
    (root / "target").mkdir()
    shutil.copy(BAD / "manifest.json", root / "target")
    return root


def run(capsys, *arguments):
    code = main(["lint", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# --- the checks themselves -------------------------------------------------------------------------------------------


def test_every_check_says_what_why_and_how():
    for code, item in all_checks().items():
        assert item.code == code
        assert code[:3] in ("FL1", "FL2", "FL3", "FL4", "FL5", "FL6"), code
        assert item.title[0].isupper() or item.title.startswith(("`", "dbt"))
        assert not item.title.endswith(".")
        assert item.why.endswith(".")
        assert item.fix.endswith(".")
        assert item.run or item.by_reader


def test_every_code_that_reading_uses_is_a_check():
    used = set()
    for path in (Path(__file__).parents[2] / "featurelayer").rglob("*.py"):
        if "lint" not in path.parts:
            used |= set(re.findall(r"\bFL[1-6]\d\d\b", path.read_text(encoding="utf-8")))
    assert used - set(all_checks()) == set()


# --- everything at once ----------------------------------------------------------------------------------------------


def test_what_reading_finds_and_what_checks_find_is_one_report(bad):
    found = FeatureLayer(bad).lint()
    told = {(item.code, item.name) for item in found.findings}
    assert {
        ("FL102", "returns_facts"),  # its entity, and a key
        ("FL105", "returns_facts"),
        ("FL202", "returns_facts"),
        ("FL501", "returns_facts"),
        ("FL108", "returns"),
        ("FL401", "returns_facts"),  # and it is checked as far as it could be understood
        ("FL611", "customer_spend.avg_val_30"),
        ("FL620", "customer_spend.average_value_last_month"),
        ("FL104", ""),
    } <= told
    assert len([item for item in found.findings if (item.code, item.name) == ("FL102", "returns_facts")]) == 2
    assert found.fails()


def test_every_family_finds_something_in_the_bad_project(bad):
    assert {item.code[:3] for item in lint(FeatureLayer(bad).project).findings} == {f"FL{n}" for n in range(1, 7)}


def test_findings_have_the_line_of_what_they_are_about(bad):
    report = FeatureLayer(bad).lint()
    for item in report.findings:
        text = (bad / item.file).read_text().splitlines() if item.line else [""]
        assert item.line <= len(text), item
    by = {(item.code, item.name): item for item in report.findings}
    assert line_of(bad, by["FL616", "customer_spend.amount_total_4w"]).strip().startswith("config: {meta")
    assert line_of(bad, by["FL620", "customer_spend.average_value_last_month"]).strip() == (
        "- name: average_value_last_month"
    )
    assert line_of(bad, by["FL108", "returns"]).strip().startswith("depends_on:")
    assert line_of(bad, by["FL202", "returns_facts"]).strip() == "event_time: loaded"
    assert line_of(bad, by["FL104", ""]).strip().startswith("+meta:")
    assert line_of(bad, by["FL401", "customer"]).strip() == "customer:"
    assert all(item.line for item in report.findings if item.file.endswith((".yml", ".yaml")))


def line_of(root, item):
    return (root / item.file).read_text().splitlines()[item.line - 1]


def test_a_broken_view_hides_no_other(tmp_path):
    broken = view("broken", entity="plnae")
    assert ("FL112", "fine") in codes(tmp_path, broken, view("fine", update_frequency=None))


# --- ignores ---------------------------------------------------------------------------------------------------------


def ignoring(*ignores, **more):
    said = [{"code": code, "reason": "Because."} for code in ignores]
    return view(ignore=said, **more)


def test_a_view_may_excuse_a_finding_with_a_reason(tmp_path):
    report = findings(tmp_path, ignoring("FL112", update_frequency=None), *asked_tests())
    assert report.findings == ()
    ((excused,),) = [report.suppressed]
    assert (excused.finding.code, excused.reason) == ("FL112", "Because.")


def test_a_view_may_excuse_its_features_and_a_feature_itself_alone(tmp_path):
    bare = {"a": described(description=""), "b": described(description="")}
    assert codes(tmp_path / "view", ignoring("FL403", columns=bare), *asked_tests()) == []
    own = {**bare, "a": described(description="", ignore=[{"code": "FL403", "reason": "Because."}])}
    assert codes(tmp_path / "own", view(columns=own), *asked_tests()) == [("FL403", "legs.b")]


def test_a_service_may_excuse_a_finding(tmp_path):
    ignore = [{"code": "FL402", "reason": "Because."}]
    quiet = service(node={"description": ""}, ignore=ignore)
    assert codes(tmp_path, view(), *asked_tests(), exposures=(quiet,)) == []


def test_an_ignore_without_a_reason_is_a_finding_itself(tmp_path):
    found = codes(tmp_path, view(ignore=[{"code": "FL112"}]), *asked_tests())
    assert found == [("FL105", "legs")]
    found = codes(tmp_path, view(ignore=[{"code": "FL112", "reason": ""}]), *asked_tests())
    assert found == [("FL105", "legs")]


@pytest.mark.parametrize(
    ("code", "says"), [("FL112", "finds nothing here"), ("FL199", "is not a check"), ("FL102", "can't be ignored")]
)
def test_an_ignore_of_nothing_is_a_finding_itself(code, says, tmp_path):
    (found,) = findings(tmp_path, ignoring(code), *asked_tests()).findings
    assert (found.code, found.name) == ("FL111", "legs")
    assert says in found.message


def test_an_ignore_whose_check_did_not_run_is_not_called_unused(tmp_path):
    project = write(tmp_path, ignoring("FL112"), *asked_tests())
    assert lint(project, checks=["FL111", "FL4"]).findings == ()


def test_nothing_excuses_what_makes_a_view_unusable(tmp_path):
    assert ("FL102", "legs") in codes(tmp_path, ignoring("FL102", entity="plnae"))


# --- selection and settings ------------------------------------------------------------------------------------------


def test_names_select_what_is_reported(tmp_path):
    columns = {"a": described(description=""), "b": described(description="")}
    nodes = (view(columns=columns), view("other", columns=columns))
    project = write(tmp_path, *nodes, exposures=(service(node={"description": ""}),))
    assert {item.name for item in lint(project, ["other"]).findings if item.code == "FL403"} == {"other.a", "other.b"}
    assert {item.name for item in lint(project, ["other.a"]).findings} == {"other.a"}
    assert (lint(project).views, lint(project, ["other.a"]).views, lint(project, ["late"]).views) == (2, 1, 0)
    assert {item.name for item in lint(project, ["late"]).findings} == {"late"}
    assert {item.name for item in lint(project, ["exposure:late"]).findings} == {"late"}


def test_a_name_that_does_not_exist_is_told_with_the_nearest(tmp_path):
    project = write(tmp_path)
    with pytest.raises(UnknownNameError, match="did you mean 'legs'"):
        lint(project, ["lags"])
    with pytest.raises(UnknownNameError, match="there is no check 'FL20E'"):
        lint(project, checks=["FL20E"])


def test_any_node_of_dbt_may_be_named(tmp_path):
    test = asked_tests()[0]["unique_id"].split(".")[2]
    assert lint(write(tmp_path), [test]).findings == ()


def test_checks_select_codes_and_families(tmp_path):
    project = write(tmp_path, view(update_frequency=None, ttl=None, config={"group": None}))
    assert {item.code for item in lint(project, checks=["FL1,fl4"]).findings} == {"FL112", "FL401"}
    assert lint(project, checks=["FL112"]).checks == ("FL112",)
    assert lint(project, checks=["FL101"]).checks == ("FL101",)


def test_settings_turn_checks_off_and_weigh_them(tmp_path):
    nodes = (view(update_frequency=None, ttl=None, config={"group": None}), *asked_tests())
    settings = {"disabled": ["FL5"], "severity": {"FL1": "note", "FL112": "error"}}
    report = findings(tmp_path, *nodes, settings=settings)
    assert [(item.code, item.severity) for item in report.findings] == [
        ("FL112", Severity.ERROR),
        ("FL401", Severity.WARNING),
    ]


def test_what_is_wrong_with_the_settings_is_a_finding(tmp_path):
    settings = {
        "disabled": ["FL5", "nonsense"],
        "severity": {"FL1": "grave"},
        "nming": {},
        "naming": {"grammar": "<a>_<b>"},
    }
    report = findings(tmp_path, settings=settings)
    assert {(item.code, item.file) for item in report.findings} == {
        ("FL105", "featurelayer.yml"),
        ("FL102", "featurelayer.yml"),
    }
    assert "did you mean 'naming'" in " ".join(item.message for item in report.findings)
    assert all(item.line for item in report.findings)


def test_errors_fail_and_warnings_only_if_strict(tmp_path):
    warning = findings(tmp_path / "warning", view(update_frequency=None), *asked_tests())
    assert (warning.fails(), warning.fails(strict=True)) == (False, True)
    note = findings(tmp_path / "note", view(columns={"arr_delay": described(unit=None)}), *asked_tests())
    assert [item.severity for item in note.findings] == [Severity.NOTE]
    assert not note.fails(strict=True)


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_prints_findings_and_fails(bad, capsys):
    code, out, _ = run(capsys, "--project-dir", bad)
    assert code == 1
    assert "models/features/returns_facts.yml" in out.splitlines()
    assert "error   FL102  returns_facts: unknown key 'tttl' (did you mean 'ttl'?)" in out
    assert out.splitlines()[-1].split(" in ")[0].count(",") == 2


def test_the_command_ends_well_where_there_is_nothing(tmp_path, capsys):
    project = write(tmp_path)
    code, out, _ = run(capsys, "--project-dir", project.root)
    assert code == 0
    assert out.startswith("nothing found in 1 view, ")
    project = write(tmp_path, view(update_frequency=None), *asked_tests())
    assert run(capsys, "--project-dir", project.root)[0] == 0
    assert run(capsys, "--project-dir", project.root, "--strict")[0] == 1


def test_names_come_on_stdin(bad, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("store_traffic\nchurn\n"))
    _, out, _ = run(capsys, "--project-dir", bad, "-s", "-", "--format", "json")
    assert {item["name"].partition(".")[0] for item in json.loads(out)["findings"]} == {"store_traffic", "churn"}


def test_no_names_on_stdin_is_nothing_to_check(bad, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    code, out, err = run(capsys, "--project-dir", bad, "-s", "-")
    assert (code, out) == (0, "nothing found in 0 views, 0 checks\n")
    assert "nothing to check" in err


def test_json_has_every_finding(bad, capsys):
    _, out, _ = run(capsys, "--project-dir", bad, "--format", "json")
    said = json.loads(out)
    assert said["errors"] == sum(item["severity"] == "error" for item in said["findings"])
    assert set(said["findings"][0]) == {"code", "severity", "message", "fix", "name", "file", "line", "key", "details"}
    assert said["excused"][0]["reason"] == "Renamed in the next version."


@pytest.mark.parametrize("arguments", [["--explain", "FL203"], ["--explain", "fl203", "--format", "json"]])
def test_a_check_is_explained_without_a_project(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, err) == (0, "")
    assert all_checks()["FL203"].why in out


def test_an_unknown_check_is_not_explained(capsys):
    code, _, err = run(capsys, "--explain", "FL999")
    assert code == 2
    assert "there is no check 'FL999'" in err


@pytest.mark.parametrize("given", ["FL9,FL2,odd", "fl9, odd"])
def test_codes_that_no_check_has_are_a_wrong_call_and_those_that_are_there_are_named(bad, capsys, given):
    code, out, err = run(capsys, "--project-dir", bad, "--checks", given)
    assert (code, out) == (2, "")
    assert "'--checks': there is no check 'FL9' (did you mean" in err
    assert "'ODD'" in err
    assert all(known in err for known in all_checks())


def test_without_a_manifest_the_command_says_how_to_make_one(tmp_path, capsys):
    project = write(tmp_path)
    (project.target_path / "manifest.json").unlink()
    code, _, err = run(capsys, "--project-dir", project.root)
    assert code == 1
    assert "dbt parse" in err
    with pytest.raises(ManifestNotFound):
        lint(project)


def test_a_manifest_older_than_the_project_is_told(tmp_path, capsys):
    project = write(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "new.yml").write_text("models: []\n")
    os.utime(tmp_path / "models" / "new.yml", (4e9, 4e9))
    code, _, err = run(capsys, "--project-dir", project.root)
    assert code == 0
    assert "manifest.json is older than models/new.yml" in err
    assert "dbt parse" in err


def test_lint_imports_no_warehouse_and_no_sqlglot_where_there_is_no_sql(tmp_path):
    project = write(tmp_path, view(update_frequency=None))
    script = (
        "import sys; from featurelayer.cli import main; main(['lint', '--project-dir', sys.argv[1], '-q']);"
        "print({'sqlglot', 'duckdb', 'pyarrow', 'boto3', 'dbt', 'pandas', 'rich'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, project.root], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "set()"


# --- other programs' formats -----------------------------------------------------------------------------------------


def test_sarif_names_rules_places_and_what_is_excused(bad):
    report = FeatureLayer(bad).lint()
    log = sarif(report, "1.2.3", folder="analytics")
    (found,) = log["runs"]
    rules = found["tool"]["driver"]["rules"]
    assert log["version"] == "2.1.0"
    assert len(found["results"]) == len(report.findings) + len(report.suppressed)
    for result in found["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"].startswith("analytics/")
        assert place.get("region", {"startLine": 1})["startLine"] >= 1
    assert [item["suppressions"][0]["kind"] for item in found["results"] if "suppressions" in item] == ["inSource"]
    assert len({json.dumps(result["partialFingerprints"]) for result in found["results"]}) == len(found["results"])
    json.dumps(log, allow_nan=False)


def test_github_shows_findings_beside_the_line(tmp_path, capsys, monkeypatch):
    nasty = described(description="", unit="100%: a,b\n::error::")
    columns = {"delay": described(description="x", unit="min"), "late": nasty, "wait": described(unit="mins")}
    project = write(tmp_path / "analytics", view(columns=columns), *asked_tests())
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    _, out, _ = run(capsys, "--project-dir", project.root, "--format", "github")
    assert (
        "::warning file=analytics/models/features.yml,title=FL403 legs.late::legs.late: it has no description%0AFix: "
        in out
    )
    assert all(line.startswith(("::warning ", "::error ", "::notice ")) for line in out.splitlines())


def test_a_view_named_like_a_command_stays_in_its_line(tmp_path):
    (project := write(tmp_path, view(columns={"a%\nb": described(description="")}), *asked_tests()))
    (line,) = list(github(lint(project, checks=["FL403"])))
    assert "\n" not in line
    assert "a%25%0Ab" in line


# --- places that only lint looks at ----------------------------------------------------------------------------------


def test_a_folders_block_in_dbt_project_yml_is_told(tmp_path):
    project = write(tmp_path)
    text = yaml.safe_dump(
        {"name": "shop", "profile": "shop", "models": {"shop": {"marts": {"+meta": {"featurelayer": {}}}}}}
    )
    (project.root / "dbt_project.yml").write_text(text)
    (found,) = FeatureLayer(project.root).lint().findings
    assert (found.code, found.file, found.key) == ("FL104", "dbt_project.yml", "models.shop.marts.+meta.featurelayer")
    assert found.line == text.splitlines().index("      +meta:") + 2
    fine = text.replace("featurelayer:", "featurelayer_defaults:")
    (project.root / "dbt_project.yml").write_text(fine)
    assert FeatureLayer(project.root).lint().findings == ()


@pytest.mark.parametrize("yml", ["config:\n      meta:\n        featurelayer:\n          entity: plane",
                                 "config: {meta: {featurelayer: {entity: plane}}}"])  # fmt: skip
def test_a_block_in_the_sql_beside_that_of_the_yaml_is_told(yml, tmp_path):
    sql = "{{ config(materialized='table', meta={'featurelayer': {'entity': 'plane'}}) }} select 1"
    project = write(tmp_path, view(node={"raw_code": sql}), *asked_tests())
    (tmp_path / "models").mkdir()
    properties = tmp_path / "models" / "features.yml"
    properties.write_text(f"models:\n  - name: legs\n    {yml}\n")
    (found,) = lint(project).findings
    assert (found.code, found.name) == ("FL104", "legs")
    properties.write_text("models:\n  - name: legs\n    config: {meta: {owner: me}}\n")
    assert lint(project).findings == ()


def test_a_block_that_is_no_meta_at_all_is_told(tmp_path):
    lost = view(config={"meta": {}, "featurelayer": {"entity": "plane"}})
    assert codes(tmp_path, lost) == [("FL101", "legs")]


def test_a_feature_that_is_a_timestamp_needs_no_unit(tmp_path):
    columns = {"at": {**column("timestamp"), "description": "When it left."}}
    assert codes(tmp_path, view(columns=columns), *asked_tests()) == []


# --- what it costs ---------------------------------------------------------------------------------------------------


def test_only_what_is_asked_about_is_decoded_and_each_part_once(tmp_path, monkeypatch):
    import featurelayer.dbt.inventory as inventory

    plain = {
        "resource_type": "model",
        "name": "plain",
        "package_name": "shop",
        "columns": {},
        "config": {},
        "depends_on": {"nodes": []},
    }
    others = [{**plain, "unique_id": f"model.shop.plain_{number}"} for number in range(50)]
    project = write(tmp_path, view(update_frequency=None), *asked_tests(), *others)
    decoded: list[str] = []
    real = inventory.decode

    def counting(part, kind, path, node="", command="dbt parse"):
        decoded.append(node)
        return real(part, kind, path, node, command)

    monkeypatch.setattr(inventory, "decode", counting)
    assert [item.code for item in lint(project).findings] == ["FL112"]
    assert not [node for node in decoded if "plain" in node]
    assert len(decoded) == len(set(decoded))


def test_lines_are_looked_up_in_files_with_findings_only_and_each_is_read_once(tmp_path, monkeypatch):
    from featurelayer.dbt.yaml_lines import Lines

    nodes = [view(name, node={"patch_path": f"shop://models/{name}.yml"}) for name in ("one", "two")]
    nodes[0]["config"]["meta"]["featurelayer"].pop("update_frequency")
    nodes[0]["columns"]["arr_delay"]["description"] = ""
    project = write(tmp_path, *nodes, *asked_tests("one"), *asked_tests("two"))
    read: list[str] = []
    real = Lines._read

    def counting(lines, path):
        read.append(path.name)
        return real(lines, path)

    monkeypatch.setattr(Lines, "_read", counting)
    assert [item.code for item in lint(project).findings] == ["FL112", "FL403"]
    assert read == ["one.yml"]


def test_without_views_no_check_is_said_to_be_skipped(tmp_path):
    plain_model = {**view(), "config": {"materialized": "table", "meta": {}}}
    report = findings(tmp_path, plain_model)
    assert (report.views, report.without_sql) == (0, False)
    assert findings(tmp_path, view()).without_sql
