"""Declared types against the warehouse's: which casts are exact, as SQL, and the query that proves it of every value.

A feature has its declared type, in training sets and online. Three things can be true of a column of another type:

- Every value of its type is a value of the declared one (`widens`): it is cast, and nothing is asked.
- Some values are (`convertible`): one query per view counts those that are not, and each is reported.
- None is, such as text declared as bytes: the view is refused.

A value survives a cast if the cast back gives the same value: DOUBLE 0.5 survives FLOAT, 0.1 does not; '7' survives
INTEGER, '007' does not. Engines that have no cast which can fail are asked about ranges and fractions instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlglot import exp

from featurelayer.errors import UnsupportedByDialect
from featurelayer.model import Column, DType, Kind
from featurelayer.sql.ast import all_of, any_of, call, col, parse_from_item, table, with_alias
from featurelayer.sql.join_rules import JoinRules
from featurelayer.sql.plan import RESERVED, AsofJoin, Misfit, TypeCheck
from featurelayer.sql.sql_builder import SqlBuilder

_EXAMPLES = 3
_TYPED = f"{RESERVED}typed"
_NUMBERS = (Kind.INT, Kind.UINT, Kind.FLOAT, Kind.DECIMAL)
_INSTANTS = (Kind.TIMESTAMP, Kind.TIMESTAMPTZ)
_FROM_TEXT = (Kind.BOOL, *_NUMBERS, Kind.DATE, *_INSTANTS, Kind.UUID, Kind.JSON)
# By bit width: the digits that hold every number, and the digits that always fit.
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 20, 128: 39}
_SAFE_DIGITS = {8: 2, 16: 4, 32: 9, 64: 18, 128: 38}
# Whole numbers and decimal digits that a float keeps.
_WIDEST = 128
_WHOLE_BITS = {32: 24, 64: 53}
_WIDE_BITS, _DOUBLE_DIGITS, _SEVEN = 64, 15, 7
_DOUBLE = DType(kind=Kind.FLOAT, bits=_WIDE_BITS)
_LARGEST_FLOAT, _LEAST_FLOAT = "3.4028234663852886E38", "1.401298464324817E-45"


def needs_cast(stored: Column, declared: DType) -> bool:
    """Whether a column's values must be cast to have the declared type; a type without a name in ours never is."""
    if stored.nanoseconds and declared.kind in _INSTANTS:
        return True
    return not _same(stored.dtype, declared)


def _same(stored: DType, declared: DType) -> bool:
    if stored.kind is Kind.UNKNOWN:  # an unsized numeric or a domain: castable to a number and to text
        return declared.kind not in (*_NUMBERS, Kind.TEXT)
    if declared.kind is Kind.UNKNOWN:
        return True
    if stored.kind is not declared.kind:
        return False
    if stored.kind in (Kind.STRUCT, Kind.MAP):  # the engine's catalog does not describe their contents
        return True
    if stored.kind is Kind.ARRAY and stored.element is not None and declared.element is not None:
        return _same(stored.element, declared.element)
    return stored == declared


def widens(stored: DType, declared: DType) -> bool:
    """Whether a cast keeps every value that a column of this type can hold."""
    match stored.kind, declared.kind:
        case Kind.ARRAY, Kind.ARRAY:
            one, other = stored.element, declared.element
            return one is not None and other is not None and (_same(one, other) or widens(one, other))
        case (Kind.INT, Kind.INT) | (Kind.UINT, Kind.UINT) | (Kind.FLOAT, Kind.FLOAT):
            return (stored.bits or 64) <= (declared.bits or 64)
        case Kind.UINT, Kind.INT:
            return (stored.bits or 64) < (declared.bits or 64)
        case ((Kind.INT | Kind.UINT), Kind.FLOAT):
            return (stored.bits or 64) <= _WHOLE_BITS[declared.bits or 64]
        case ((Kind.INT | Kind.UINT), Kind.DECIMAL):
            return _DIGITS[stored.bits or 64] <= (declared.precision or 0) - (declared.scale or 0)
        case Kind.DECIMAL, Kind.DECIMAL:
            whole, room = ((dtype.precision or 0) - (dtype.scale or 0) for dtype in (stored, declared))
            return whole <= room and (stored.scale or 0) <= (declared.scale or 0)
        case Kind.DECIMAL, Kind.INT:
            return not stored.scale and (stored.precision or 0) <= _SAFE_DIGITS[declared.bits or 64]
        case Kind.DECIMAL, Kind.FLOAT:
            digits = stored.precision or 99
            # A decimal's digits identify a double; a FLOAT prints other digits.
            return digits <= _DOUBLE_DIGITS if declared.bits == _WIDE_BITS else not stored.scale and digits <= _SEVEN
        case (Kind.TIMESTAMP, Kind.TIMESTAMPTZ) | (Kind.TIMESTAMPTZ, Kind.TIMESTAMP):
            return True
        case ((Kind.INT | Kind.UINT | Kind.UUID | Kind.JSON | Kind.UNKNOWN), Kind.TEXT):
            return True
    return False


