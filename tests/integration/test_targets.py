"""A manifest that dbt wrote for one target is never used for another: with real dbt runs and two targets."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from featurelayer.cli import main
from featurelayer.errors import TargetMismatch
from featurelayer.layer import FeatureLayer
from tests.integration.conftest import run_dbt

pytestmark = pytest.mark.slow

FILES = {
    "dbt_project.yml": """
        name: small
        version: "1.0"
        profile: small
        flags: {send_anonymous_usage_stats: false}
        models: {small: {+materialized: table}}
        vars: {limit: 5}
    """,
    "profiles.yml": """
        small:
          target: "{{ env_var('SMALL_TARGET', 'dev') }}"
          outputs:
            dev: {type: duckdb, path: "FOLDER/wh.duckdb", schema: dev_me, settings: {TimeZone: UTC}}
            prod: {type: duckdb, path: "FOLDER/wh.duckdb", schema: analytics, settings: {TimeZone: UTC}}
            file: {type: duckdb, path: "FOLDER/prod.duckdb", schema: dev_me, settings: {TimeZone: UTC}}
            twin: {type: duckdb, path: "FOLDER/twin/wh.duckdb", schema: dev_me, settings: {TimeZone: UTC}}
        second:
          target: dev
          outputs:
            dev: {type: duckdb, path: "FOLDER/wh.duckdb", schema: second, settings: {TimeZone: UTC}}
    """,
    "featurelayer.yml": """
        entities: {customer: {keys: {customer_id: integer}}}
        online_store:
          dev: {type: sqlite, path: dev.db}
          prod: {type: sqlite, path: prod.db}
          file: {type: sqlite, path: file.db}
          twin: {type: sqlite, path: twin.db}
    """,
    "models/spend.sql": """
        select 1 as customer_id, timestamp '2024-01-01' as at,
          case when '{{ target.name }}' = 'dev' then 1.0 else 2.0 end as amount
    """,
    "models/schema.yml": """
        models:
          - name: spend
            config:
              event_time: at
              schema: "{{ var('custom', none) }}"
              meta: {featurelayer: {entity: customer, online: true, ttl: 10 days}}
            columns:
              - {name: customer_id, data_type: integer, config: {meta: {featurelayer: {join_key: customer}}}}
              - {name: at, data_type: timestamp}
              - {name: amount, data_type: double, description: Spent.}
    """,
    "models/services.yml": """
        exposures:
          - name: churn
            type: ml
            owner: {name: Ops, email: ops@example.com}
            depends_on: [ref('spend')]
            config: {meta: {featurelayer: {label_timestamp: at, features: [spend.amount]}}}
    """,
}
OWN_MACRO = """
    {% macro generate_schema_name(custom_schema_name, node) %}
      {{ custom_schema_name if custom_schema_name else target.schema }}
    {% endmacro %}
"""
STRANGE_MACRO = """
    {% macro generate_schema_name(custom_schema_name, node) %}features_of_{{ target.name }}{% endmacro %}
"""


@pytest.fixture(autouse=True)
def no_dbt_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("DBT_", "SMALL_"))]:
        monkeypatch.delenv(name)


def write(folder: Path, **more: str) -> Path:
    for name, text in {**FILES, **{key.replace("__", "/") + ".sql": text for key, text in more.items()}}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text).replace("FOLDER", str(folder)) + "\n")
    return folder


@pytest.fixture(scope="module")
def built_for_dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that `dbt build -t dev` has built."""
    folder = write(tmp_path_factory.mktemp("targets"))
    run_dbt(folder, "build", "-t", "dev")
    return folder


@pytest.fixture
def built(built_for_dev: Path, tmp_path: Path) -> Path:
    """A copy of it, for a test that runs dbt again."""
    folder = tmp_path / "copy"
    shutil.copytree(built_for_dev, folder)
    write(folder)
    return folder


def run(folder: Path, *arguments: str) -> int:
    return main([*arguments, "--project-dir", str(folder), "--profiles-dir", str(folder)])


def make_schemas(folder: Path) -> None:
    """Make the targets' schemas, where exports are recorded, for a project that builds nothing in them."""
    with duckdb.connect(str(folder / "wh.duckdb")) as session:
        for schema in ("dev_me", "analytics"):
            session.execute(f"create schema if not exists {schema}")


def labels(folder: Path) -> Path:
    (folder / "labels.csv").write_text("customer_id,at\n1,2024-01-02 00:00:00\n")
    return folder / "labels.csv"


USES: dict[str, Callable[[Path], list[str]]] = {
    "export": lambda folder: ["export", "--as-of", "2024-01-02"],
    "plan": lambda folder: ["export", "--plan"],
    "verify": lambda folder: ["verify"],
    "monitor": lambda folder: ["monitor"],
    "build": lambda folder: ["build-training-set", "--service", "churn", "--labels", str(labels(folder)), "--show-sql"],
    "explain": lambda folder: [
        *["build-training-set", "--service", "churn", "--labels", str(labels(folder)), "--explain-row", "0"]
    ],
    "rollback": lambda folder: ["rollback", "-s", "spend"],
    "create": lambda folder: ["online", "create"],
    "drain": lambda folder: ["online", "drain"],
    "forget": lambda folder: ["online", "forget", "--key", "customer_id=1"],
}


