"""Values as JSON in DuckDB's SQL, exactly as the online store's codec writes them.

DuckDB prints doubles so that they read back bit for bit, and escapes text as JSON asks. It prints NaN and infinities as
words of its own, and a few control characters with capital digits, where the codec has small ones: no difference for a
reader of values, but keys are compared as text.
"""

from __future__ import annotations

from sqlglot import exp

from featurelayer.model import DType, Kind
from featurelayer.sql.ast import call
from featurelayer.sql.dialects._json import UNSTORABLE, check_time_range

_TEXT = exp.DataType.Type.VARCHAR
_ELEMENT = "v"
# Control characters that DuckDB escapes with a letter among the digits.
_SHOUTED = (0x0B, 0x0E, 0x0F, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F)


def json_text(value: exp.Expression, dtype: DType, *, key: bool) -> exp.Expression | None:
    """Return the JSON text of a value, `null` for NULL; None if the codec's Python must write it."""
    text = _key(value, dtype) if key else _value(value, dtype)
    return None if text is None else exp.Coalesce(this=text, expressions=[exp.Literal.string("null")])


def _value(value: exp.Expression, dtype: DType) -> exp.Expression | None:
    match dtype.kind:
        case Kind.BOOL | Kind.INT | Kind.UINT:
            return _text(value)
        case Kind.FLOAT:
            return _float(value)
        case Kind.DECIMAL | Kind.UUID:
            return _quote(_text(value))
        case Kind.TEXT | Kind.JSON:
            return _text(call("TO_JSON", _text(value)))
        case Kind.BYTES:
            return _quote(call("TO_BASE64", value))
        case Kind.DATE:
            return _quote(_text(_check_range(value, exp.DataType.build("DATE"))))
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return _microseconds(value, dtype)
        case Kind.ARRAY:
            return _array(value, dtype)
    return None


def _key(value: exp.Expression, dtype: DType) -> exp.Expression | None:
    if dtype.kind is Kind.DECIMAL:
        return _quote(_strip_zeros(value) if dtype.scale else _text(value))
    if dtype.kind is Kind.TEXT:
        return _escape(value)
    return _value(value, dtype) if dtype.is_key else None


def _text(value: exp.Expression) -> exp.Expression:
    return exp.Cast(this=value.copy(), to=exp.DataType(this=_TEXT))


def _quote(text: exp.Expression) -> exp.Expression:
    quote = exp.Literal.string('"')
    return exp.DPipe(this=exp.DPipe(this=quote, expression=text), expression=quote.copy())


def _float(value: exp.Expression) -> exp.Expression:
    """Write a FLOAT as the equal double, so that it reads back as the same FLOAT."""
    double = exp.Cast(this=value.copy(), to=exp.DataType.build("DOUBLE"))
    case = exp.Case().when(call("ISFINITE", value.copy()), _text(double))
    case = case.when(call("ISNAN", value.copy()), exp.Literal.string('"NaN"'))
    case = case.when(exp.GT(this=value.copy(), expression=exp.Literal.number(0)), exp.Literal.string('"Infinity"'))
    return case.when(exp.LT(this=value.copy(), expression=exp.Literal.number(0)), exp.Literal.string('"-Infinity"'))


def _check_range(value: exp.Expression, kind: exp.DataType) -> exp.Expression:
    message = exp.Literal.string(f"a time {UNSTORABLE}")
    return check_time_range(value, kind, exp.Cast(this=call("ERROR", message), to=kind.copy()))


def _microseconds(value: exp.Expression, dtype: DType) -> exp.Expression:
    kind = exp.DataType.build("TIMESTAMPTZ" if dtype.kind is Kind.TIMESTAMPTZ else "TIMESTAMP", dialect="duckdb")
    return _text(call("EPOCH_US", _check_range(value, kind)))


def _array(value: exp.Expression, dtype: DType) -> exp.Expression | None:
    assert dtype.element is not None, "an array has an element"
    element = json_text(exp.column(_ELEMENT, quoted=True), dtype.element, key=False)
    if element is None or dtype.element.kind is Kind.ARRAY:
        return None
    to_json = exp.Lambda(this=element, expressions=[exp.to_identifier(_ELEMENT, quoted=True)])
    joined = call("ARRAY_TO_STRING", call("LIST_TRANSFORM", value.copy(), to_json), exp.Literal.string(","))
    opened = exp.DPipe(this=exp.Literal.string("["), expression=joined)
    return exp.DPipe(this=opened, expression=exp.Literal.string("]"))


def _strip_zeros(value: exp.Expression) -> exp.Expression:
    """Strip a decimal's trailing zeros: `1.50` is the same key as `1.5`."""
    return call("RTRIM", call("RTRIM", _text(value), exp.Literal.string("0")), exp.Literal.string("."))


def _escape(value: exp.Expression) -> exp.Expression:
    """Escape text with lower-case digits; only texts that hold such a character take the slow path."""
    plain = _text(call("TO_JSON", _text(value)))
    marks = "".join(f"\\x{code:02x}" for code in _SHOUTED)
    rare = call("REGEXP_MATCHES", _text(value), exp.Literal.string(f"[{marks}]"))
    character = exp.column(_ELEMENT, quoted=True)
    escape = call("FORMAT", exp.Literal.string("\\u{:04x}"), call("ASCII", character.copy()))
    inner = call("TO_JSON", character.copy())
    escaped = (
        exp.Case()
        .when(call("REGEXP_MATCHES", character.copy(), exp.Literal.string(f"[{marks}]")), escape)
        .else_(call("ARRAY_SLICE", _text(inner), exp.Literal.number(2), exp.Literal.number(-2)))
    )
    escape_one = exp.Lambda(this=escaped, expressions=[exp.to_identifier(_ELEMENT, quoted=True)])
    characters = call("STRING_SPLIT", _text(value), exp.Literal.string(""))
    slow = _quote(call("ARRAY_TO_STRING", call("LIST_TRANSFORM", characters, escape_one), exp.Literal.string("")))
    return exp.Case().when(rare, slow).else_(plain)
