"""A snapshot's rows as the online store holds them, written by the warehouse itself: key, JSON array, times.

The formats are those of `featurelayer.online.codec` and `featurelayer.online.keys`; the tests hold the two together.
An engine says how it writes a value of a type as JSON (`Dialect.json_text`). What it can't write exactly is encoded in
Python instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlglot import exp

from featurelayer.model import DType, FeatureView
from featurelayer.sql.ast import col, with_alias
from featurelayer.sql.dialects._json import UNSTORABLE
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.plan import EVENT_MICROS, VALID_TO_MICROS, Plan

PK, BODY = "pk", "f"
# The range of datetime, repeated from `featurelayer.online.codec`: this package imports nothing of serving.
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999


def encode_snapshot(writer: Dialect, plan: Plan, view: FeatureView, prefix: str) -> exp.Select | None:
    """Return the query of a snapshot's encoded rows, to run after its script's steps; None if SQL can't encode them.

    Its columns are `pk`, `f`, and the microseconds `event_time` and `valid_to`. `prefix` precedes a key's parts.
    """
    join = plan.joins[0]
    key_types = {key.column: key.dtype for key in view.join_keys}
    # Python rejects a key that does not fit its declared type; an engine would cast it.
    if any(key.nanoseconds or key.dtype != key_types.get(key.name) for key, _ in join.keys):
        return None
    parts = _texts(writer, [(key.name, key.dtype) for key, _ in join.keys], key=True)
    body = _texts(writer, [(feature.name, feature.dtype) for feature in join.features], key=False)
    if parts is None or body is None:
        return None
    pk = _array(parts, prefix)
    body = [_name_refusals(text, view, feature.name, pk) for text, feature in zip(body, join.features, strict=True)]
    rows = writer.script.query(plan)
    rows.set("order", None)
    return exp.select(
        with_alias(pk, PK),
        with_alias(_array(body), BODY),
        with_alias(_event_time(writer, view, pk), "event_time"),
        with_alias(col(VALID_TO_MICROS, "s"), "valid_to"),
    ).from_(rows.subquery("s"))


def _texts(writer: Dialect, columns: Iterable[tuple[str, DType]], *, key: bool) -> list[exp.Expression] | None:
    texts = [writer.json_text(col(name, "s"), dtype, key=key) for name, dtype in columns]
    return None if None in texts else [text for text in texts if text is not None]


def _name_refusals(text: exp.Expression, view: FeatureView, column: str, pk: exp.Expression) -> exp.Expression:
    """Return a value's JSON text; its error messages name view, column and key."""

    def name_refusal(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Literal) and node.is_string and node.this.endswith(UNSTORABLE):
            return exp.paren(exp.DPipe(this=_place(view, column, pk), expression=node.copy()), copy=False)
        return node

    return text.transform(name_refusal)


def _event_time(writer: Dialect, view: FeatureView, pk: exp.Expression) -> exp.Expression:
    """Return the event time in microseconds, or end the query at one that no reader could hold."""
    micros = col(EVENT_MICROS, "s")
    if view.static or view.event_time is None:
        return micros
    message = exp.Literal.string(f"a time {UNSTORABLE}")
    refused = writer.fail(exp.DPipe(this=_place(view, view.event_time, pk), expression=message))
    outside = exp.or_(micros.copy() < exp.Literal.number(FIRST), micros.copy() > exp.Literal.number(LAST))
    return exp.Case().when(outside, exp.cast(refused, exp.DataType.build("BIGINT"))).else_(micros)


def _place(view: FeatureView, column: str, pk: exp.Expression) -> exp.Expression:
    before, after = exp.Literal.string(f"{view.id}.{column} of "), exp.Literal.string(": ")
    return exp.DPipe(this=exp.DPipe(this=before, expression=pk.copy()), expression=after)


def _array(texts: Sequence[exp.Expression], prefix: str = "") -> exp.Expression:
    parts: list[exp.Expression] = [exp.Literal.string(f"{prefix}[")]
    for position, text in enumerate(texts):
        parts += [exp.Literal.string(",")] if position else []
        parts.append(text)
    return exp.Concat(expressions=[*parts, exp.Literal.string("]")])
