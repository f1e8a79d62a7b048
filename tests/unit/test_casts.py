"""The SQL that counts the values which their declared type does not hold."""

from __future__ import annotations

import pytest

from featurelayer.model import DType
from featurelayer.sql.ast import col
from featurelayer.sql.casts import is_lossy_cast
from featurelayer.sql.dialects import available, dialect

WORDS = ("TRY_CAST(", "SAFE_CAST(", "AS Nullable(", "ACCURATECASTORNULL(", "accurateCastOrNull(")


@pytest.mark.parametrize("name", available())
def test_a_value_that_does_not_fit_is_counted_and_fails_no_query(name: str) -> None:
    """sqlglot writes a plain CAST for Spark's TRY_CAST unless it is called safe: the check itself failed there."""
    writer = dialect(name)
    changes = is_lossy_cast(writer, col("x", "f"), DType.parse("int64"), DType.parse("int8"))
    sql = writer.sql(changes)
    if writer.has_try_cast:
        assert any(word in sql for word in WORDS), sql
    else:
        assert "BETWEEN" in sql, sql
        assert "AS TINYINT" not in sql, sql
        assert "AS SMALLINT" not in sql, sql


@pytest.mark.parametrize("name", [name for name in available() if not dialect(name).has_try_cast])
@pytest.mark.parametrize("stored", ["decimal(18,4)", "float64"])
def test_decimals_are_rounded_and_not_cut_first(name: str, stored: str) -> None:
    """DECIMAL without a size keeps decimals on PostgreSQL alone: elsewhere each value would count as not fitting."""
    writer = dialect(name)
    sql = writer.sql(is_lossy_cast(writer, col("x", "f"), DType.parse(stored), DType.parse("decimal(10,2)")))
    assert "ROUND(" in sql
    assert ("AS DECIMAL)" in sql) == (name == "postgres" and stored == "float64"), sql
