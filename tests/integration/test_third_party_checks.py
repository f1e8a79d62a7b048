"""A lint check of another package: installed, found by its entry point, and treated like our own."""

from __future__ import annotations

import json
import re

import pytest

from tests.docs.pages import REPOSITORY, blocks
from tests.plugins import build_plugin, run_featurelayer
from tests.unit.linting import asked_tests, view, write

pytestmark = pytest.mark.slow
GROUP = "featurelayer.lint_checks"


def example() -> str:
    """The check that docs/lint.md shows."""
    (text,) = [
        block.text
        for block in blocks(REPOSITORY / "docs" / "lint.md")
        if block.language == "python" and "@check(" in block.text
    ]
    return text


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    entry_points = {GROUP: {"acme": "acme_lint.checks"}}
    return build_plugin(tmp_path_factory.mktemp("plugins"), "acme-lint", {"checks.py": example()}, entry_points)


@pytest.fixture
def project(tmp_path):
    """A project in which only the third-party check finds something."""

    def make(**more):
        settings = more.pop("settings", None)
        write(tmp_path, view(**more), *asked_tests(), settings=settings)
        return tmp_path

    return make


def lint(root, plugins, *arguments):
    done = run_featurelayer("lint", *arguments, plugins=plugins, cwd=root)
    assert "bug in featurelayer" not in done.stderr, done.stderr
    return done


def found(root, plugins, *arguments):
    done = lint(root, plugins, "--format", "json", *arguments)
    return [(each["code"], each["severity"], each["name"]) for each in json.loads(done.stdout)["findings"]]


def test_it_finds(project, plugins):
    assert found(project(ttl="40 days"), plugins) == [("ACME001", "warning", "legs")]


def test_it_finds_nothing_where_nothing_is_wrong(project, plugins):
    assert found(project(), plugins) == []


def test_it_is_explained(project, plugins):
    done = lint(project(), plugins, "--explain", "ACME001")
    assert done.stdout.startswith("ACME001 (warning): ")
    assert "acme-lint" in done.stdout


@pytest.mark.parametrize(
    ("checks", "count"), [("ACME", 1), ("ACME0", 1), ("ACME001", 1), ("FL", 0), ("FL2,ACME001", 1)]
)
def test_it_is_selected_by_code_and_family(checks, count, project, plugins):
    assert len(found(project(ttl="40 days"), plugins, "--checks", checks)) == count


def test_a_misspelt_code_lists_it(project, plugins):
    done = lint(project(), plugins, "--checks", "ACME002")
    assert done.returncode == 2
    assert "did you mean 'ACME001'?" in done.stderr


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"disabled": ["ACME001"]}, []),
        ({"disabled": ["ACME"]}, []),
        ({"severity": {"ACME": "error"}}, [("ACME001", "error", "legs")]),
    ],
)
def test_featurelayer_yml_disables_and_grades_it(settings, expected, project, plugins):
    assert found(project(ttl="40 days", settings=settings), plugins) == expected


def test_a_view_ignores_it(project, plugins):
    ignore = [{"code": "ACME001", "reason": "kept for audits"}]
    done = lint(project(ttl="40 days", ignore=ignore), plugins, "--format", "sarif")
    (result,) = json.loads(done.stdout)["runs"][0]["results"]
    assert result["suppressions"] == [{"kind": "inSource", "justification": "kept for audits"}]


def test_the_entry_point_that_the_page_shows_is_the_one_that_is_read():
    page = (REPOSITORY / "docs" / "lint.md").read_text(encoding="utf-8")
    assert re.search(rf'\[project\.entry-points\."{re.escape(GROUP)}"\]\n\w+ = "acme_lint.checks"', page)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise RuntimeError('broken')", "can't be loaded: RuntimeError('broken')"),
        ("x = 1", "can't be loaded: there are none"),
        (example().replace("ACME001", "FL999"), "check code FL999 is reserved for featurelayer"),
        (example().replace("project.views", "project.no_such_thing"), "check ACME001 failed"),
    ],
)
def test_a_broken_package_is_not_our_bug(text, message, project, tmp_path_factory):
    plugins = build_plugin(
        tmp_path_factory.mktemp("broken"), "acme-lint", {"checks.py": text}, {GROUP: {"acme": "acme_lint.checks"}}
    )
    done = lint(project(), plugins)
    assert done.returncode == 1
    assert message in done.stderr
    assert "acme-lint" in done.stderr
