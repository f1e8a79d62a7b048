"""dbt_project.yml, profiles.yml and featurelayer.yml, found and rendered as dbt does."""

from pathlib import Path

import pytest

from featurelayer.dbt import load_project
from featurelayer.dbt.renderer import JinjaRenderer
from featurelayer.errors import ConfigError

PROFILES = """
shop:
  target: "{{ env_var('SHOP_TARGET', 'dev') }}"
  outputs:
    dev:
      type: duckdb
      path: "{{ var('folder') }}/shop.db"
      threads: "{{ env_var('SHOP_THREADS', '4') | as_number }}"
      port: "{{ env_var('SHOP_PORT', '5432') | int }}"
      zip: "{{ env_var('SHOP_ZIP', '00123') }}"
      read_only: "{{ 'true' | as_bool }}"
      mixed: "a{{ 1 }}b{{ 2 }}"
      settings: {memory: ["{{ 1 + 1 }}", x]}
    prod: {type: snowflake, password: "{{ env_var('DBT_ENV_SECRET_PASSWORD') }}", user: u}
    broken: {user: u}
other:
  outputs: {}
"""


@pytest.fixture(autouse=True)
def no_dbt_environment(monkeypatch, tmp_path):
    for name in ("PROJECT_DIR", "PROFILES_DIR", "PROFILE", "TARGET", "TARGET_PATH"):
        monkeypatch.delenv(f"DBT_{name}", raising=False)
        monkeypatch.delenv(f"DBT_ENGINE_{name}", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.chdir(home)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "dbt_project.yml").write_text("name: shop\nprofile: shop\nvars: {folder: a, shop: {folder: b}}\n")
    (folder / "profiles.yml").write_text(PROFILES)
    return folder


def message(action):
    with pytest.raises(ConfigError) as error:
        action()
    (problem,) = error.value.problems
    assert problem.where
    assert problem.fix
    return problem


def test_a_project_is_its_file_and_the_defaults_of_dbt(root):
    project = load_project(root)
    assert (project.root, project.name, project.profile, project.target) == (root, "shop", "shop", "dev")
    assert project.target_path == root / "target"
    assert project.profiles_dir == root


def test_the_project_is_found_from_a_folder_inside(root, monkeypatch):
    (root / "models").mkdir()
    monkeypatch.chdir(root / "models")
    assert load_project().root == root


def test_flags_win_over_the_environment_and_the_new_name_over_the_old(root, monkeypatch):
    monkeypatch.setenv("DBT_PROJECT_DIR", "nowhere")
    monkeypatch.setenv("DBT_ENGINE_PROJECT_DIR", str(root))
    monkeypatch.setenv("DBT_TARGET", "dev")
    monkeypatch.setenv("DBT_ENGINE_TARGET", "prod")
    monkeypatch.setenv("DBT_TARGET_PATH", "out")
    assert load_project().target == "prod"
    assert load_project().target_path == root / "out"
    assert load_project(target="broken", target_path="/abs").target == "broken"
    assert load_project(target_path="/abs").target_path == Path("/abs")


def test_the_target_path_of_the_project_file_is_rendered(root, monkeypatch):
    monkeypatch.setenv("SHOP_OUT", "built")
    (root / "dbt_project.yml").write_text("name: shop\ntarget-path: \"{{ env_var('SHOP_OUT') }}\"\n")
    assert load_project(root).target_path == root / "built"


def test_profile_values_are_rendered_with_their_types(root):
    connection = load_project(root).connection
    assert dict(connection) == {
        "type": "duckdb",
        "path": "b/shop.db",
        "threads": 4,
        "port": 5432,
        "zip": "00123",
        "read_only": True,
        "mixed": "a1b2",
        "settings": {"memory": ["2", "x"]},
    }