@pytest.mark.parametrize("use", USES)
def test_what_reads_the_warehouse_or_writes_a_store_stops(built_for_dev: Path, use: str, capsys) -> None:
    folder = built_for_dev
    assert run(folder, *USES[use](folder), "-t", "prod") == 1
    printed = capsys.readouterr()
    assert "manifest.json was built for target dev (schema dev_me), not for prod (schema analytics)" in printed.err
    assert "run dbt parse -t prod" in printed.err
    assert printed.out == ""
    assert not (folder / "prod.db").exists()


@pytest.mark.parametrize("use", ["list", "show spend", "lint", "catalog build --output OUT"])
def test_what_reads_files_alone_does_not_stop(built_for_dev: Path, tmp_path: Path, use: str, capsys) -> None:
    arguments = [str(tmp_path / "out") if word == "OUT" else word for word in use.split()]
    assert run(built_for_dev, *arguments, "-t", "prod") == 0
    assert use.startswith("catalog") == ("built for target dev" in capsys.readouterr().err)


def test_reproduce_stops_too(built_for_dev: Path, tmp_path: Path) -> None:
    dev = FeatureLayer(built_for_dev, profiles_dir=built_for_dev)
    with dev.build_training_set("churn", labels(tmp_path)) as made:
        lock = made.lock
    prod = FeatureLayer(built_for_dev, profiles_dir=built_for_dev, target="prod")
    with pytest.raises(TargetMismatch, match="run dbt parse -t prod"):
        prod.reproduce(lock, labels(tmp_path))
    (model,) = prod.dbt_models("churn", "spend")  # its columns are declared, and dbt resolves its refs by target
    assert "ref('spend')" in model.text


def test_the_target_that_it_was_built_for_is_used_without_a_word(built_for_dev: Path, capsys) -> None:
    assert run(built_for_dev, "export", "--as-of", "2024-01-02", "-t", "dev") == 0
    assert run(built_for_dev, "verify", "-t", "dev") == 0
    assert capsys.readouterr().err == ""


def test_a_manifest_parsed_for_the_target_is_used_whatever_was_built_before(built: Path, capsys) -> None:
    run_dbt(built, "parse", "-t", "prod")  # leaves the run_results.json of the build for dev
    assert run(built, "export", "-t", "prod") == 1
    assert "dbt build -s spend" in capsys.readouterr().err  # the target is right, its tables are not built
    run_dbt(built, "build", "-t", "prod")
    assert run(built, "export", "--as-of", "2024-01-02", "-t", "prod") == 0
    capsys.readouterr()
    assert (
        run(built, "lookup", "-t", "prod", "--service", "churn", "--key", "customer_id=1", "--now", "2024-01-02") == 0
    )
    assert "2.0" in capsys.readouterr().out
    assert run(built, "export", "--as-of", "2024-01-02", "-t", "dev") == 1
    assert "was built for target prod (schema analytics), not for dev (schema dev_me)" in capsys.readouterr().err


def test_without_a_recorded_target_the_schemas_tell(built: Path, monkeypatch, capsys) -> None:
    run_dbt(built, "parse")
    assert run(built, "verify", "-t", "prod") == 1
    assert "was built for target dev or twin (schema dev_me)" in capsys.readouterr().err
    run_dbt(built, "build")  # nothing recorded: the profile's default
    assert run(built, "export", "--as-of", "2024-01-02") == 0
    assert run(built, "export", "-t", "prod") == 1
    monkeypatch.setenv("SMALL_TARGET", "prod")  # the default is another one here than where dbt ran
    capsys.readouterr()
    assert run(built, "export") == 1
    assert "(schema dev_me), not for prod (schema analytics)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["DBT_TARGET", "DBT_ENGINE_TARGET"])
def test_a_target_of_the_environment_is_one(built: Path, name: str, monkeypatch, capsys) -> None:
    run_dbt(built, "compile", **{name: "prod"})
    assert run(built, "export") == 1
    assert "was built for target prod (schema analytics), not for dev" in capsys.readouterr().err
    monkeypatch.setenv(name, "prod")
    assert run(built, "export") == 1
    assert "dbt build -s spend" in capsys.readouterr().err


def test_another_database_file_is_another_target(built: Path, capsys) -> None:
    duckdb.connect(str(built / "prod.duckdb")).close()
    assert run(built, "export", "-t", "file") == 1
    assert "was built for target dev (database wh), not for file (database prod)" in capsys.readouterr().err
    run_dbt(built, "parse")
    assert run(built, "export", "-t", "file") == 1
    assert "(database wh), not for file (database prod)" in capsys.readouterr().err