def can_convert(stored: DType, declared: DType) -> bool:
    """Whether a cast can keep a value at all: between numbers, between times, and between text and what it spells."""
    if widens(stored, declared):
        return True
    one, other = stored.kind, declared.kind
    if one is Kind.ARRAY and other is Kind.ARRAY:
        inner, wanted = stored.element, declared.element
        if inner is None or wanted is None or inner.kind not in _NUMBERS or wanted.kind not in _NUMBERS:
            return False
        return inner.kind is not Kind.DECIMAL or wanted.kind is not Kind.FLOAT or wanted.bits == _WIDE_BITS
    times = (Kind.DATE, *_INSTANTS)
    return any(
        one in ones and other in others
        for ones, others in (
            ((*_NUMBERS, Kind.UNKNOWN), _NUMBERS),
            (times, times),
            ((Kind.TEXT,), _FROM_TEXT),
            ((Kind.BOOL,), _NUMBERS),
            (_NUMBERS, (Kind.BOOL,)),
        )
    )


def can_convert_by_range(stored: DType, declared: DType) -> bool:
    """Same as `can_convert`, without TRY_CAST: no text except true and false, and no arrays of numbers."""
    if stored.kind is Kind.TEXT:
        return declared.kind is Kind.BOOL
    return widens(stored, declared) or (
        can_convert(stored, declared)
        and Kind.BOOL not in (stored.kind, declared.kind)
        and stored.kind is not Kind.ARRAY
    )


def can_cast(writer: SqlBuilder, stored: DType, declared: DType) -> bool:
    """Return whether an engine can cast between these types without losing values that fit."""
    return (can_convert if writer.has_try_cast else can_convert_by_range)(stored, declared)


def cast(writer: SqlBuilder, value: exp.Expression, stored: Column, declared: DType) -> exp.Expression:
    """Return a column's value in the declared type; the value itself where it has that type."""
    if not needs_cast(stored, declared) or not needs_cast(stored, declared := writer.native(declared)):
        return value
    if stored.dtype.kind in (Kind.DATE, *_INSTANTS) and declared.kind in (Kind.DATE, *_INSTANTS):
        naive = writer.utc(value, stored.dtype, nanoseconds=stored.nanoseconds)
        if declared.kind is Kind.TIMESTAMPTZ:
            return writer.instant(naive)
        return exp.cast(naive, writer.type(declared)) if declared.kind is Kind.DATE else naive
    return exp.cast(value, writer.type(declared))


def is_lossy(writer: SqlBuilder, value: exp.Expression, stored: Column, declared: DType) -> exp.Expression:
    """Return whether a value would not survive its cast to the declared type; never for NULL."""
    times = (Kind.DATE, *_INSTANTS)
    if stored.dtype.kind in times and declared.kind in times:
        return _is_lossy_time(writer, value, stored, declared)
    if declared.kind is Kind.FLOAT and declared.bits != _WIDE_BITS and stored.dtype.kind is not Kind.FLOAT:
        # Compare as a double: 0.1 is a double but not a FLOAT.
        double = exp.cast(value.copy(), writer.type(_DOUBLE))
        return (
            exp.Case()
            .when(is_lossy_cast(writer, value, stored.dtype, _DOUBLE), exp.true())
            .when(exp.Not(this=_is_null(value)), is_lossy_cast(writer, double, _DOUBLE, declared))
            .else_(exp.false())
        )
    return is_lossy_cast(writer, value, stored.dtype, declared)


def as_declared(
    writer: SqlBuilder, relation: str, columns: Sequence[Column], declared: Mapping[str, DType]
) -> tuple[str, tuple[Column, ...]]:
    """Return a FROM item of a relation whose columns have the declared types, and its columns.

    The relation itself if no column needs a cast.
    """
    cast_to = {
        column.name: declared[column.name]
        for column in columns
        if column.name in declared and needs_cast(column, writer.native(declared[column.name]))
    }
    if not cast_to:
        return relation, tuple(columns)
    values = [
        with_alias(cast(writer, col(column.name), column, cast_to[column.name]), column.name)
        if column.name in cast_to
        else col(column.name)
        for column in columns
    ]
    source = exp.select(*values).from_(parse_from_item(relation, writer.name))
    typed = (
        Column(name=column.name, dtype=writer.native(cast_to[column.name])) if column.name in cast_to else column
        for column in columns
    )
    return f"({writer.sql(source)}) AS {writer.sql(table(_TYPED))}", tuple(typed)


