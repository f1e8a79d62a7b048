"""A dialect and a connection of another package, as docs/engines.md shows them: installed, found, and used."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.plugins import run_python, write_facts
from tests.unit import dbt_projects as made
from tests.unit import warehouses
from tests.unit.test_reproduce import LABELS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "engines.md"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages that has the page's package, installed as pip would."""
    text = PAGE.read_text(encoding="utf-8")
    section = text[text.index("## An engine of your own") : text.index("## Through dbt's adapter")]
    root = tmp_path / "site"
    package = root / "quack_features"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name, code in re.findall(r"```python\n# quack_features/(\w+\.py)\n(.*?)```", section, re.DOTALL):
        (package / name).write_text(code, encoding="utf-8")
    ((points),) = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    groups = re.sub(r'\[project\.entry-points\."(.*?)"\]', r"[\1]", points).replace('"', "")
    write_facts(root, "quack-features", groups)
    return root


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project whose target is of the package's type."""
    root = tmp_path / "shop"
    warehouses.layer(root)
    made.project(
        root,
        made.manifest(
            made.model(), exposures=(made.exposure("legs.arr_delay", label_timestamp="at"),), adapter="quack"
        ),
    )
    (root / "profiles.yml").write_text(warehouses.PROFILES.replace("type: duckdb", "type: quack"))
    pq.write_table(LABELS, root / "labels.parquet")
    return root


def run(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_python(*arguments, plugins=site, cwd=folder, environment={"DBT_PROFILES_DIR": str(folder)})


def test_a_training_set_is_built_on_the_packages_engine(site: Path, shop: Path) -> None:
    found = run(site, shop, "-m", "featurelayer", "build-training-set", "--service", "late",
                "--labels", "labels.parquet", "--output", "train.parquet")  # fmt: skip
    assert found.returncode == 0, found.stderr
    table = pq.read_table(shop / "train.parquet")
    assert table["legs__arr_delay"].to_pylist() == [5.0, None, -3.5, None]
    assert "quack 1.0" in (shop / "train.lock.json").read_text()


def test_its_sql_is_shown_for_other_targets(site: Path, shop: Path) -> None:
    (shop / "db.duckdb").unlink()
    warehouses.layer(shop)
    found = run(site, shop, "-m", "featurelayer", "build-training-set", "--service", "late",
                "--labels", "labels.parquet", "--show-sql", "--dialect", "quack")  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "legs__timeline" in found.stdout


def test_the_conformance_kit_runs_on_it(site: Path, tmp_path: Path) -> None:
    code = """
from pathlib import Path
from featurelayer.testing import WarehouseEngine, cases, check
from featurelayer.warehouse import available, connect

assert "quack" in available()
warehouse = connect({"type": "quack", "path": "kit.db"}, root=Path.cwd())
engine = WarehouseEngine(warehouse, lacks={"unsigned", "nanoseconds"})
for case in cases()[:40]:
    if not engine.lacks & case.needs:
        print(*check(engine, case), sep="\\n", end="")
"""
    found = run(site, tmp_path, "-c", code)
    assert (found.returncode, found.stdout) == (0, ""), found.stderr


def test_without_the_package_the_engine_is_unknown(shop: Path, tmp_path: Path) -> None:
    found = run(tmp_path, shop, "-m", "featurelayer", "build-training-set", "--service", "late",
                "--labels", "labels.parquet", "--output", "train.parquet")  # fmt: skip
    assert found.returncode != 0
    assert "dbt adapter 'quack' is not supported" in found.stderr