@pytest.mark.parametrize(
    ("template", "value"),
    [
        # What dbt 1.11 makes of the same text.
        ("{{ 1 + 1 }}", "2"),
        ("{{ var('number') }}", 3),
        ("{{ var('list') }}", [1, 2]),
        ("{{ '5' | as_number }}", 5),
        ("{{ 'True' | as_bool }}", True),
        ("{{ '[1]' | as_native }}", [1]),
        ("{{ 'x' | as_text }}", "x"),
        ("{{ var('number') | string | as_number }}", 3),
        ("a{{ var('number') }}", "a3"),
    ],
)
def test_a_template_has_the_type_that_dbt_gives_it(template, value):
    rendered = JinjaRenderer({"number": 3, "list": [1, 2]}).render(template, where="here")
    assert rendered == value
    assert type(rendered) is type(value)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ nope }}", "'nope' is undefined"),
        ("{{ 'yes' | as_bool }}", "'yes' is not a truth value"),
        ("{{ 'x' | as_number }}", "'x' is not a number"),
        ("{{ 'true' | as_number }}", "'true' is not a number"),
        ("{{ ", "the Jinja can't be rendered"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_a_template_that_can_not_be_rendered_says_why(template, said):
    found = message(lambda: JinjaRenderer({}).render({"a": [template]}, where="here"))
    assert said in found.what
    assert found.where == "here -> a[0]"


def test_variables_of_the_command_line_win(root):
    assert load_project(root, vars="{folder: c}").connection["path"] == "c/shop.db"
    assert load_project(root, vars={"folder": "d"}).connection["path"] == "d/shop.db"


def test_no_secret_is_in_the_text_of_a_project(root, monkeypatch):
    monkeypatch.setenv("DBT_ENV_SECRET_PASSWORD", "hunter2")
    project = load_project(root, target="prod")
    assert project.connection["password"] == "hunter2"
    assert "hunter2" not in repr(project) + str(project.connection) + repr(project.config)
    assert repr(project.connection) == "<snowflake target prod: type, password, user>"


def test_a_password_that_looks_like_jinja_is_kept(root):
    (root / "profiles.yml").write_text("shop: {target: dev, outputs: {dev: {type: x, password: 'a{{b'}}}\n")
    assert load_project(root).connection["password"] == "a{{b"


def test_profiles_are_searched_as_dbt_does(root, tmp_path, monkeypatch):
    (root / "profiles.yml").unlink()
    home = Path.home() / ".dbt"
    home.mkdir()
    for folder, name in ((home, "home"), (tmp_path / "here", "here"), (tmp_path / "flag", "flag")):
        folder.mkdir(exist_ok=True)
        (folder / "profiles.yml").write_text(f"shop: {{outputs: {{default: {{type: {name}}}}}}}\n")
    assert load_project(root).connection["type"] == "home"
    monkeypatch.chdir(tmp_path / "here")
    assert load_project(root).connection["type"] == "here"
    monkeypatch.setenv("DBT_PROFILES_DIR", str(tmp_path / "flag"))
    assert load_project(root).connection["type"] == "flag"
    assert load_project(root, profiles_dir=home).connection["type"] == "home"


def test_no_profiles_file_matters_only_when_it_is_needed(root):
    (root / "profiles.yml").unlink()
    project = load_project(root)
    assert dict(project.config.entities) == {}
    found = message(lambda: project.connection)
    assert found.what == "there is no profiles.yml"
    assert "--profiles-dir" in found.fix


@pytest.mark.parametrize(
    ("options", "what", "fix"),
    [
        ({"target": "prd"}, "profile 'shop' has no target 'prd' (did you mean 'prod'?)", "broken, dev, prod"),
        ({"profile": "shp"}, "there is no profile 'shp' (did you mean 'shop'?)", "other, shop"),
        ({"profile": "other"}, "profile 'other' has no target 'default'", "choose one of"),
        ({"target": "broken"}, "target 'broken' has no type", "type: duckdb"),
        ({"target": "prod"}, "environment variable 'DBT_ENV_SECRET_PASSWORD' is not set", "give a default"),
    ],
)
def test_a_mistake_in_the_profile_is_explained(root, options, what, fix):
    found = message(lambda: load_project(root, **options).connection)
    assert found.what == what
    assert fix in found.fix


def test_a_missing_variable_is_named_with_the_nearest(root):
    (root / "dbt_project.yml").write_text("name: shop\nprofile: shop\nvars: {foldr: a}\n")
    found = message(lambda: load_project(root).connection)
    assert found.what == "var 'folder' is not set (did you mean 'foldr'?)"
    assert found.where == f"{root}/profiles.yml -> shop.outputs.dev.path"


def test_all_missing_variables_of_a_target_are_reported_at_once(root):
    (root / "profiles.yml").write_text(
        'shop: {outputs: {default: {type: x, a: "{{ env_var(\'A_\') }}", b: "{{ var(\'B_\') }}", c: "{{ 1 / 0 }}"}}}\n'
    )
    with pytest.raises(ConfigError) as error:
        _ = load_project(root).connection
    assert [problem.where.rpartition(".")[2] for problem in error.value.problems] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name: [", "dbt_project.yml is not YAML"),
        ("- a", "dbt_project.yml is not a mapping"),
        ("profile: x", "the project has no name"),
        ("", "the project has no name"),
    ],
)
def test_a_mistake_in_the_project_file_is_explained(root, text, what):
    (root / "dbt_project.yml").write_text(text)
    found = message(lambda: load_project(root))
    assert found.what.startswith(what)
    assert str(root / "dbt_project.yml") in found.where


