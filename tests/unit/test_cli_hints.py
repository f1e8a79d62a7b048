"""Commands that messages suggest keep the project and target of the call that printed them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from featurelayer.cli import main
from featurelayer.cli.hints import complete_commands
from featurelayer.errors import FeatureLayerError
from featurelayer.layer import FeatureLayer
from tests.unit import dbt_projects as made
from tests.unit.warehouses import LEGS, layer

pytestmark = pytest.mark.slow

TARGETS = "shop: {target: dev, outputs: {dev: &it {type: duckdb, path: db.duckdb}, prod: *it}}\n"
STORES = (
    "online_store: {dev: &it {type: sqlite, path: online.db}, prod: *it}\n"
    "entities: {plane: {keys: {tailnum: varchar}}}\n"
)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    layer(tmp_path, made.model(online=True, ttl="1 day"), sql="SELECT 1")
    (tmp_path / "profiles.yml").write_text(TARGETS)
    (tmp_path / "featurelayer.yml").write_text(STORES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        (["lookup", "--service", "late", "--key", "tailnum=N1"], ["`featurelayer online create {}`"]),
        (["online", "status"], ["`featurelayer export {}`"]),
        (["export"], ["`dbt build -s legs {}`"]),
        (["export", "--plan"], ["`dbt build -s legs {}`"]),
        (["build-training-set", "--service", "late", "--labels", "legs", "--plan"], ["`dbt build -s legs {}`"]),
        (["monitor"], ["`dbt build -s legs {}`"]),
    ],
    ids=lambda value: " ".join(value[:2]) if value[0][0] != "`" else "",
)
@pytest.mark.parametrize("given", [["-t", "prod"], ["--target=prod", "--project-dir", ".", "--vars", "{a: b}"], []])
def test_a_suggested_command_keeps_what_was_given(
    shop: Path, arguments: list[str], suggested: list[str], given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *given]) == 1
    said = capsys.readouterr().err
    kept = {0: "", 2: "-t prod", 5: "--project-dir . -t prod --vars '{{a: b}}'"}[len(given)].replace("{{", "{")
    for command in suggested:
        assert command.format(kept.replace("}}", "}")).replace(" `", "`") in said


def test_json_messages_and_warnings_keep_it(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "-t", "prod", "--log-format", "json"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["fix"] == "run `dbt build -s legs -t prod`"
    layer(shop, made.model(online=True, ttl="1 day"), sql=LEGS)
    (shop / "profiles.yml").write_text(TARGETS)
    (shop / "featurelayer.yml").write_text(STORES)
    assert main(["online", "create", "-t", "prod"]) == 0
    assert main(["verify", "-t", "prod"]) == 1
    assert "run `featurelayer export -s legs -t prod`" in capsys.readouterr().err


def test_python_sees_no_options(shop: Path) -> None:
    with pytest.raises(FeatureLayerError) as caught:
        FeatureLayer(shop, target="prod", profiles_dir=shop).export()
    assert "run `dbt build -s legs`" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("run `featurelayer online create`, or",
         "run `featurelayer online create -t prod --assume-target`, or"),
        ("`dbt parse` and `featurelayer export -s a`",
         "`dbt parse -t prod` and `featurelayer export -s a -t prod --assume-target`"),
        ("`featurelayer export -t dev`", "`featurelayer export -t dev --assume-target`"),
        ("`featurelayer export --target=dev`", "`featurelayer export --target=dev --assume-target`"),
        ("`featurelayer schema`", "`featurelayer schema`"),  # takes no target
        ("`featurelayer online`", "`featurelayer online`"),
        ("`featurelayer nothing` or `featurelayer`", "`featurelayer nothing` or `featurelayer`"),
        ("featurelayer export", "featurelayer export"),
        ("`dbt_project.yml`", "`dbt_project.yml`"),
    ],
)  # fmt: skip
def test_only_commands_that_take_an_option_get_it(text: str, completed: str) -> None:
    assert complete_commands(text, {"--target": "prod", "--assume-target": ""}) == completed
    assert complete_commands(text, {}) == text


@pytest.mark.parametrize("output_format", ["json", "text"])
def test_the_fixes_of_findings_keep_it(output_format: str, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "target" / "manifest.json").write_text("{")
    main(["lint", "--project-dir", str(shop), "-t", "prod", "--format", output_format])
    out = capsys.readouterr().out
    fix = json.loads(out)["findings"][0]["fix"] if output_format == "json" else out
    assert f"`dbt parse --project-dir {shop} -t prod`" in fix