def check_types(writer: SqlBuilder, join: AsofJoin) -> TypeCheck | None:
    """Return the checks to pass before a view's features can be cast; None if none are needed."""
    relation = JoinRules(writer).relation(join, "f")
    counted: list[tuple[Misfit, exp.Expression]] = []
    refused: list[Misfit] = []
    for feature in join.features:
        declared, stored = writer.native(feature.dtype), feature.stored
        if not needs_cast(stored, feature.dtype) or not needs_cast(stored, declared):
            continue
        if not stored.nanoseconds and widens(stored.dtype, declared):
            continue
        where = f"{join.where} -> columns[{stored.name}].data_type"
        what = (
            f"{join.view}: feature '{stored.name}' is {_type_name(stored)} in {join.relation}, declared {feature.dtype}"
        )
        if not can_cast(writer, stored.dtype, declared) and not (stored.nanoseconds and stored.dtype == declared):
            fix = f"cast it in the model, or declare its own type: {_fitting_type(writer, stored)}"
            refused.append(Misfit(message=what, where=where, fix=fix))
            continue
        condition = is_lossy(writer, col(stored.name, "f"), stored, declared)
        counted.append(
            (
                Misfit(
                    message=what,
                    where=where,
                    fix=f"round or cast it in the model, or declare its own type: {_fitting_type(writer, stored)}",
                    keys=tuple(key.name for key, _ in join.keys),
                    examples=_example_query(writer, join, stored, relation, condition),
                ),
                condition,
            )
        )
    if not counted and not refused:
        return None
    sql = ""
    if counted:
        counts = [
            with_alias(exp.Count(this=exp.Case().when(condition, exp.Literal.number(1))), f"n{position}")
            for position, (_, condition) in enumerate(counted)
        ]
        sql = writer.sql(exp.select(*counts).from_(relation.copy()))
    return TypeCheck(sql=sql, counted=tuple(misfit for misfit, _ in counted), refused=tuple(refused))


def _type_name(stored: Column) -> str:
    return f"{stored.dtype} with nanoseconds" if stored.nanoseconds else str(stored.dtype)


def _fitting_type(writer: SqlBuilder, stored: Column) -> str:
    """Return the declaration that fits a column."""
    if stored.dtype.bits == _WIDEST:  # a feature of that type is a decimal, and this column does not fit one
        return "a type that holds every value"
    try:
        return f"data_type: {writer.type_text(stored.dtype).lower()}"
    except (UnsupportedByDialect, AssertionError):
        return f"a type that is {stored.dtype}"


def _example_query(
    writer: SqlBuilder, join: AsofJoin, stored: Column, relation: exp.Expression, condition: exp.Expression
) -> str:
    """Select the value as text and the keys of the first rows that don't fit."""
    text = writer.type(DType(kind=Kind.TEXT))
    columns = [with_alias(exp.cast(col(stored.name, "f"), text), "value")]
    columns += [
        with_alias(exp.cast(col(key.name, "f"), text.copy()), f"k{position}")
        for position, (key, _) in enumerate(join.keys)
    ]
    select = exp.select(*columns).from_(relation.copy()).where(condition.copy())
    return writer.sql(select.order_by(*(col(key.name, "f") for key, _ in join.keys)).limit(_EXAMPLES))


def _is_lossy_time(writer: SqlBuilder, value: exp.Expression, stored: Column, declared: DType) -> exp.Expression:
    naive = writer.utc(value.copy(), stored.dtype, nanoseconds=stored.nanoseconds)
    lost: list[exp.Expression] = []
    if stored.nanoseconds:
        lost.append(writer.finer_than_microseconds(value.copy()))
    if declared.kind is Kind.DATE:
        midnight = exp.cast(exp.cast(naive.copy(), writer.type(declared)), exp.DataType.build("TIMESTAMP"))
        lost.append(exp.NEQ(this=naive, expression=midnight))
    if stored.dtype.kind is Kind.DATE:
        first, last = (
            exp.cast(exp.Literal.string(day), exp.DataType.build("DATE")) for day in ("0001-01-01", "9999-12-31")
        )
        lost.append(exp.LT(this=value.copy(), expression=first))
        lost.append(exp.GT(this=value.copy(), expression=last))
    return any_of(*lost)


# --- the two ways to ask --------------------------------------------------------------------------------------------


def is_lossy_cast(writer: SqlBuilder, value: exp.Expression, stored: DType, declared: DType) -> exp.Expression:
    """Return whether a value other than a time would change in its cast to the declared type."""
    compare = is_lossy_round_trip if writer.has_try_cast else is_lossy_by_range
    return compare(writer, value, stored, declared)


def is_lossy_round_trip(writer: SqlBuilder, value: exp.Expression, stored: DType, declared: DType) -> exp.Expression:
    """Compare a value with its round-trip cast; a failed cast gives NULL."""
    # sqlglot writes TRY_CAST for Spark only with `safe`.
    converted = exp.TryCast(this=value.copy(), to=writer.type(declared), safe=True)
    back = converted if stored.kind is Kind.UNKNOWN else exp.TryCast(this=converted, to=writer.type(stored), safe=True)
    return exp.NullSafeNEQ(this=back, expression=value.copy())