def test_yaml_errors_name_line_and_column(root):
    (root / "featurelayer.yml").write_text("entities:\n  a: {{ x }}\n")
    found = message(lambda: load_project(root).config)
    assert "line 2" in found.where
    assert "quote" in found.fix


def test_a_file_that_is_not_text_is_explained(root):
    (root / "featurelayer.yml").write_bytes(b"\xff\xfe\xff")
    assert "it is not UTF-8" in message(lambda: load_project(root).config).what


def test_no_project_is_explained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "home")
    assert message(lambda: load_project(tmp_path)).what == "there is no dbt_project.yml"
    assert "--project-dir" in message(load_project).fix


def test_vars_that_are_no_mapping_are_explained(root):
    assert message(lambda: load_project(root, vars="3")).what == "--vars is not a YAML mapping"


# The online store


def test_without_a_file_the_store_is_sqlite_in_the_project(root):
    assert dict(load_project(root).config.online_store) == {"type": "sqlite", "path": ".featurelayer/online.db"}


def test_the_store_of_the_target_is_rendered_when_it_is_asked_for(root, monkeypatch):
    (root / "featurelayer.yml").write_text(
        "entities: {plane: {keys: {tailnum: varchar}}}\n"
        "online_store:\n"
        "  dev: {type: dynamodb, table: 'f-{{ target.name }}-{{ target.type }}', url: \"{{ env_var('END') }}\"}\n"
        "  prod: {type: memory}\n"
    )
    project = load_project(root)
    assert list(project.config.entities) == ["plane"]
    assert message(lambda: project.config.online_store).what == "environment variable 'END' is not set"
    monkeypatch.setenv("END", "x")
    assert dict(project.config.online_store) == {
        "type": "dynamodb",
        "table": "f-dev-duckdb",
        "url": "x",
    }
    assert dict(load_project(root, target="prod").config.online_store) == {"type": "memory"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("entities: {}\n", "no online store is configured for target 'dev'"),
        ("", "no online store is configured for target 'dev'"),
        (
            "online_store: {dve: {type: sqlite}}\n",
            "no online store is configured for target 'dev' (did you mean 'dve'?)",
        ),
        ("online_store: {dev: sqlite}\n", "the online store has no type"),
        ("online_store: {dev: {path: x}}\n", "the online store has no type"),
    ],
)
def test_a_file_without_a_store_for_the_target_is_never_a_silent_local_store(root, text, what):
    (root / "featurelayer.yml").write_text(text)
    project = load_project(root)
    _ = project.config.entities
    found = message(lambda: project.config.online_store)
    assert found.what == what
    assert "featurelayer.yml" in found.where


