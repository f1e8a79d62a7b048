"""Values as JSON in PostgreSQL's SQL, exactly as the online store's codec writes them.

PostgreSQL prints doubles so that they read back bit for bit and escapes text as the codec does. It has no function that
ends a query with a message, so a refusal is a cast of the message to a number; the warehouse takes the message out.
"""

from __future__ import annotations

from sqlglot import exp

from featurelayer.model import DType, Kind
from featurelayer.sql.ast import call, col
from featurelayer.sql.dialects._json import UNSTORABLE, check_time_range

_ELEMENT, _PLACE = "v", "n"
REFUSED = "featurelayer: "
"""What a message starts with that a query of ours was ended with."""


def json_text(value: exp.Expression, dtype: DType, *, key: bool) -> exp.Expression | None:
    """Return the JSON text of a value, `null` for NULL; None if the codec's Python must write it."""
    encoded = _key(value, dtype) if key else _value(value, dtype)
    return None if encoded is None else exp.Coalesce(this=encoded, expressions=[exp.Literal.string("null")])


def text(value: exp.Expression) -> exp.Expression:
    """Cast a value to PostgreSQL's own text."""
    return exp.Cast(this=value.copy(), to=exp.DataType.build("TEXT"))


def refusal(message: exp.Expression, kind: exp.DataType) -> exp.Expression:
    """Return an expression of a type that ends the query with a message when it is evaluated.

    The message must depend on a column: a constant cast would fail when the query is planned.
    """
    marked = exp.DPipe(this=exp.Literal.string(REFUSED), expression=message)
    number = exp.Cast(this=exp.paren(marked, copy=False), to=exp.DataType.build("INT"))
    if kind.this is exp.DataType.Type.INT:
        return number
    return exp.Cast(this=text(number), to=kind.copy())


def _value(value: exp.Expression, dtype: DType) -> exp.Expression | None:
    match dtype.kind:
        case Kind.BOOL | Kind.INT | Kind.UINT:
            return text(value)
        case Kind.FLOAT:
            return _float(value)
        case Kind.DECIMAL:
            return _quote(text(_finite(value)))
        case Kind.UUID:
            return _quote(text(value))
        case Kind.TEXT | Kind.JSON:
            return text(call("TO_JSON", text(value)))
        case Kind.BYTES:
            lines = call("ENCODE", value.copy(), exp.Literal.string("base64"))
            return _quote(call("TRANSLATE", lines, _newline(), exp.Literal.string("")))
        case Kind.DATE:
            return _quote(text(_check_range(value, exp.DataType.build("DATE"))))
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return _microseconds(value, dtype)
        case Kind.ARRAY:
            return _array(value, dtype)
    return None


def _key(value: exp.Expression, dtype: DType) -> exp.Expression | None:
    if dtype.kind is Kind.DECIMAL:
        number = text(_finite(value))
        return _quote(_strip_zeros(number) if dtype.scale else number)
    return _value(value, dtype) if dtype.is_key else None


def _newline() -> exp.Expression:
    return call("CHR", exp.Literal.number(10))


def _quote(inner: exp.Expression) -> exp.Expression:
    quote = exp.Literal.string('"')
    return exp.paren(exp.DPipe(this=exp.DPipe(this=quote, expression=inner), expression=quote.copy()), copy=False)


def _float(value: exp.Expression) -> exp.Expression:
    """Write a REAL as the equal double, so that it reads back as the same REAL; whole numbers as floats."""
    double = exp.Cast(this=value.copy(), to=exp.DataType.build("DOUBLE"))
    number = text(double)

    def is_(word: str) -> exp.Expression:
        return exp.EQ(this=number.copy(), expression=exp.Literal.string(word))

    whole = exp.RegexpLike(this=number.copy(), expression=exp.Literal.string("^-?[0-9]+$"))
    special = (exp.Literal.string(word) for word in ("NaN", "Infinity", "-Infinity"))
    return (
        exp.Case()
        .when(exp.In(this=number.copy(), expressions=list(special)), _quote(number.copy()))
        .when(whole, exp.paren(exp.DPipe(this=number.copy(), expression=exp.Literal.string(".0")), copy=False))
        .else_(number.copy())
    )


def _finite(value: exp.Expression) -> exp.Expression:
    """Return a numeric; NaN and infinity end the query, because the store's decimals can't hold them."""
    words = [exp.Literal.string(word) for word in ("NaN", "Infinity", "-Infinity")]
    odd = exp.In(this=text(value), expressions=words)
    message = exp.DPipe(this=text(value), expression=exp.Literal.string(" is no decimal that can be stored"))
    kind = exp.DataType.build("DECIMAL")
    return exp.Case().when(odd, refusal(message, kind)).else_(value.copy())


def _check_range(value: exp.Expression, kind: exp.DataType) -> exp.Expression:
    # The literal comes first: `encoding` prefixes it with the view, column and key.
    shown = exp.DPipe(this=exp.Literal.string(f"a time {UNSTORABLE}"), expression=exp.Literal.string(": "))
    return check_time_range(value, kind, refusal(exp.DPipe(this=shown, expression=text(value)), kind))


def _microseconds(value: exp.Expression, dtype: DType) -> exp.Expression:
    kind = exp.DataType.build("TIMESTAMPTZ" if dtype.kind is Kind.TIMESTAMPTZ else "TIMESTAMP")
    seconds = exp.Extract(this=exp.var("EPOCH"), expression=_check_range(value, kind))
    micros = exp.Mul(this=seconds, expression=exp.Literal.number(1_000_000))
    return text(exp.Cast(this=exp.paren(micros, copy=False), to=exp.DataType.build("BIGINT")))


def _array(value: exp.Expression, dtype: DType) -> exp.Expression | None:
    """Write array elements in order, assuming one dimension: the type does not give the number."""
    assert dtype.element is not None, "an array has an element"
    element = json_text(col(_ELEMENT, "u"), dtype.element, key=False)
    if element is None or dtype.element.kind is Kind.ARRAY:
        return None
    unnested = exp.Unnest(
        expressions=[value.copy()],
        alias=exp.TableAlias(
            this=exp.to_identifier("u", quoted=True),
            columns=[exp.to_identifier(_ELEMENT, quoted=True)],
        ),
        offset=exp.to_identifier(_PLACE, quoted=True),
    )
    in_order = exp.Order(this=element, expressions=[exp.Ordered(this=col(_PLACE, "u"))])
    joined = exp.select(exp.GroupConcat(this=in_order, separator=exp.Literal.string(","))).from_(unnested).subquery()
    several = exp.GT(this=call("ARRAY_NDIMS", value.copy()), expression=exp.Literal.number(1))
    message = exp.DPipe(
        this=text(value), expression=exp.Literal.string(" is an array of arrays, which can't be stored")
    )
    listed = exp.Coalesce(this=joined, expressions=[exp.Literal.string("")])
    opened = exp.DPipe(this=exp.Literal.string("["), expression=listed)
    return (
        exp.Case()
        .when(exp.Is(this=value.copy(), expression=exp.Null()), exp.Null())
        .when(several, refusal(message, exp.DataType.build("TEXT")))
        .else_(exp.paren(exp.DPipe(this=opened, expression=exp.Literal.string("]")), copy=False))
    )


def _strip_zeros(number: exp.Expression) -> exp.Expression:
    """Strip a decimal's trailing zeros: `1.50` is the same key as `1.5`."""
    return call("RTRIM", call("RTRIM", number, exp.Literal.string("0")), exp.Literal.string("."))
