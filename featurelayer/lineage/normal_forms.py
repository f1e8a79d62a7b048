"""Predicates on the nodes of an expression, and the tables that map equivalent nodes to one form."""

from __future__ import annotations

from sqlglot import exp

from featurelayer.lineage.scope import Unreadable

LONGEST = 2_000
CLOCKS = (
    exp.CurrentTimestamp,
    exp.CurrentDate,
    exp.CurrentTime,
    exp.CurrentDatetime,
    exp.CurrentTimestampLTZ,
    exp.Localtime,
    exp.Localtimestamp,
    exp.Systimestamp,
    exp.UtcDate,
    exp.UtcTime,
    exp.UtcTimestamp,
)
CLOCK_NAMES = frozenset(
    {"now", "now64", "getdate", "sysdate", "today", "yesterday", "get_current_timestamp", "clock_timestamp",
     "statement_timestamp", "transaction_timestamp", "timeofday", "sysdatetime", "sysutcdatetime", "getutcdate",
     "curdate", "curtime", "unix_timestamp"}
)  # fmt: skip
SAME_TYPES = {
    "VARCHAR": "TEXT",
    "NVARCHAR": "TEXT",
    "CHAR": "TEXT",
    "DATETIME": "TIMESTAMP",
    "TIMESTAMPNTZ": "TIMESTAMP",
}
_CLICKHOUSE_UNITS = {"todate": "day", "tostartofday": "day", "tostartofweek": "week", "tostartofmonth": "month"}
MIRRORED: dict[type[exp.Expression], type[exp.Expression]] = {exp.GT: exp.LT, exp.GTE: exp.LTE}
OPPOSITE: dict[type[exp.Expression], type[exp.Expression]] = {
    exp.EQ: exp.NEQ,
    exp.NEQ: exp.EQ,
    exp.LT: exp.GTE,
    exp.GTE: exp.LT,
    exp.GT: exp.LTE,
    exp.LTE: exp.GT,
}
UNORDERED = (exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ)
SERIES = (exp.GenerateSeries, exp.ExplodingGenerateSeries, exp.GenerateDateArray, exp.GenerateTimestampArray)
CHAINS = (exp.And, exp.Or, exp.Add, exp.Mul, exp.BitwiseAnd, exp.BitwiseOr)
EXACT = (exp.JSONPathPart, exp.RawString, exp.National, exp.ByteString, exp.UnicodeString, exp.Heredoc, exp.Collate)
"""Nodes whose texts differ by case."""
INTERVALS = (exp.Interval, exp.DateAdd, exp.DateSub, exp.TimestampAdd, exp.TimestampSub, exp.Anonymous)
CONDITIONAL = (exp.Sum, exp.Avg, exp.Min, exp.Max)
AT_ANOTHER_TIME = ("version", "when", "system_time", "partition", "only", "ordinality")
"""Parts of a table in a FROM that say which of its rows, or as of when."""
_OF_QUERIES = ("match", "connect", "pivots", "kind", "side", "on", "for_")
_NOT_FOLLOWED: dict[type[exp.Expression], tuple[str, ...]] = {
    exp.Select: ("kind", "exclude", "match", "connect", "pivots", "for_"),
    exp.Table: ("pivots", "changes", "rows_from", "pattern", "laterals"),
    exp.Subquery: (*_OF_QUERIES, "laterals", "where", "group", "having", "qualify"),
    exp.Union: _OF_QUERIES,
    exp.Except: _OF_QUERIES,
    exp.Intersect: _OF_QUERIES,
    exp.Join: ("nearest", "expressions", "pivots"),
    exp.Values: ("pivots",),
    exp.CTE: ("key_expressions",),
}
_WORDS = {
    "match": "MATCH_RECOGNIZE",
    "connect": "CONNECT BY",
    "for_": "FOR",
    "kind": "AS STRUCT",
    "side": "OUTER UNION",
    "on": "UNION ... ON",
    "rows_from": "ROWS FROM",
    "key_expressions": "USING KEY",
}
_MAKES_ROWS = frozenset(
    {"generate_series", "generate_subscripts", "regexp_split_to_table", "string_to_table", "regexp_matches",
     "jsonb_array_elements", "json_array_elements", "jsonb_array_elements_text", "json_array_elements_text",
     "json_each", "jsonb_each", "jsonb_object_keys", "json_object_keys", "arrayjoin", "inline", "stack", "json_tuple",
     "flatten"}
)  # fmt: skip
ARGUMENTS_TO_SKIP = frozenset({"_type", "big_int", "nested", "copy", "safe"})


def strip_brackets(node: exp.Expression) -> exp.Expression:
    """Return the expression inside brackets and aliases."""
    while isinstance(node, exp.Paren | exp.Alias):
        node = node.this
    return node


def check_parts(node: exp.Expression) -> None:
    """Raise for a clause that decides rows or columns in a way that is not followed.

    Raises:
        Unreadable: there is one.
    """
    for name in _NOT_FOLLOWED.get(type(node), ()):
        part = node.args.get(name)
        if part:
            word = _WORDS.get(name, name.upper())
            if name == "pivots":
                word = "UNPIVOT" if part[0].args.get("unpivot") else "PIVOT"
            raise Unreadable(f"{word} is not followed")