def test_target_in_jinja_works_without_a_connection(root):
    (root / "profiles.yml").unlink()
    (root / "featurelayer.yml").write_text("online_store: {ci: {type: sqlite, path: '{{ target.name }}.db'}}\n")
    assert load_project(root, target="ci").config.online_store["path"] == "ci.db"


def test_an_unknown_attribute_of_target_is_explained(root):
    (root / "featurelayer.yml").write_text("online_store: {dev: {type: sqlite, path: '{{ target.nope }}'}}\n")
    found = message(lambda: load_project(root).config.online_store)
    assert "nope" in found.what
    assert found.where.endswith("featurelayer.yml -> online_store.dev.path")


def test_a_profile_without_outputs_is_explained(root):
    (root / "profiles.yml").write_text("shop: {target: dev}\n")
    assert message(lambda: load_project(root).connection).what == "profile 'shop' has no outputs"


def test_a_project_without_a_profile_is_explained_when_it_is_needed(root):
    (root / "dbt_project.yml").write_text("name: shop\n")
    found = message(lambda: load_project(root).connection)
    assert found.what == "no profile is named"
    assert "--profile" in found.fix
    assert load_project(root, profile="shop", vars="{folder: x}").connection["type"] == "duckdb"


def test_entities_that_are_no_mapping_are_explained(root):
    (root / "featurelayer.yml").write_text("entities: [plane]\n")
    assert message(lambda: load_project(root).config.entities).what == "`entities` is not a mapping"


@pytest.mark.parametrize("given", ["{a: [", "a: b: c"])
def test_vars_that_are_no_yaml_are_explained(root, given):
    assert message(lambda: load_project(root, vars=given)).what == "--vars is not a YAML mapping"


def test_empty_vars_are_no_vars(root):
    assert load_project(root, vars="").connection["path"] == "b/shop.db"


def test_a_variable_may_have_a_default_and_the_profile_a_name(root):
    (root / "featurelayer.yml").write_text(
        "online_store: {dev: {type: sqlite, path: \"{{ var('nope', target.profile_name) }}.db\"}}\n"
    )
    store = load_project(root).config.online_store
    assert store["path"] == "shop.db"
    assert len(store) == 2


SCHEMALESS = """
shop:
  target: dev
  outputs:
    dev: {type: duckdb, path: files/shop.duckdb}
    snow: {type: snowflake, database: d}
"""


def target_says(root, template, target="dev"):
    (root / "profiles.yml").write_text(SCHEMALESS)
    (root / "featurelayer.yml").write_text(f'online_store: {{{target}: {{type: dynamodb, table: "{template}"}}}}\n')
    return load_project(root, target=target).config.online_store["table"]


def test_a_target_has_the_schema_and_database_that_dbt_gives_it(root):
    assert target_says(root, "f-{{ target.schema }}-{{ target.database }}-{{ target['dbname'] }}") == "f-main-shop-shop"
    assert target_says(root, "f-{{ target.schema | default('x') }}", "snow") == "f-x"
    assert target_says(root, "f-{{ 'y' if target.schema is defined else 'n' }}", "snow") == "f-n"


@pytest.mark.parametrize("template", ["{{ target.schema }}", "{{ target['schema'] }}", "{{ target.schema ~ 'x' }}"])
def test_what_a_target_does_not_have_is_said_in_words_of_profiles_yml(root, template):
    found = message(lambda: target_says(root, template, "snow"))
    assert found.what == "target 'snow' of profile 'shop' has no 'schema'"
    assert found.fix == "add `schema:` to the target in profiles.yml, or correct the name"
    assert found.where.endswith("online_store.snow.table")


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{{ envvar('X') }}", "'envvar' is undefined (did you mean 'env_var'?)"),
        ("{{ targt.name }}", "'targt' is undefined (did you mean 'target'?)"),
        ("{{ target.settings.zone }}", "target 'snow' of profile 'shop' has no 'settings'"),
        ("{{ {'a': 1}.b }}", "the value has no 'b'"),
    ],
)
def test_no_class_of_ours_is_named_in_a_message(root, template, what):
    assert message(lambda: target_says(root, template, "snow")).what == what
