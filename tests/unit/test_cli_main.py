"""The command line: found lazily, quick, and every failure is a message with the right exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from featurelayer import __version__
from featurelayer.cli import cli, main, options
from featurelayer.errors import ConfigError, MetadataError, Problem
from tests.unit.dbt_projects import manifest, model, project

REPOSITORY = Path(__file__).parents[2]


def run(*arguments, cwd=REPOSITORY, **more):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **more.pop("env", {})}
    command = [sys.executable, "-m", "featurelayer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False, **more)


@pytest.fixture
def broken(monkeypatch):
    """Make `featurelayer schema` raise what a test wants."""

    def arrange(error):
        @click.command()
        def command():
            raise error

        import featurelayer.cli.schema as module

        monkeypatch.setattr(module, "command", command)

    return arrange


def test_help_lists_every_command_with_a_line(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for path in (REPOSITORY / "featurelayer" / "cli").glob("*.py"):
        if "\ndef command(" in path.read_text():
            line = next(line for line in out.splitlines() if line.split()[:1] == [path.stem.replace("_", "-")])
            assert len(line.split()) > 2, f"{path.name} has no docstring"


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_every_command_has_help(name, capsys):
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: featurelayer {name}")


def test_help_imports_no_command_and_nothing_heavy():
    code = (
        "import sys; from featurelayer.cli import main; main(['--help']); "
        "print([name for name in ('rich', 'pydantic', 'sqlglot', 'duckdb', 'pyarrow', 'jinja2', 'yaml', 'msgspec', "
        "'boto3', 'featurelayer.cli.list', 'featurelayer.dbt') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"featurelayer {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lst"], "No such command 'lst' (did you mean 'list'?)."),
        (["list", "--fromat", "json"], "--format"),
        (["list", "--format", "jsn"], "'table', 'json'"),
        (["list", "vews"], "'views'"),
        (["show"], "Missing argument 'NAME'"),
        (["--nope"], "No such option"),
    ],
)
def test_a_wrong_call_is_2_with_a_suggestion(arguments, said, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert "Usage: featurelayer" in captured.err
    assert "Traceback" not in captured.err


def test_no_command_at_all_shows_the_help(capsys):
    assert main([]) == 2
    captured = capsys.readouterr()
    assert "Commands:" in captured.err + captured.out


def test_a_handled_failure_is_1_and_its_message(broken, capsys):
    broken(ConfigError([Problem(what="it is wrong", where="a.yml", fix="Correct it.")]))
    assert main(["schema"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "Error: it is wrong\n  at   a.yml\n  fix  Correct it.\n"
    assert captured.out == ""


def test_a_bug_is_2_with_one_line_and_a_log(broken, capsys):
    broken(RuntimeError("boom\nsecond line"))
    assert main(["schema"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: this is a bug in featurelayer, please report it: RuntimeError: boom (traceback: ")
    log = Path(line.rpartition("traceback: ")[2].rstrip(")"))
    assert "RuntimeError: boom" in log.read_text()
    log.unlink()


def test_the_log_of_a_bug_names_no_value_of_an_option(broken, capsys):
    broken(RuntimeError("boom"))
    assert main(["--", "schema"]) == 2
    log = Path(capsys.readouterr().err.rpartition("traceback: ")[2].strip().rstrip(")"))
    assert "command schema" in log.read_text()
    log.unlink()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_is_1_without_a_traceback(broken, capsys, error):
    broken(error)
    assert main(["schema"]) == 1
    assert capsys.readouterr().err.strip() == "Error: interrupted"


def test_json_gives_one_object_per_problem(tmp_path, capsys):
    found = project(tmp_path, manifest(model("a", ttl="soon"), model("b", entity="plan")))
    assert main(["list", "--project-dir", str(found.root), "--log-format", "json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["level"] for line in lines[:2]] == ["error", "error"]
    assert lines[0]["message"].startswith("a: 'ttl': 'soon'")
    assert lines[0]["where"].endswith("config.meta.featurelayer.ttl")
    assert {"fix", "code", "time"} <= lines[0].keys()


@pytest.mark.parametrize("arguments", [["list", "--nope", "--log-format", "json"], ["list", "--log-format=json", "x"]])
def test_even_a_wrong_call_is_json_where_json_was_asked_for(arguments, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["level"] == "error"


def test_the_log_format_of_dbts_environment_counts(monkeypatch, capsys):
    monkeypatch.setenv("DBT_LOG_FORMAT", "json")
    assert main(["lst"]) == 2
    assert json.loads(capsys.readouterr().err)["message"].startswith("No such command")


def test_warnings_go_to_stderr_and_quiet_silences_them(tmp_path, capsys):
    found = project(tmp_path, manifest(model()))
    os.utime(found.target_path / "manifest.json", (1, 1))
    assert main(["list", "--project-dir", str(found.root)]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("Warning: manifest.json is older than dbt_project.yml")
    assert "legs.arr_delay" in captured.out
    assert main(["list", "--project-dir", str(found.root), "-q"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arguments", [["-q", "list"], ["--quiet", "--log-format", "json", "list"]])
def test_quiet_and_log_format_may_stand_before_the_command_as_in_dbt(arguments, tmp_path, capsys):
    found = project(tmp_path, manifest(model()))
    os.utime(found.target_path / "manifest.json", (1, 1))
    assert main([*arguments, "--project-dir", str(found.root)]) == 0
    assert capsys.readouterr().err == ""


def test_dbt_is_never_imported(tmp_path):
    found = project(tmp_path, manifest(model()))
    code = (
        "import sys; from featurelayer.dbt import load_project, load_registry; "
        f"load_registry(load_project({str(found.root)!r})); print('dbt' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert result.stdout == "False\n"


def test_a_reader_that_goes_away_makes_no_noise(tmp_path):
    columns = {f"f{index}": {"data_type": "double", "config": {}} for index in range(5000)}
    found = project(tmp_path, manifest(model(columns=columns)))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    script = f"{sys.executable} -m featurelayer list --project-dir {found.root} | head -n 1"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert result.stderr == ""
    assert result.stdout.startswith("FEATURE")


def test_without_the_extra_the_command_says_what_to_install(tmp_path):
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError(\"No module named 'click'\", name='click')\n")
    result = run("list", env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"})
    assert result.returncode == 1
    assert result.stderr == "Error: click is not installed\n  fix  pip install 'dbt-featurelayer[cli]'\n"


def test_a_command_whose_package_is_missing_says_what_to_install(monkeypatch, capsys):
    import importlib

    def fail(name):
        raise ModuleNotFoundError("No module named 'duckdb'", name="duckdb")

    monkeypatch.setattr(importlib, "import_module", fail)
    assert main(["list"]) == 1
    assert "duckdb is not installed" in capsys.readouterr().err


def test_names_may_come_on_stdin(monkeypatch):
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("legs\n  facts legs\n\n"))
    assert options.parse_names(["a", "-", "a"]) == ["a", "legs", "facts"]
    assert options.parse_names([]) == []


def test_all_problems_are_shown_as_text(tmp_path, capsys):
    found = project(tmp_path, manifest(model("a", ttl="soon"), model("b", ttl="later")))
    assert main(["list", "--project-dir", str(found.root)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Error: 2 problems\n")
    assert "'soon'" in err
    assert "'later'" in err


def test_no_colour_where_there_is_no_terminal(broken, capsys):
    broken(MetadataError(["x"]))
    main(["schema"])
    assert "\x1b" not in capsys.readouterr().err


def test_the_command_works_from_the_shell(tmp_path):
    result = run("list", "--project-dir", str(tmp_path))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: there is no dbt_project.yml\n")


@pytest.mark.parametrize(("services", "said"), [((), True), (("late",), False)])
def test_an_export_that_nobody_can_look_up_says_so(services, said, tmp_path, monkeypatch, capsys):
    from datetime import UTC, datetime

    from featurelayer.export import ExportReport
    from featurelayer.layer import FeatureLayer

    (tmp_path / "dbt_project.yml").write_text("name: shop\nprofile: shop\n")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    report = ExportReport(as_of=at, store="memory://x", views=(), services=services, usd=0.0)
    monkeypatch.setattr(FeatureLayer, "export", lambda *_args, **_more: report)
    assert main(["export", "--project-dir", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert ("Nothing can be looked up yet" in captured.err) is said
    assert f"services {', '.join(services) or 'none'}: memory://x" in captured.out


def test_a_key_that_is_given_twice_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lookup", "--service", "s", "--key", "a=1", "--key", "a=2"]) == 2
    assert "--key names 'a' twice" in capsys.readouterr().err
