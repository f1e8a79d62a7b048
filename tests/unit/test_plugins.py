"""A monitor and a command of another package: written, installed with their entry points, and used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pytest
import yaml

from featurelayer.errors import ConfigError
from featurelayer.sql.dialects import dialect
from featurelayer.warehouse.engines import load_engine
from tests.docs.pages import REPOSITORY, blocks
from tests.plugins import install_modules, run_featurelayer
from tests.unit import dbt_projects as made
from tests.unit import warehouses

pytestmark = pytest.mark.slow


def example(page: str, file: str) -> str:
    """The file that a page shows."""
    (block,) = (block for block in blocks(REPOSITORY / "docs" / page) if block.value == file)
    return block.text


MEAN_SHIFT = example("monitoring.md", "acme_monitors.py")
COUNT_FEATURES = example("commands.md", "acme_commands.py")
LEGS = """
CREATE TABLE legs AS SELECT 'N' || (i % 50) AS tailnum, TIMESTAMP '2024-01-01' + INTERVAL (i * 2) MINUTE AS landed_at,
  CAST(i % 60 - 30 AS DOUBLE) + CASE WHEN i >= 720 * 59 THEN 50 ELSE 0 END AS arr_delay
FROM range(720 * 60) t(i)
"""
MONITOR = ("monitor", "--as-of", "2024-03-01")


def project(root: Path, **mean_shift: Any) -> Path:
    """Two months of legs whose delays are 50 minutes longer on the last day."""
    monitors = {"mean_shift": mean_shift} if mean_shift else {}
    config = yaml.safe_dump({"entities": made.ENTITIES, "monitors": {"psi": False}})
    made.project(root, made.manifest(made.model(monitors=monitors)), config=config)
    (root / "profiles.yml").write_text(warehouses.PROFILES)
    with duckdb.connect(str(root / "db.duckdb")) as connection:
        connection.execute(LEGS)
    return root


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    points = {
        "featurelayer.monitors": {"mean_shift": "acme_monitors:mean_shift"},
        "featurelayer.commands": {"count-features": "acme_commands:count_features"},
    }
    modules = {"acme_monitors": MEAN_SHIFT, "acme_commands": COUNT_FEATURES}
    return install_modules(tmp_path / "site", "acme-features", modules, points)


def test_a_monitor_of_another_package_is_evaluated_reported_and_recorded(tmp_path: Path, packages: Path) -> None:
    root = project(tmp_path / "shop")
    text = run_featurelayer(*MONITOR, "--report", "report", plugins=packages, cwd=root)
    assert text.returncode == 1, text.stderr
    (line,) = (line for line in text.stdout.splitlines() if "mean shift" in line)
    assert line.startswith("error   legs.arr_delay")
    assert "the mean was -0.5 and is 49.5" in line
    assert "mean shift" in (root / "report" / "index.html").read_text(encoding="utf-8")

    results = json.loads(run_featurelayer(*MONITOR, "--format", "json", plugins=packages, cwd=root).stdout)["results"]
    (result,) = (result for result in results if result["monitor"] == "mean_shift")
    assert (result["status"], result["warn"], result["error"]) == ("error", 0.5, 2)
    junit = run_featurelayer(*MONITOR, "--format", "junit", plugins=packages, cwd=root).stdout
    cases = ElementTree.fromstring(junit).iter("testcase")
    (case,) = (case for case in cases if case.get("name") == "mean_shift")
    assert case.find("failure") is not None

    with duckdb.connect(str(root / "db.duckdb")) as connection:
        query = "SELECT count(*) FROM featurelayer_monitor_results WHERE monitor = 'mean_shift' AND status = 'error'"
        assert connection.execute(query).fetchone() == (3,)


def test_its_key_is_accepted_in_annotations_and_is_in_the_schema(tmp_path: Path, packages: Path) -> None:
    root = project(tmp_path / "shop", warn=1, error=9)
    found = run_featurelayer(*MONITOR, "--no-record", "--format", "json", plugins=packages, cwd=root)
    (result,) = (each for each in json.loads(found.stdout)["results"] if each["monitor"] == "mean_shift")
    assert (result["status"], result["warn"], result["error"]) == ("warn", 1, 9)
    schema = json.loads(run_featurelayer("schema", plugins=packages, cwd=root).stdout)
    for block in ("FeatureMonitorsBlock", "MonitorsBlock"):
        key = schema["$defs"][block]["properties"]["mean_shift"]
        assert key["description"] == "Shift of the mean, in standard deviations of the baseline."
    without = run_featurelayer(*MONITOR, plugins=tmp_path, cwd=root)
    assert "unknown key 'mean_shift'" in without.stderr


def test_a_wrong_limit_of_it_is_an_error_of_the_annotations(tmp_path: Path, packages: Path) -> None:
    root = project(tmp_path / "shop", warn=3, error=1)
    found = run_featurelayer(*MONITOR, plugins=packages, cwd=root)
    assert found.returncode == 1
    assert "mean_shift" in found.stderr


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (MEAN_SHIFT.replace("abs(", "1 / 0 * abs("), "the monitor 'mean_shift' of acme-features failed: ZeroDivision"),
        ("import nothing_like_this", "the plug-in 'mean_shift' of acme-features can't be imported: ModuleNotFound"),
        ("mean_shift = 1", "'shifts:mean_shift' of acme-features is not a monitor"),
        (
            MEAN_SHIFT.replace("def mean_shift", "def null_rate") + "\nmean_shift = null_rate\n",
            "the monitor 'null_rate' of acme-features has the name of another one",
        ),
        (
            MEAN_SHIFT.replace("def mean_shift", "def period") + "\nmean_shift = period\n",
            "the monitor 'period' has the name of a setting of `monitors`",
        ),
    ],
)
def test_a_broken_monitor_is_named_with_its_package(tmp_path: Path, source: str, said: str) -> None:
    points = {"featurelayer.monitors": {"mean_shift": "shifts:mean_shift"}}
    packages = install_modules(tmp_path / "site", "acme-features", {"shifts": source}, points)
    found = run_featurelayer(*MONITOR, plugins=packages, cwd=project(tmp_path / "shop"))
    assert found.returncode == 1
    assert said in found.stderr
    assert "Traceback" not in found.stderr


def test_a_command_of_another_package_is_listed_and_run(tmp_path: Path, packages: Path) -> None:
    listing = run_featurelayer("--help", plugins=packages, cwd=tmp_path).stdout
    (line,) = (line for line in listing.splitlines() if line.split()[:1] == ["count-features"])
    assert line.endswith("Print the number of features of every owner.")
    root = project(tmp_path / "shop")
    assert run_featurelayer("count-features", plugins=packages, cwd=root).stdout == "no owner: 1\n"
    assert run_featurelayer("count-features", "--least", "2", plugins=packages, cwd=root).stdout == ""
    help_text = run_featurelayer("count-features", "--help", plugins=packages, cwd=tmp_path).stdout
    assert help_text.startswith("Usage: featurelayer count-features")
    assert "--project-dir" in help_text
    misspelt = run_featurelayer("count-feature", plugins=packages, cwd=tmp_path)
    assert "did you mean 'count-features'?" in misspelt.stderr


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_like_this", "the plug-in 'greet' of acme-features can't be imported: ModuleNotFoundError"),
        ("def command(): pass", "'greetings:command' of acme-features is not a click command"),
    ],
)
def test_a_broken_command_hurts_no_other(tmp_path: Path, source: str, said: str) -> None:
    points = {"featurelayer.commands": {"greet": "greetings:command", "schema": "greetings:command"}}
    packages = install_modules(tmp_path / "site", "acme-features", {"greetings": source}, points)
    listing = run_featurelayer("--help", plugins=packages, cwd=tmp_path)
    assert listing.returncode == 0
    assert "Command of acme-features." in listing.stdout
    assert "Print the JSON Schema" in listing.stdout
    found = run_featurelayer("greet", plugins=packages, cwd=tmp_path)
    assert found.returncode == 1
    assert said in found.stderr
    assert run_featurelayer("schema", plugins=packages, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("group", "load"), [("featurelayer.dialects", dialect), ("featurelayer.warehouses", load_engine)]
)
def test_an_engine_that_can_not_be_imported_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, load: Callable[[str], Any]
) -> None:
    monkeypatch.syspath_prepend(str(install_modules(tmp_path, "acme", {}, {group: {"acmedb": "no_such_module"}})))
    with pytest.raises(ConfigError, match="the plug-in 'acmedb' of acme can't be imported"):
        load("acmedb")
