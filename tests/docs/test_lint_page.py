"""The page on lint: its tables are those of the code, and its settings are ones that lint takes."""

from __future__ import annotations

import re

import pytest
import yaml

from featurelayer.errors import Problem
from featurelayer.lint import all_checks
from featurelayer.lint.docs_table import PAGE, update_page
from featurelayer.lint.settings import LintBlock, NamingBlock, read_settings
from tests import leakage_corpus
from tests.docs.pages import REPOSITORY, blocks, tables


def test_the_tables_of_checks_are_those_of_the_code():
    page = PAGE.read_text(encoding="utf-8")
    assert update_page(page) == page, "run `python -m featurelayer.lint.docs_table`"
    assert re.findall(r"^\| (FL\d\d\d)", page, flags=re.MULTILINE) == list(all_checks())


@pytest.mark.parametrize(("heading", "block"), [("Settings", LintBlock), ("Names", NamingBlock)])
def test_the_tables_of_settings_have_exactly_their_keys(heading, block):
    rows = next(tables(PAGE, heading))
    keys = [re.findall(r"`(\w+)`", next(iter(row.values())))[0] for row in rows]
    assert sorted(keys) == sorted(block.model_fields)


def test_the_settings_that_the_page_shows_are_taken():
    (shown,) = [
        document["lint"]
        for block in blocks(PAGE)
        if block.language == "yaml" and "lint" in (document := yaml.safe_load(block.text))
    ]
    problems: list[Problem] = []
    assert read_settings(shown, "featurelayer.yml", problems).naming.required == {"bool": ["is", "has", "was"]}
    assert problems == []


def test_the_hooks_that_the_page_names_are_there():
    offered = {hook["id"] for hook in yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text())}
    assert set(re.findall(r"- id: ([\w-]+)", PAGE.read_text(encoding="utf-8"))) <= offered


def test_the_tables_of_the_corpus_are_what_lint_finds_in_it():
    page = leakage_corpus.PAGE.read_text(encoding="utf-8")
    assert leakage_corpus.written(page) == page, "run `python -m tests.leakage_corpus`"
    counts = [
        int(cell) for row in re.findall(r"^\| all \|(.*)\|$", page, flags=re.MULTILINE) for cell in row.split("|")
    ]
    assert counts == [counts[0], counts[0], 0, counts[3], 0, 0], "leaks, found, missed; honest, errors, warnings"
