"""Every true leak of the corpus is found, by the checks that it names; honest SQL raises no alarm."""

from __future__ import annotations

import pytest

from tests.leakage_corpus import Case, judged, lint_case, read_cases

LEAKS, INNOCENT = read_cases("leaks"), read_cases("innocent")


@pytest.mark.parametrize("case", LEAKS, ids=lambda case: case.name)
def test_a_leak_is_found_once(tmp_path, case: Case):
    found = lint_case(case, tmp_path).findings
    assert sorted(each.code for each in found) == sorted(case.found), "\n".join(each.message for each in found)
    for each in found:
        assert not each.file.endswith(".sql") or each.line, f"{each.message}: at no line"


@pytest.mark.parametrize("case", INNOCENT, ids=lambda case: case.name)
def test_honest_sql_raises_no_alarm(case: Case):
    assert [f"{each.code} {each.message}" for each in judged(case)] == []


def test_the_corpus_is_large_and_has_every_dialect():
    assert len(LEAKS) >= 40
    assert len(INNOCENT) >= 60
    for cases in (LEAKS, INNOCENT):
        assert len({case.name for case in cases}) == len(cases)
        assert {case.dialect for case in cases} == {"duckdb", "postgres", "snowflake", "bigquery"}