def makes_rows(node: exp.Expression) -> bool:
    """Whether an expression of a SELECT makes several rows of one, as UNNEST does."""
    node = strip_brackets(node)
    if isinstance(node, exp.Column | exp.Literal | exp.Window | exp.AggFunc):  # no need to walk most expressions
        return False
    for each in node.walk(prune=lambda inner: isinstance(inner, exp.Query | exp.Subquery)):
        if isinstance(each, exp.UDTF | exp.Explode | exp.Posexplode | exp.GenerateSeries | exp.Inline):
            return True
        if isinstance(each, exp.Anonymous) and str(each.this).casefold() in _MAKES_ROWS:
            return True
    return False


def flatten_operands(kind: type[exp.Expression], node: exp.Expression) -> list[exp.Expression]:
    """Return the operands of a chain of one operator, through brackets, without recursion."""
    found, open_nodes = [], [node]
    while open_nodes:
        part = strip_brackets(open_nodes.pop())
        if type(part) is kind:
            open_nodes += (part.expression, part.this)
        else:
            found.append(part)
    return found


def normalize_number(text: str) -> str:
    """Return the canonical spelling of a number."""
    try:
        return str(int(text))
    except ValueError:
        return text.lower()


def function_name(node: exp.Expression) -> str:
    """Return a function's name in lower case."""
    return str(node.this).casefold() if isinstance(node, exp.Anonymous) else str(type(node).__name__).casefold()


def find_unit(node: exp.Expression) -> str:
    """Return the unit to which a function truncates a time, in lower case, or ""."""
    if isinstance(node, exp.TimestampTrunc | exp.DateTrunc | exp.DatetimeTrunc):
        unit = node.args.get("unit")
        return unit.name.casefold() if isinstance(unit, exp.Expression) else ""
    if isinstance(node, exp.TsOrDsToDate | exp.Date):
        return "day"
    if isinstance(node, exp.Cast) and node.to.this in (exp.DataType.Type.DATE, exp.DataType.Type.DATE32):
        return "" if isinstance(strip_brackets(node.this), exp.Literal) else "day"
    if isinstance(node, exp.Anonymous):
        name = str(node.this).casefold()
        return {"todate": "day", "tostartofday": "day", "tostartofmonth": "month", "tostartofweek": "week"}.get(
            name, ""
        )
    return ""


def is_limited(query: exp.Expression) -> bool:
    """Whether a query limits, samples or pivots its rows."""
    return any(query.args.get(name) for name in ("limit", "offset", "sample", "pivots"))


def has_star(projections: list[exp.Expression]) -> bool:
    """Whether a SELECT has a star."""
    return any(each.is_star for each in projections)


def aggregates(node: exp.Expression) -> bool:
    """Whether an expression aggregates the rows of its own SELECT."""
    waiting: list[exp.Expression] = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, exp.Query | exp.Subquery):
            continue
        if isinstance(part, exp.Window):
            waiting += list(window_function(part).iter_expressions())
            continue
        if isinstance(part, exp.AggFunc):
            return True
        waiting += list(part.iter_expressions())
    return False


def window_function(node: exp.Window) -> exp.Expression:
    """Return the function that a window runs, without FILTER and IGNORE NULLS around it."""
    inner: exp.Expression = node.this
    while isinstance(inner, exp.IgnoreNulls | exp.RespectNulls | exp.Filter | exp.WithinGroup):
        inner = inner.this
    return inner


def alias_columns(node: exp.Expression) -> list[str]:
    """Return the names that an alias gives to columns."""
    alias = node.args.get("alias")
    return [each.name for each in alias.columns] if isinstance(alias, exp.TableAlias) else []


def names_table(query: exp.Expression, name: str) -> bool:
    """Whether a query reads a table of that name."""
    return any(table.name.casefold() == name and not table.args.get("db") for table in query.find_all(exp.Table))


def is_upper_bound(condition: exp.Expression) -> bool:
    """Whether a condition on the run's time only excludes later rows: `event_time <= now()`."""
    if isinstance(condition, exp.Paren):
        condition = condition.this
    if isinstance(condition, exp.LT | exp.LTE):
        return _is_plain(condition.this)
    if isinstance(condition, exp.GT | exp.GTE):
        return _is_plain(condition.expression)
    if isinstance(condition, exp.Between):
        return _is_plain(condition.this) and not any(is_clock(each) for each in condition.args["low"].walk())
    return False


def _is_plain(node: exp.Expression) -> bool:
    return not any(is_clock(each) for each in node.walk()) and any(True for _ in node.find_all(exp.Column))


def is_batch(clause: exp.Expression) -> bool:
    """Whether a WHERE is dbt's microbatch filter: `select * from x where time >= a and time < b`."""
    select = clause.parent
    return isinstance(select, exp.Select) and has_star(select.expressions) and len(select.expressions) == 1


def is_clock(node: object) -> bool:
    """Whether a function returns the current time."""
    if isinstance(node, exp.Anonymous):
        name = str(node.this).casefold()
        return name in CLOCK_NAMES and not (name == "unix_timestamp" and node.expressions)
    return isinstance(node, CLOCKS)
