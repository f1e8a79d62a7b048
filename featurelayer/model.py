"""The domain: entities, feature views, features and feature services, as frozen values.

Standard library only: a serving process, the SQL compiler and the dbt reader all share these.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


class Kind(StrEnum):
    """A family of types, independent of any engine's spelling."""

    BOOL = "bool"
    INT = "int"
    UINT = "uint"
    FLOAT = "float"
    DECIMAL = "decimal"
    TEXT = "text"
    BYTES = "bytes"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    UUID = "uuid"
    JSON = "json"
    INTERVAL = "interval"
    ARRAY = "array"
    STRUCT = "struct"
    MAP = "map"
    UNKNOWN = "unknown"


_SCALARS_ONLINE = frozenset({Kind.BOOL, Kind.INT, Kind.UINT, Kind.FLOAT, Kind.DECIMAL, Kind.TEXT, Kind.BYTES, Kind.DATE,
                             Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.UUID, Kind.JSON})  # fmt: skip
_KEY_KINDS = frozenset(
    {Kind.BOOL, Kind.INT, Kind.UINT, Kind.DECIMAL, Kind.TEXT, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.UUID}
)
_PLAIN_KINDS = frozenset(Kind) - {Kind.INT, Kind.UINT, Kind.FLOAT, Kind.DECIMAL, Kind.ARRAY, Kind.STRUCT, Kind.MAP}
_TYPE = re.compile(
    r"(int|uint|float)(\d+)|decimal\((\d+),(\d+)\)|array<(.+)>|struct<(.*)>|map<(.+)>|([a-z]+)", re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DType:
    """A type, exactly: width of numbers, precision and scale of decimals, element of arrays.

    `str(dtype)` is canonical (`int64`, `decimal(18,4)`, `array<float32>`) and `DType.parse` reads it back.
    A timestamp has microseconds; `timestamp` is naive and means UTC, `timestamptz` is an instant.
    """

    kind: Kind
    bits: int | None = None
    precision: int | None = None
    scale: int | None = None
    element: DType | None = None
    fields: tuple[tuple[str, DType], ...] = ()

    def __str__(self) -> str:
        match self.kind:
            case Kind.INT | Kind.UINT | Kind.FLOAT:
                return f"{self.kind}{self.bits}"
            case Kind.DECIMAL:
                return f"decimal({self.precision},{self.scale})"
            case Kind.ARRAY:
                return f"array<{self.element}>"
            case Kind.STRUCT | Kind.MAP:
                return f"{self.kind}<{','.join(f'{_quote(name)}:{dtype}' for name, dtype in self.fields)}>"
            case _:
                return str(self.kind)

    @classmethod
    @functools.cache
    def parse(cls, text: str) -> DType:
        """Read the canonical text of a type.

        Raises:
            ValueError: `text` is not what `str(dtype)` writes.
        """
        found = _TYPE.fullmatch(text)
        if found is None:
            raise ValueError(f"'{text}' is not a featurelayer type")
        sized, bits, precision, scale, element, struct, mapping, plain = found.groups()
        if sized:
            return cls(kind=Kind(sized), bits=int(bits))
        if precision:
            return cls(kind=Kind.DECIMAL, precision=int(precision), scale=int(scale))
        if element:
            return cls(kind=Kind.ARRAY, element=cls.parse(element))
        if struct is not None or mapping:
            kind = Kind.MAP if mapping else Kind.STRUCT
            return cls(kind=kind, fields=tuple(_parse_fields(mapping or struct)))
        if plain not in _PLAIN_KINDS:
            raise ValueError(f"'{text}' is not a featurelayer type")
        return cls(kind=Kind(plain))

    @property
    def is_storable(self) -> bool:
        """Whether the online store can hold it exactly: scalars, and arrays of what it can hold."""
        if self.kind is Kind.ARRAY:
            return self.element is not None and self.element.is_storable
        return self.kind in _SCALARS_ONLINE

    @property
    def is_key(self) -> bool:
        """Whether equality of two values is certain enough to identify an entity (no floats, nothing nested)."""
        return self.kind in _KEY_KINDS

    @property
    def is_numeric(self) -> bool:
        return self.kind in (Kind.INT, Kind.UINT, Kind.FLOAT, Kind.DECIMAL)

    @property
    def is_time(self) -> bool:
        """Whether it is a point in time: a date or a timestamp."""
        return self.kind in (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)

    def joins(self, other: DType) -> bool:
        """Whether values of the two types may be compared as keys without a silent cast.

        Widths of integers may differ and decimals without fraction are integers; text never meets a number.
        """
        families = (
            {Kind.INT, Kind.UINT},
            {Kind.TIMESTAMP, Kind.TIMESTAMPTZ},
        )
        if self.kind is other.kind:
            return True
        if any(self.kind in family and other.kind in family for family in families):
            return True
        whole = {self.kind, other.kind} - {Kind.INT, Kind.UINT}
        return whole == {Kind.DECIMAL} and (self.scale or 0) == 0 and (other.scale or 0) == 0


def _quote(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else '"' + name.replace('"', '""') + '"'


def _parse_fields(text: str) -> list[tuple[str, DType]]:
    fields, position = [], 0
    name_pattern = re.compile(r'(?:"((?:[^"]|"")*)"|([A-Za-z_]\w*)):', re.ASCII)
    while position < len(text):
        name = name_pattern.match(text, position)
        if name is None:
            raise ValueError(f"'{text}' are not the fields of a featurelayer type")
        start = position = name.end()
        depth, quoted = 0, False
        while position < len(text) and (quoted or depth or text[position] != ","):
            character = text[position]
            if character == '"':
                quoted = not quoted
            elif not quoted:
                depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(character, 0)
            position += 1
        fields.append((name[2] or name[1].replace('""', '"'), DType.parse(text[start:position])))
        position += 1
    return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as an engine has it. `nanoseconds` marks timestamps with more precision than microseconds."""

    name: str
    dtype: DType
    nanoseconds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The person or team responsible for something."""

    name: str = ""
    email: str = ""

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>" if self.name and self.email else self.name or self.email


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One part of an entity's key: its name in requests and its type."""

    name: str
    dtype: DType


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A thing that features describe, and the typed columns that identify it."""

    name: str
    keys: tuple[Key, ...]
    description: str = ""
    owner: Owner = field(default_factory=Owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinKey:
    """A column of a view that holds one part of an entity's key."""

    column: str
    entity: str
    key: str
    dtype: DType


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """The allowed age of a view's newest row, as dbt defines it for sources."""

    warn_after: timedelta | None = None
    error_after: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalGuard:
    """Limit on what one export may remove from the online store.

    An export that would remove more than `share` (0 to 1) of a view's keys, and `at_least` that many, is rejected.
    """

    share: float = 0.3
    at_least: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprecation:
    """Marks a view or feature that still works but should no longer be used."""

    replaced_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """A check that a view, feature or service opts out of, with the reason."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column of a feature view.

    `default` replaces a missing or expired value, never a NULL in the winning row. `has_default` tells
    a default of None from no default.
    """

    name: str
    dtype: DType
    description: str = ""
    default: Any = field(default=None, hash=False)
    has_default: bool = False
    unit: str = ""
    tags: tuple[str, ...] = ()
    range: tuple[float | None, float | None] | None = None
    monitors: Mapping[str, Any] = field(default_factory=_empty, hash=False)
    deprecated: Deprecation | None = None
    ignore: tuple[Ignore, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureView:
    """An annotated dbt model or snapshot: keys, times, features.

    `columns` are all declared columns in declared order with their types, `join_keys` are in the order
    of the entities and their keys. `relation_name` is dbt's own quoting of the built relation.
    """

    name: str
    unique_id: str
    relation_name: str
    entities: tuple[str, ...]
    join_keys: tuple[JoinKey, ...]
    features: tuple[Feature, ...]
    columns: tuple[tuple[str, DType], ...]
    version: str | None = None
    is_latest: bool = True
    event_time: str | None = None
    available_at: str | None = None
    delay: timedelta | None = None
    created_timestamp: str | None = None
    tie_breaker: tuple[str, ...] = ()
    valid_to: str | None = None
    ttl: timedelta | None = None
    bound: Literal["inclusive", "exclusive"] = "inclusive"
    static: bool = False
    online: bool = False
    update_frequency: str = ""
    freshness: Freshness | None = None
    on_stale: Literal["serve", "null", "default", "raise"] = "serve"
    block_export: bool = False
    removal_guard: RemovalGuard = RemovalGuard()
    monitors: Mapping[str, Any] = field(default_factory=_empty, hash=False)
    ignore: tuple[Ignore, ...] = ()
    deprecated: Deprecation | None = None
    description: str = ""
    owner: Owner = field(default_factory=Owner)
    tags: tuple[str, ...] = ()
    path: str = ""
    yaml_path: str = ""
    resource_type: Literal["model", "snapshot"] = "model"
    materialized: str = ""
    contract_enforced: bool = False
    depends_on: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`orders`, or `orders.v2` for a version."""
        return f"{self.name}.v{self.version}" if self.version is not None else self.name

    @property
    def prefix(self) -> str:
        """What precedes `__feature` in a training set when the view is named in full."""
        return f"{self.name}_v{self.version}" if self.version is not None else self.name

    def feature(self, name: str) -> Feature | None:
        """Return the feature of that name, or None."""
        return next((feature for feature in self.features if feature.name == name), None)

    def dtype(self, column: str) -> DType | None:
        """Return the declared type of a column, or None."""
        return next((dtype for name, dtype in self.columns if name == column), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """A feature view as a service joins it: once per role.

    `keys` are (the view's join column, the label column that holds its value), in the order of the view's
    join keys; `prefix` starts the names of its feature columns.
    """

    view: str
    prefix: str
    features: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]
    role: str | None = None

    def column(self, feature: str) -> str:
        """Return the name of a feature's column in training sets and lookups."""
        return f"{self.prefix}__{feature}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureService:
    """The features one model needs, in order: an exposure of `type: ml`.

    `request_keys` are the label columns a training set must bring and a lookup must name, with their types.
    `aliases` are further names accepted for a request key (an entity's own name). `labels` is the dbt model of the
    labels, `model` or `model.v2`, if the service names one.
    """

    name: str
    unique_id: str = ""
    views: tuple[ServiceView, ...]
    request_keys: tuple[Key, ...]
    aliases: Mapping[str, str] = field(default_factory=_empty, hash=False)
    label_timestamp: str | None = None
    labels: str | None = None
    description: str = ""
    owner: Owner = field(default_factory=Owner)
    tags: tuple[str, ...] = ()
    maturity: str = ""
    yaml_path: str = ""
    ignore: tuple[Ignore, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The feature columns, in training order."""
        return tuple(view.column(feature) for view in self.views for feature in view.features)


class Severity(StrEnum):
    """The weight of a finding: an error fails, a warning fails with `--strict`, a note never does."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A violation that a check found: the message, its subject, its place and how to fix it.

    `name` is the model, view, feature (`view.feature`), service or entity it is about, `key` the place in its YAML
    (`config.meta.featurelayer.ttl`). `file` is relative to the project, `line` counts from 1, 0 where none is known.
    `details` are further lines for a reader, such as the lineages of two features. A check leaves `code`, and `fix`
    and `severity` where they are its own, to the runner.

    `owner` is the view or service whose `ignore` may suppress the finding and whose YAML `key` is in. `others` are
    further views or features that it is about: `-s` and `ignore` apply to them as well. With `each` it is about all of
    `others`, and suppressed only if each of them is.
    """

    message: str
    code: str = ""
    severity: Severity = Severity.WARNING
    fix: str = ""
    name: str = ""
    file: str = ""
    line: int = 0
    key: str = ""
    details: tuple[str, ...] = ()
    owner: str = field(default="", compare=False)
    others: tuple[str, ...] = field(default=(), compare=False)
    each: bool = field(default=False, compare=False)
