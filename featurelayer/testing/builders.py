"""Views, services and tables from a few words, as tests want them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from featurelayer.model import DType, Feature, FeatureService, FeatureView, JoinKey, Key, Kind, ServiceView
from featurelayer.testing.oracle import naive_utc

Join = tuple[FeatureView, str | None, Mapping[str, str] | None]
"""A view, the role it is joined in, and the label column by key column where they differ."""


def make_view(
    name: str,
    keys: Mapping[str, str],
    columns: Mapping[str, str],
    features: Iterable[str],
    *,
    defaults: Mapping[str, Any] | None = None,
    **annotations: Any,
) -> FeatureView:
    """Return a view; types are featurelayer's text, `annotations` the other fields of FeatureView."""
    typed = tuple((column, DType.parse(text)) for column, text in {**keys, **columns}.items())
    by_name = dict(typed)
    defaults = defaults or {}
    quoted = name.replace('"', '""')
    fields = {"unique_id": f"model.test.{name}", "relation_name": f'"{quoted}"', "entities": ("thing",)} | annotations
    return FeatureView(
        name=name,
        join_keys=tuple(JoinKey(column=key, entity="thing", key=key, dtype=by_name[key]) for key in keys),
        features=tuple(
            Feature(name=f, dtype=by_name[f], default=defaults.get(f), has_default=f in defaults) for f in features
        ),
        columns=typed,
        **fields,
    )


def make_service(*joins: Join, label_timestamp: str | None = "t") -> FeatureService:
    """Return a service of all features of each joined view."""
    views, request = [], {}
    for view, role, keys in joins:
        pairs = tuple((key.column, (keys or {}).get(key.column, key.column)) for key in view.join_keys)
        for key, (_, label) in zip(view.join_keys, pairs, strict=True):
            request[label] = key.dtype
        features = tuple(feature.name for feature in view.features)
        views.append(ServiceView(view=view.id, prefix=role or view.prefix, features=features, keys=pairs, role=role))
    return FeatureService(
        name="service",
        views=tuple(views),
        request_keys=tuple(Key(name=name, dtype=dtype) for name, dtype in request.items()),
        label_timestamp=label_timestamp,
    )


def arrow_type(dtype: DType) -> pa.DataType:
    """Return the Arrow type of a featurelayer type."""
    match dtype.kind:
        case Kind.ARRAY:
            assert dtype.element is not None, dtype
            return pa.list_(arrow_type(dtype.element))
        case Kind.STRUCT:
            return pa.struct([(name, arrow_type(field)) for name, field in dtype.fields])
        case Kind.DECIMAL:
            return pa.decimal128(dtype.precision, dtype.scale)
        case Kind.INT | Kind.UINT | Kind.FLOAT:
            return getattr(pa, f"{dtype.kind}{dtype.bits}")()
        case _:
            return _PLAIN[dtype.kind]


_PLAIN = {
    Kind.TIMESTAMP: pa.timestamp("us"),
    Kind.TIMESTAMPTZ: pa.timestamp("us", "UTC"),
    Kind.DATE: pa.date32(),
    Kind.TEXT: pa.string(),
    Kind.BYTES: pa.binary(),
    Kind.BOOL: pa.bool_(),
}


def make_table(columns: Sequence[tuple[str, DType]], rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return rows as an Arrow table of exactly these columns and types; what a row does not name is NULL."""
    rows = list(rows)
    arrays = [pa.array([row.get(name) for row in rows], arrow_type(dtype)) for name, dtype in columns]
    return pa.Table.from_arrays(arrays, names=[name for name, _ in columns])


def rows_of(table: pa.Table, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return a table's rows as mappings, nanosecond types as the microseconds that they hold."""
    columns = [_to_microseconds(column).to_pylist() for column in table.columns]
    names = table.column_names if names is None else names
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _to_microseconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pa.timestamp("us", column.type.tz))
    return column


def plain(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row in words that are equal where the contract calls values equal.

    Times are instants in UTC, whatever zone a session shows them in; NaN is itself; 0.0 and -0.0 are two values; 1.50
    is 1.5, because engines differ in the zeros that they keep.
    """
    return {name: _word(value) for name, value in row.items()}


def _word(value: Any) -> str:
    from datetime import datetime
    from decimal import Decimal

    if isinstance(value, datetime):
        return naive_utc(value).isoformat(" ")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_word, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {_word(part)}' for name, part in value.items())}}}"
    if isinstance(value, Decimal):
        whole = value == value.to_integral_value()
        return str(int(value)) if whole else format(value.normalize(), "f")
    return repr(value)