def test_targets_that_name_their_relations_alike_are_told_apart_by_the_record_alone(built: Path, capsys) -> None:
    assert run(built, "export", "-t", "twin") == 1
    assert "was built for target dev, not for twin" in capsys.readouterr().err
    (built / "twin").mkdir()
    shutil.copy(built / "wh.duckdb", built / "twin" / "wh.duckdb")
    run_dbt(built, "parse")
    assert run(built, "export", "--as-of", "2024-01-02", "-t", "twin") == 0  # what is read is what twin has
    assert capsys.readouterr().err == ""


def test_another_profile_with_a_target_of_that_name_is_another_target(built: Path, capsys) -> None:
    assert run(built, "export", "--profile", "second") == 1
    assert "built for target dev of profile small, not for dev of profile second" in capsys.readouterr().err
    run_dbt(built, "parse")
    assert run(built, "export", "--profile", "second") == 1
    assert "was built for another target (schema dev_me), not for dev (schema second)" in capsys.readouterr().err


def test_a_schema_that_profiles_yml_has_changed_since_is_another_target(built: Path, capsys) -> None:
    profiles = built / "profiles.yml"
    profiles.write_text(profiles.read_text().replace("schema: dev_me", "schema: dev_you"))
    assert run(built, "export") == 1
    assert "built for target dev (schema dev_me), not for dev (schema dev_you)" in capsys.readouterr().err


def test_custom_schemas_are_those_of_dbts_macro(built: Path, capsys) -> None:
    run_dbt(built, "build", "--vars", "custom: marts")
    assert run(built, "export", "--as-of", "2024-01-02") == 0
    run_dbt(built, "parse", "--vars", "custom: marts")
    assert run(built, "export", "-t", "prod") == 1
    assert "was built for target dev or twin (schema dev_me), not for prod" in capsys.readouterr().err


def test_a_projects_own_macro_leaves_models_without_a_custom_schema_to_tell(tmp_path: Path, capsys) -> None:
    folder = write(tmp_path, macros__names=OWN_MACRO, models__other="select 1 as x")
    run_dbt(folder, "build")
    make_schemas(folder)
    assert run(folder, "export", "--as-of", "2024-01-02") == 0
    assert capsys.readouterr().err == ""
    assert run(folder, "export", "-t", "prod") == 1
    assert "(schema dev_me), not for prod (schema analytics)" in capsys.readouterr().err
    run_dbt(folder, "build", "--vars", "custom: marts")  # the view's schema does not tell, that of `other` does
    assert run(folder, "export", "--as-of", "2024-01-02") == 0
    assert run(folder, "export", "--as-of", "2024-01-02", "-t", "prod") == 1
    assert "or pass --assume-target if it was built for prod" in capsys.readouterr().err
    assert run(folder, "export", "--as-of", "2024-01-02", "-t", "prod", "--assume-target") == 0


def test_where_nothing_tells_it_says_so_and_takes_your_word(tmp_path: Path, capsys) -> None:
    folder = write(tmp_path, macros__names=STRANGE_MACRO)
    run_dbt(folder, "build")
    make_schemas(folder)
    assert run(folder, "export", "--as-of", "2024-01-02") == 0
    printed = capsys.readouterr().err
    assert printed.count("can't tell whether manifest.json was built for target dev") == 1
    assert "run dbt compile -t dev" in printed
    assert "--assume-target" in printed
    assert run(folder, "export", "--as-of", "2024-01-02", "--assume-target") == 0
    FeatureLayer(folder, profiles_dir=folder, assume_target=True, warn=pytest.fail).verify()
    run_dbt(folder, "compile", "-t", "dev")
    assert run(folder, "export", "--as-of", "2024-01-02") == 0
    assert capsys.readouterr().err == ""
    assert run(folder, "export", "-t", "prod", "--assume-target") == 1  # your word does not outweigh dbt's
    assert "was built for target dev" in capsys.readouterr().err


def test_vars_that_dbt_did_not_have_change_no_definition(built: Path, capsys) -> None:
    assert run(built, "list", "--vars", "limit: 7") == 0
    printed = capsys.readouterr().err
    assert "--vars 'limit' does not change any definition" in printed
    assert "dbt wrote manifest.json with other vars" in printed
    assert """run dbt parse --vars '{"limit": 7}'""" in printed
    run_dbt(built, "compile", "--vars", "{limit: 7, day: 2024-01-01}")
    for same in ("limit: 7", "{day: 2024-01-01}"):
        assert run(built, "list", "--vars", same) == 0
        assert capsys.readouterr().err == ""
    assert run(built, "list", "--vars", "limit: 8") == 0
    assert "'limit'" in capsys.readouterr().err
    run_dbt(built, "parse")
    assert run(built, "list", "--vars", "nowhere: 7") == 0
    assert "dbt may have written manifest.json with others" in capsys.readouterr().err
    profiles = built / "profiles.yml"
    profiles.write_text(profiles.read_text().replace("schema: dev_me", "schema: \"{{ var('place', 'dev_me') }}\""))
    run_dbt(built, "parse")
    assert run(built, "list", "--vars", "place: dev_me") == 0  # it is for profiles.yml
    assert capsys.readouterr().err == ""
