"""Errors say what, where and how to fix it, all problems at once."""

import inspect
import json
import re
from pathlib import Path

import pytest

from featurelayer import errors
from featurelayer.cli.console import Console
from featurelayer.errors import (
    CodecError,
    FeatureLayerError,
    LabelError,
    MetadataError,
    MissingDependency,
    OnlineStoreError,
    PlanError,
    Problem,
    StoreNotFound,
    UnknownNameError,
    WarehouseError,
    did_you_mean,
)


def test_every_error_is_in_the_tree_and_in_the_drawing():
    for name, error in inspect.getmembers(errors, inspect.isclass):
        if issubclass(error, Exception) and error.__module__ == errors.__name__:
            assert issubclass(error, FeatureLayerError)
            assert name in (errors.__doc__ or "") or name == "ProblemsError"


def test_a_problem_says_what_where_and_how_to_fix_it():
    problem = Problem(what="it is wrong", where="a.yml -> x", fix="correct it", code="FL102")
    assert str(problem) == "it is wrong\n  at   a.yml -> x\n  fix  correct it (check FL102)"
    assert str(Problem(what="it is wrong")) == "it is wrong"


def test_all_problems_are_in_the_message():
    error = MetadataError([Problem(what="one"), "two"])
    assert str(error) == "2 problems\none\ntwo"
    assert str(MetadataError(["one"])) == "one"


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("plan", ["plane", "carrier"], " (did you mean 'plane'?)"),
        ("PLANE", ["plane"], " (did you mean 'plane'?)"),
        ("zzz", ["plane"], ""),
        ("x", [], ""),
    ],
)
def test_the_nearest_name_is_suggested_and_no_far_one(name, known, said):
    assert did_you_mean(name, known) == said


def test_an_unknown_name_suggests_and_places():
    error = UnknownNameError("view", "leg", ["legs"], where="a.yml")
    assert str(error) == "there is no view 'leg' (did you mean 'legs'?)\n  at   a.yml"


def test_a_missing_package_names_the_extra():
    assert "pip install 'dbt-featurelayer[cli]'" in str(MissingDependency("click", "cli"))


@pytest.mark.parametrize(
    ("said", "python"),
    [
        ("pass --label-timestamp COLUMN, or set it", "pass label_timestamp=COLUMN, or set it"),
        ("say which one it is with --key tailnum=COLUMN", "say which one it is with keys={'tailnum': 'COLUMN'}"),
        ("pass the labels of that build with --labels", "pass the labels of that build with labels"),
        ("rebuild the set without --append", "rebuild the set without append=True"),
        ("write it with --output PATH.parquet", "write it with to_parquet(PATH.parquet)"),
        ("with --profiles-dir or DBT_ENGINE_PROFILES_DIR", "with profiles_dir or DBT_ENGINE_PROFILES_DIR"),
        ("run `featurelayer export --full`", "run `featurelayer export --full`"),
        ("run featurelayer export without --bulk", "run featurelayer export without --bulk"),
        (
            "run dbt parse --vars '{a: 1}', or pass --assume-target",
            "run dbt parse --vars '{a: 1}', or pass assume_target=True",
        ),
        ("5 -- 3 is not --an option", "5 -- 3 is not an option"),
    ],
)
def test_a_message_has_the_words_of_whoever_called(said: str, python: str, capsys: pytest.CaptureFixture[str]) -> None:
    for error in (PlanError([Problem(what="w", fix=said)]), LabelError([said]), StoreNotFound(said)):
        assert python in str(error)
        assert said in error.message
        Console().failure(error)
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("kind", [PlanError, WarehouseError, OnlineStoreError, StoreNotFound, CodecError])
def test_every_error_carries_its_problems(kind: type[FeatureLayerError]) -> None:
    error = kind("it is wrong", where="a.yml -> x", fix="correct it with --full")
    assert error.problems == (Problem(what="it is wrong", where="a.yml -> x", fix="correct it with --full"),)
    assert error.summary == "it is wrong"
    assert error.message == "it is wrong\n  at   a.yml -> x\n  fix  correct it with --full"
    assert str(error).endswith("correct it with full=True")
    assert kind([Problem(what="one"), "two"]).message == "2 problems\none\ntwo"


def test_a_log_in_json_has_the_parts_of_every_error(capsys: pytest.CaptureFixture[str]) -> None:
    Console(as_json=True).failure(StoreNotFound("no store", where="there", fix="make it"))
    line = json.loads(capsys.readouterr().err)
    assert {key: line[key] for key in ("level", "message", "where", "fix")} == {
        "level": "error", "message": "no store", "where": "there", "fix": "make it",
    }  # fmt: skip


def test_no_message_is_put_together_by_hand() -> None:
    """`Problem` alone knows how what, where and fix become text; nothing takes that text apart."""
    package = Path(errors.__file__).parent
    found = [
        f"{path.relative_to(package)}: {line.strip()}"
        for path in package.rglob("*.py")
        if path.name != "errors.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\\n  (at|fix) |[\"']  (at|fix)  ", line) and "change.fix" not in line and "found.fix" not in line
    ]
    assert found == []
