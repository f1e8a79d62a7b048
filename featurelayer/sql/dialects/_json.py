"""The range of times that JSON of feature values can hold, for all engines."""

from __future__ import annotations

from sqlglot import exp

from featurelayer.sql.ast import all_of

UNSTORABLE = "before year 1 or after 9999 can't be stored; bound it in the model"
"""How refusals of times end; `encoding` finds them by it, to say whose time it is."""


def check_time_range(
    value: exp.Expression, kind: exp.DataType, refused: exp.Expression, *, last: str = "9999-12-31 23:59:59.999999"
) -> exp.Expression:
    """Return the value; a time that neither Python nor a JSON reader can hold ends the query with `refused`."""
    first, final = (exp.Cast(this=exp.Literal.string(text), to=kind.copy()) for text in ("0001-01-01", last))
    inside = all_of(exp.GTE(this=value.copy(), expression=first), exp.LTE(this=value.copy(), expression=final))
    return (
        exp.Case()
        .when(exp.Is(this=value.copy(), expression=exp.Null()), exp.Null())
        .when(inside, value.copy())
        .else_(refused)
    )