def is_lossy_by_range(writer: SqlBuilder, value: exp.Expression, stored: DType, declared: DType) -> exp.Expression:
    """Compare a number with the range of the declared type, using only casts that can't fail."""
    if stored.kind is Kind.TEXT:  # a boolean: `can_cast` allows nothing else
        words = [exp.Literal.string(word) for word in ("true", "false")]
        return exp.Not(this=exp.In(this=value.copy(), expressions=words))
    if stored.kind is Kind.FLOAT:
        return _is_lossy_float(writer, value, stored, declared)
    if declared.kind is Kind.FLOAT:
        return _is_lossy_decimal(value)
    low, high, scale = _number_range(declared)
    inside = exp.Between(this=value.copy(), low=exp.Literal.number(low), high=exp.Literal.number(high))
    return exp.Not(this=exp.paren(all_of(inside, exp.EQ(this=value.copy(), expression=_round(value, scale)))))


def _is_lossy_float(writer: SqlBuilder, value: exp.Expression, stored: DType, declared: DType) -> exp.Expression:
    if declared.kind is Kind.FLOAT:
        size = call("ABS", value.copy())
        text = exp.cast(value.copy(), writer.type(DType(kind=Kind.TEXT)))
        special = exp.In(this=text, expressions=[exp.Literal.string(word) for word in ("NaN", "Infinity", "-Infinity")])
        zero = exp.EQ(this=value.copy(), expression=exp.Literal.number(0))
        outside = any_of(
            exp.GT(this=size, expression=_number(_LARGEST_FLOAT)),
            exp.LT(this=size.copy(), expression=_number(_LEAST_FLOAT)),
        )
        back = exp.cast(exp.cast(value.copy(), writer.type(declared)), writer.type(stored))
        other = exp.NEQ(this=back, expression=value.copy())
        return exp.Case().when(any_of(special, zero), exp.false()).when(outside, exp.true()).else_(other)
    low, high, scale = _number_range(declared)
    inside: exp.Expression = exp.Between(this=value.copy(), low=_number(low), high=_number(high))
    if scale:
        exact = value.copy() if writer.rounds_floats else exp.cast(value.copy(), exp.DataType.build("DECIMAL"))
        rounded: exp.Expression = exp.cast(call("ROUND", exact, exp.Literal.number(scale)), writer.type(stored))
    else:
        rounded = call("FLOOR", value.copy())
    if (declared.bits or 0) > 32:  # as a double the upper bound is the first number outside
        inside = all_of(inside, exp.LT(this=value.copy(), expression=_number(high)))
    return exp.Case().when(inside, exp.NEQ(this=rounded, expression=value.copy())).else_(exp.Not(this=_is_null(value)))


def _is_lossy_decimal(value: exp.Expression) -> exp.Expression:
    """Test a decimal cast to a float: whole numbers within its bits and values within its digits are exact."""
    limit = exp.Literal.number(2 ** _WHOLE_BITS[_WIDE_BITS])
    size = call("ABS", value.copy())
    whole = all_of(exp.LTE(this=size, expression=limit), exp.EQ(this=value.copy(), expression=_round(value, 0)))
    few = _DOUBLE_DIGITS // 3
    short = all_of(
        exp.LT(this=size.copy(), expression=exp.Literal.number(10**few)),
        exp.EQ(this=value.copy(), expression=_round(value, _DOUBLE_DIGITS - few)),
    )
    return exp.Not(this=any_of(exp.paren(whole), exp.paren(short)))


def _round(value: exp.Expression, scale: int) -> exp.Expression:
    # No cast here: an unsized DECIMAL has no decimals on Snowflake and Redshift.
    return call("ROUND", value.copy(), exp.Literal.number(scale))


def _number_range(declared: DType) -> tuple[str, str, int]:
    """Return the minimum, maximum and number of decimals of an integer or decimal type."""
    if declared.kind is Kind.DECIMAL:
        scale = declared.scale or 0
        nines = "9" * (declared.precision or 38)
        most = f"{nines[: len(nines) - scale] or '0'}.{nines[len(nines) - scale :]}".rstrip(".")
        return f"-{most}", most, scale
    bits = declared.bits or 64
    low, high = (0, 2**bits - 1) if declared.kind is Kind.UINT else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return str(low), str(high), 0


def _number(text: str) -> exp.Expression:
    return exp.cast(exp.Literal.string(text), exp.DataType.build("DOUBLE"))


def _is_null(value: exp.Expression) -> exp.Expression:
    return exp.Is(this=value.copy(), expression=exp.Null())
