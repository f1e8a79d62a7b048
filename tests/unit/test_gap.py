"""The page of the leakage gap: every share that the report has, the worst first, and nothing else that is HTML."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from featurelayer.cli import main
from featurelayer.errors import ConfigError, PlanError
from featurelayer.sql.plan import Mode
from featurelayer.training import FeatureReport, Report, ViewReport
from featurelayer.training.leakage_report import render_leakage_report, write_leakage_report
from featurelayer.training.modes import ModeComparison, ModeComparisons

HOSTILE = "legs__<script>|x"


def report(shares: dict[str, float], unavailable: tuple[str, ...] = ()) -> Report:
    features = tuple(FeatureReport(name=name, null=0, missing=0, expired=0, default=0) for name in shares)
    half = {name: share / 2 for name, share in shares.items()}
    pairs = (
        ModeComparison(one=Mode.KNOWN_AT, other=Mode.EVENT_TIME, shares=shares),
        ModeComparison(one=Mode.KNOWN_AT, other=Mode.AS_SERVED, shares=half),
    )
    view = ViewReport(name="legs", view="legs", matched=1, missing=0, expired=0, ties=0, unusable_rows=0, age=None)
    modes = ModeComparisons(pairs=pairs, unavailable=unavailable)
    return Report(rows=1000, mode="known_at", seconds=1, views=(view,), features=features, modes=modes)


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags, self.text = list[str](), list[str]()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data.strip())


def test_markdown_has_every_share_the_worst_first():
    page = render_leakage_report(report({"legs__a": 0.0124, "legs__b": 0.5, "legs__c": 0.0}), ".md", "late")
    assert page.startswith("# Leakage gap: late\n")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == ["| `legs__b` | 50.00% | 25.00% |", "| `legs__a` | 1.24% | 0.62% |", "| `legs__c` | 0.00% | 0.00% |"]
    assert "legs: up to 50.0% of its values would come from rows that were not known yet." in page
    assert "featurelayer show legs --lateness" in page
    assert "legs: up to 25.0% of its values were known and not served yet." in page


def test_little_is_not_worth_a_sentence_and_what_is_not_compared_is_said():
    page = render_leakage_report(report({"legs__a": 0.009}, ("mode as_served is not compared: why",)), ".md")
    assert "up to" not in page
    assert "mode as_served is not compared: why" in page


def test_html_shows_names_as_text():
    page = render_leakage_report(report({HOSTILE: 0.25}), ".html", "<b>late")
    cells = Cells()
    cells.feed(page)
    assert "script" not in cells.tags
    assert "b" not in cells.tags
    assert {HOSTILE, "25.00%", "12.50%", "Leakage gap: <b>late"} <= set(cells.text)
    assert cells.tags.count("meter") == 2
    assert "legs__<script>\\|x" in render_leakage_report(report({HOSTILE: 0.25}), ".md")


def test_a_build_that_did_not_compare_has_no_page(tmp_path: Path):
    with pytest.raises(PlanError, match="were not compared"):
        render_leakage_report(replace(report({}), modes=None), ".md")
    with pytest.raises(ConfigError, match="can't be written"):
        write_leakage_report(report({}), tmp_path / "missing" / "gap.md")


def test_the_command_takes_no_other_kind_of_file(capsys):
    assert main(["build-training-set", "--service", "s", "--gap-page", "gap.pdf"]) == 2
    assert "must end in .md or .html" in capsys.readouterr().err
