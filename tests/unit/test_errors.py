"""Errors say what, where and how to fix it, all problems at once."""

import inspect

import pytest

from featurelayer import errors
from featurelayer.errors import (
    FeatureLayerError,
    MetadataError,
    MissingDependency,
    Problem,
    UnknownNameError,
    did_you_mean,
)


def test_every_error_is_in_the_tree_and_in_the_drawing():
    for name, error in inspect.getmembers(errors, inspect.isclass):
        if issubclass(error, Exception) and error.__module__ == errors.__name__:
            assert issubclass(error, FeatureLayerError)
            assert name in (errors.__doc__ or "") or name == "ProblemsError"


def test_a_problem_says_what_where_and_how_to_fix_it():
    problem = Problem(what="it is wrong", where="a.yml -> x", fix="Correct it.", code="FL102")
    assert str(problem) == "it is wrong\n  at   a.yml -> x\n  fix  Correct it. Check FL102."
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
