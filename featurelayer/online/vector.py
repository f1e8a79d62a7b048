"""The result of a lookup: values in training order, each with its status, event time and age."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from featurelayer.durations import format_age
from featurelayer.online.codec import moment_at


class Status(StrEnum):
    """How a feature came to its value."""

    PRESENT = "present"  # stored, and young enough
    NULL = "null"  # stored as NULL; never replaced by a default
    MISSING = "missing"  # nothing is stored for this key: the default, else None
    EXPIRED = "expired"  # older than the view's TTL: the default, else None
    STALE = "stale"  # the view has not been refreshed in time; the view's `on_stale` decides the value
    CORRUPT = "corrupt"  # the stored item can't be read, and the client has `on_corrupt="null"`: None


class FeatureValue(msgspec.Struct, frozen=True, kw_only=True):
    """One feature: `event_time` is when the value became true (aware, UTC), `age` is how long ago that was.

    An event before year 1 or after 9999 has an age and no `event_time`, which no `datetime` can hold.
    """

    value: Any
    status: Status
    event_time: datetime | None
    age: timedelta | None


class ViewPart(msgspec.Struct, frozen=True, gc=False):
    """How the features of one view, `size` of them in a row, came to their values.

    `statuses` is one for all, or one per feature. PRESENT for all means NULL for those that are None: it is told apart
    only when it is asked for.
    """

    size: int
    statuses: Status | Sequence[Status]
    event_time: int | None

    def each(self, values: Sequence[Any]) -> Iterator[tuple[Any, Status, int | None]]:
        """Yield value, status and event time of each feature."""
        for position, value in enumerate(values):
            status = self.statuses if isinstance(self.statuses, Status) else self.statuses[position]
            if status is Status.PRESENT and value is None:
                status = Status.NULL
            yield value, status, None if status is Status.MISSING else self.event_time


class FeatureVector(Mapping[str, Any]):
    """The features of one request, by column name and in training order.

    A mapping from column to value: `vector["plane_legs__arr_delay"]`, `dict(vector)`. What stands behind a value is in
    `vector.features[...]`: `.status`, `.event_time`, `.age`.
    """

    __slots__ = ("_features", "_index", "_now", "_parts", "_values", "service")

    # Positional, because a lookup makes many.
    def __init__(
        self, service: str, index: Mapping[str, int], values: Sequence[Any], parts: Sequence[ViewPart], now: int, /
    ) -> None:
        self.service, self._index, self._values, self._parts, self._now = service, index, values, parts, now
        self._features: Mapping[str, FeatureValue] | None = None

    def __getitem__(self, column: str) -> Any:
        return self._values[self._index[column]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def features(self) -> Mapping[str, FeatureValue]:
        """Each column's value with its status, event time and age."""
        if self._features is None:
            rows = zip(self._index, self._each(), strict=True)
            self._features = MappingProxyType({column: self._feature(*row) for column, row in rows})
        return self._features

    def to_dict(self) -> dict[str, Any]:
        """Return the values by column."""
        return dict(zip(self._index, self._values, strict=True))

    def to_list(self) -> list[Any]:
        """Return the values in training order."""
        return list(self._values)

    def to_json(self) -> str:
        """Return the values by column as a JSON object, exactly: `docs/serving.md` has the convention by type.

        `ServiceDefinition.read_json` reads it back.
        """
        from featurelayer.online.portable_json import write_json

        return write_json(self._index, self._values)

    def __repr__(self) -> str:
        width = max(map(len, self._index), default=0)
        lines = [f"FeatureVector({self.service})"]
        for column, feature in self.features.items():
            age = f"  {format_age(feature.age)} old" if feature.age is not None else ""
            lines.append(f"  {column:<{width}}  {feature.value!r}  {feature.status}{age}")
        return "\n".join(lines)

    def _each(self) -> Iterator[tuple[Any, Status, int | None]]:
        start = 0
        for part in self._parts:
            yield from part.each(self._values[start : start + part.size])
            start += part.size

    def _feature(self, value: Any, status: Status, event_time: int | None) -> FeatureValue:
        if event_time is None:
            return FeatureValue(value=value, status=status, event_time=None, age=None)
        age = timedelta(microseconds=self._now - event_time)
        return FeatureValue(value=value, status=status, event_time=moment_at(event_time), age=age)
