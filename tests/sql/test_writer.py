"""How SQL is laid out for a reader."""

from __future__ import annotations

import pytest
import sqlglot
from sqlglot import exp

from featurelayer.sql.ast import all_of, call, col, not_null, table, with_alias
from featurelayer.sql.dialects.duckdb import DuckDB


def ordered(*names: str) -> exp.Select:
    order = exp.Order(expressions=[exp.Ordered(this=col(name), desc=True, nulls_first=False) for name in names])
    window = exp.Window(this=call("ROW_NUMBER"), partition_by=[col("k")], order=order)
    return exp.select(with_alias(window, "rank")).from_(table("t"))


def test_a_window_ordered_by_many_columns_has_one_on_each_line() -> None:
    text = DuckDB().sql(ordered("a", "b", "c", "d"))
    assert text == (
        'SELECT\n  ROW_NUMBER() OVER (\n    PARTITION BY "k"\n    ORDER BY\n'
        '      "a" DESC NULLS LAST,\n      "b" DESC NULLS LAST,\n      "c" DESC NULLS LAST,\n'
        '      "d" DESC NULLS LAST\n  ) AS "rank"\nFROM "t"'
    )
    assert sqlglot.parse_one(text, dialect="duckdb") == sqlglot.parse_one(
        ordered("a", "b", "c", "d").sql(dialect="duckdb"), dialect="duckdb"
    )
    assert 'ORDER BY "a" DESC NULLS LAST, "b" DESC NULLS LAST' in DuckDB().sql(ordered("a", "b"))


def test_only_our_own_sql_is_laid_out_so() -> None:
    DuckDB().sql(ordered("a"))
    assert "ORDER BY\n" not in ordered("a", "b", "c", "d").sql(dialect="duckdb", pretty=True)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (with_alias(col("a", "t"), "a"), '"t"."a"'),
        (with_alias(col("a", "t"), "A"), '"t"."a" AS "A"'),
        (
            all_of(all_of(not_null(col("a")), not_null(col("b"))), col("c")),
            '"a" IS NOT NULL AND "b" IS NOT NULL AND "c"',
        ),
        (all_of(exp.or_(col("a"), col("b")), col("c")), '( "a" OR "b" ) AND "c"'),
    ],
)
def test_no_needless_names_and_brackets(expression: exp.Expression, text: str) -> None:
    assert " ".join(DuckDB().sql(expression).split()) == text
