"""A service compiled for lookups: requests to item keys, items to vectors. Pure, no store is called here.

The rules are those of training (design: point in time), applied at `now`: an item older than the view's TTL is expired,
exactly as old as the TTL is still valid; a row whose validity has ended is all NULL; a default replaces missing and
expired and never a NULL of the winning row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featurelayer.errors import PlanError, Problem, StaleFeature, StoredSchemaMismatch, did_you_mean
from featurelayer.online.base import Item, ItemKey
from featurelayer.online.codec import RowCodec, decode_value, dtype_of
from featurelayer.online.definitions import JoinedView, ServiceDefinition
from featurelayer.online.keys import encode_key_column, join_key, key_prefix
from featurelayer.online.vector import FeatureVector, Status

Codecs = Mapping[str, RowCodec]


class ServingPlan:
    """What every lookup of one service needs, worked out once."""

    __slots__ = ("_aliases", "_index", "_request_names", "definition", "label", "views", "watched")

    def __init__(self, definition: ServiceDefinition) -> None:
        self.definition = definition
        self.label = f"{definition.name}@{definition.fingerprint}"
        self.views = tuple(_ViewPlan(view) for view in definition.views)
        self.watched = tuple(dict.fromkeys(view.sk for view in definition.views if view.error_after is not None))
        self._index = {column: position for position, column in enumerate(definition.columns)}
        self._request_names = tuple(key.name for key in definition.request_keys)
        self._aliases = definition.aliases

    def item_keys(self, requests: Sequence[Mapping[str, Any]]) -> list[list[ItemKey | None]]:
        """Return, per request, the item key of each view; None where a part of the key is None.

        Raises:
            PlanError: request keys are missing or unknown; lists all of them.
            CodecError: a value is not of its key's type.
        """
        named = [self._named(request) for request in requests]
        problems = [problem for position, request in enumerate(named) for problem in self._problems(request, position)]
        if problems:
            raise PlanError(problems)
        return [[view.item_key(request) for view in self.views] for request in named]

    def stale_views(self, source_times: Mapping[str, int | None], now: int) -> frozenset[str]:
        """Return the `sk` of the views whose newest committed source time is older than their freshness allows.

        Raises:
            StaleFeature: such a view says `on_stale: raise`; names all of them.
        """
        stale = [view for view in self.definition.views if _is_stale(view, source_times.get(view.sk), now)]
        refused = [view for view in stale if view.on_stale == "raise"]
        if refused:
            raise StaleFeature("\n".join(
                f"view '{view.view}' is stale: its newest row is older than freshness.error_after and it says "
                "`on_stale: raise`\n  fix  build and export it again" for view in refused
            ))  # fmt: skip
        return frozenset(view.sk for view in stale)

    def vector(
        self,
        keys: Sequence[ItemKey | None],
        items: Mapping[ItemKey, Item],
        codecs: Codecs,
        stale: frozenset[str],
        now: int,
        horizon: int | None,
    ) -> FeatureVector:
        """Return the vector of one request from the items found for it; rows after `horizon` are not there yet."""
        values: list[Any] = []
        statuses: list[Status] = []
        event_times: list[int | None] = []
        for view, key in zip(self.views, keys, strict=True):
            item = items.get(key) if key is not None else None
            view_values, view_statuses, event_time = view.serve(
                item, codecs, stale=view.sk in stale, now=now, horizon=horizon
            )
            values += view_values
            statuses += view_statuses
            event_times += [event_time if status is not Status.MISSING else None for status in view_statuses]
        return FeatureVector(
            service=self.label, index=self._index, values=values, statuses=statuses, event_times=event_times, now=now
        )

    def _named(self, request: Mapping[str, Any]) -> dict[str, Any]:
        named: dict[str, Any] = {}
        for name, value in request.items():
            target = name if name in self._request_names else self._aliases.get(name, name)
            if target in named:
                raise PlanError([Problem(
                    what=f"request key '{target}' is given twice, once as an alias",
                    where=f"service {self.definition.name}", fix=f"leave out '{name}'",
                )])  # fmt: skip
            named[target] = value
        return named

    def _problems(self, request: Mapping[str, Any], position: int) -> list[Problem]:
        names, where = self._request_names, f"service {self.definition.name}, request {position}"
        needs = f"the request keys are {', '.join(names)}"
        unknown = [
            Problem(what=f"unknown request key '{name}'{did_you_mean(name, names)}", where=where, fix=needs)
            for name in request if name not in names
        ]  # fmt: skip
        missing = [
            Problem(what=f"request key '{name}' is missing", where=where, fix=f"{needs}; say None if it is unknown")
            for name in names if name not in request
        ]  # fmt: skip
        return unknown + missing


class _ViewPlan:
    __slots__ = (
        "_defaults", "_dtypes", "_names", "_on_stale", "_parts", "_prefix", "_projections", "_size", "sk", "ttl",
    )  # fmt: skip

    def __init__(self, view: JoinedView) -> None:
        self.sk, self.ttl, self._on_stale = view.sk, view.ttl, view.on_stale
        self._prefix = key_prefix(view.entities)
        self._parts = tuple((key.request, dtype_of(key.dtype)) for key in view.keys)
        self._names = tuple(feature.name for feature in view.features)
        self._dtypes = tuple(dtype_of(feature.dtype) for feature in view.features)
        self._defaults = [
            decode_value(dtype, feature.default) for dtype, feature in zip(self._dtypes, view.features, strict=True)
        ]
        self._size = len(self._names)
        self._projections: dict[str, tuple[int | None, ...]] = {}

    def item_key(self, request: Mapping[str, Any]) -> ItemKey | None:
        parts = []
        for name, dtype in self._parts:
            value = request[name]
            if value is None:
                return None
            parts += encode_key_column(dtype, [value], where=f"key '{name}'")
        return join_key(self._prefix, parts, where=f"key '{self._parts[0][0]}'"), self.sk

    def serve(
        self, item: Item | None, codecs: Codecs, *, stale: bool, now: int, horizon: int | None
    ) -> tuple[list[Any], list[Status], int | None]:
        """Return the values and statuses of the view's features, and the event time of the row."""
        if item is None or item.deleted:
            return self._fresh_defaults(), [Status.MISSING] * self._size, None
        event_time = item.event_time
        if horizon is not None and event_time is not None and event_time > horizon:
            return self._fresh_defaults(), [Status.MISSING] * self._size, None
        if self.ttl is not None and event_time is not None and event_time < now - self.ttl:
            return self._fresh_defaults(), [Status.EXPIRED] * self._size, event_time
        if item.valid_to is not None and item.valid_to <= now:
            return [None] * self._size, [Status.NULL] * self._size, event_time
        values, statuses = self._project(codecs[item.schema].decode(item.f), item, codecs)
        if stale:
            self._apply_staleness(values, statuses)
        return values, statuses, event_time

    def _fresh_defaults(self) -> list[Any]:
        """Return the defaults; arrays as copies, because the caller may change what it got."""
        return [list(default) if isinstance(default, list) else default for default in self._defaults]

    def _project(self, row: list[Any], item: Item, codecs: Codecs) -> tuple[list[Any], list[Status]]:
        """Pick the service's features out of a row by name: it may follow an older or newer schema than ours."""
        projection = self._projections.get(item.schema)
        if projection is None:
            projection = self._projections[item.schema] = self._projection(codecs[item.schema])
        if len(row) != len(codecs[item.schema].names):
            raise StoredSchemaMismatch(
                f"item {item.pk} of {item.sk} holds {len(row)} values, its schema {item.schema} has "
                f"{len(codecs[item.schema].names)}\n  fix  export the view again with --full"
            )
        values, statuses = [], []
        for position, default in zip(projection, self._fresh_defaults(), strict=True):
            if position is None:
                values.append(default)
                statuses.append(Status.MISSING)
                continue
            value = row[position]
            values.append(value)
            statuses.append(Status.PRESENT if value is not None else Status.NULL)
        return values, statuses

    def _projection(self, codec: RowCodec) -> tuple[int | None, ...]:
        """Return where each feature is in a row; None where it is not, or is of another kind of type by now."""
        known = {name: position for position, name in enumerate(codec.names)}
        positions = (known.get(name) for name in self._names)
        return tuple(
            position if position is not None and _same_kind(codec.dtypes[position], dtype) else None
            for position, dtype in zip(positions, self._dtypes, strict=True)
        )

    def _apply_staleness(self, values: list[Any], statuses: list[Status]) -> None:
        for position, status in enumerate(statuses):
            if status is Status.PRESENT:
                statuses[position] = Status.STALE
                if self._on_stale != "serve":
                    values[position] = self._fresh_defaults()[position] if self._on_stale == "default" else None


def _same_kind(stored: Any, wanted: Any) -> bool:
    if stored is None or wanted is None:
        return stored is wanted
    return stored.kind is wanted.kind and _same_kind(stored.element, wanted.element)


def _is_stale(view: JoinedView, source_time: int | None, now: int) -> bool:
    return view.error_after is not None and source_time is not None and source_time < now - view.error_after
