"""A service compiled for lookups: requests to item keys, items to vectors. Pure, no store is called here.

The rules are those of training (design: point in time), applied at `now`: an item older than the view's TTL is expired,
exactly as old as the TTL is still valid; a row whose validity has ended is all NULL; a default replaces missing and
expired and never a NULL of the winning row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from featurelayer.errors import CodecError, CorruptItem, PlanError, Problem, StaleFeature, did_you_mean
from featurelayer.online.arguments import plain_keys
from featurelayer.online.base import Item, ItemKey
from featurelayer.online.codec import parse_dtype
from featurelayer.online.definitions import JoinedView, ServiceDefinition
from featurelayer.online.keys import encode_key_column, join_key, key_prefix
from featurelayer.online.rows import RowCodec, decode_value
from featurelayer.online.vector import FeatureVector, Status, ViewPart

Codecs = Mapping[str, RowCodec]

# The values of a view's features, and how they came about.
_Served = tuple[Sequence[Any], ViewPart]

OnCorrupt = Callable[[CorruptItem], None]
"""Is told of each corrupt item that a lookup meets; what it raises ends the lookup."""


class LookupPlan:
    """The plan of a service's lookups, computed once."""

    __slots__ = ("_aliases", "_index", "_request_names", "definition", "label", "views", "watched")

    def __init__(self, definition: ServiceDefinition) -> None:
        self.definition = definition
        self.label = f"{definition.name}@{definition.fingerprint}"
        self.views = tuple(_ViewPlan(view) for view in definition.views)
        self.watched = tuple(dict.fromkeys(view.sk for view in definition.views if view.error_after is not None))
        self._index = {column: position for position, column in enumerate(definition.columns)}
        self._request_names = dict.fromkeys(key.name for key in definition.request_keys).keys()
        self._aliases = definition.aliases

    def item_keys(self, requests: Sequence[Mapping[str, Any]]) -> list[list[ItemKey | None]]:
        """Return, per view, the item key of each request; None where a part of the key is None.

        Raises:
            PlanError: request keys are missing or unknown; lists all of them.
            CodecError: a value is not of its key's type.
        """
        names = self._request_names
        if any(request.keys() != names for request in requests):
            requests = [self._resolve_aliases(request) for request in requests]
            problems = [
                problem
                for position, request in enumerate(requests)
                for problem in self._find_problems(request, position)
            ]
            if problems:
                raise PlanError(problems)
        texts: dict[_KeySpec, list[str | None]] = {}  # views of one entity share the text of its key
        columns = []
        for view in self.views:
            pks = texts.get(view.key)
            if pks is None:
                pks = texts[view.key] = view.key.texts(requests)
            columns.append([(pk, view.sk) if pk is not None else None for pk in pks])
        return columns

    def stale_views(self, source_times: Mapping[str, int | None], now: int) -> frozenset[str]:
        """Return the `sk` of the views whose newest committed source time is older than their freshness allows.

        Raises:
            StaleFeature: such a view has `on_stale: raise`; names all of them.
        """
        stale = [view for view in self.definition.views if _is_stale(view, source_times.get(view.sk), now)]
        refused = [view for view in stale if view.on_stale == "raise"]
        if refused:
            raise StaleFeature(
                Problem(
                    what=f"view '{view.view}' is stale: its newest row is older than freshness.error_after and it has "
                    "`on_stale: raise`",
                    fix="build and export it again",
                )
                for view in refused
            )
        return frozenset(view.sk for view in stale)

    def mismatches(self, stored: Mapping[str, RowCodec]) -> list[str]:
        """Return the features that the newest exports, by `sk`, lack or hold in another type."""
        return [
            problem for view in self.views if view.sk in stored
            for problem in view.mismatches(stored[view.sk])
        ]  # fmt: skip

    def vectors(
        self,
        keys: Sequence[Sequence[ItemKey | None]],
        items: Mapping[ItemKey, Item],
        codecs: Codecs,
        stale: frozenset[str],
        now: int,
        horizon: int | None,
        on_corrupt: OnCorrupt,
    ) -> list[FeatureVector]:
        """Return the requests' vectors from what was found for the keys; rows after `horizon` are not there yet."""
        served = [
            view.serve(column, items, codecs, stale=view.sk in stale, now=now, horizon=horizon, on_corrupt=on_corrupt)
            for view, column in zip(self.views, keys, strict=True)
        ]
        label, index = self.label, self._index
        if len(served) == 1:
            return [FeatureVector(label, index, values, (part,), now) for values, part in served[0]]
        vectors = []
        for row in zip(*served, strict=True):
            joined: list[Any] = []
            for values, _ in row:
                joined += values
            vectors.append(FeatureVector(label, index, joined, [part for _, part in row], now))
        return vectors

    def _resolve_aliases(self, request: Mapping[str, Any]) -> dict[str, Any]:
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

    def _find_problems(self, request: Mapping[str, Any], position: int) -> list[Problem]:
        names, where = self._request_names, f"service {self.definition.name}, request {position}"
        fix = f"pass the request keys {', '.join(names)}"
        unknown = [
            Problem(what=f"unknown request key '{name}'{did_you_mean(str(name), names)}", where=where, fix=fix)
            for name in request if name not in names
        ]  # fmt: skip
        missing = [
            Problem(what=f"request key '{name}' is missing", where=where, fix=f"{fix}; None if it is unknown")
            for name in names if name not in request
        ]  # fmt: skip
        return unknown + missing


class _KeySpec:
    """Which request keys make an entity's key, and of which types."""

    __slots__ = ("_identity", "_parts", "_prefix")

    def __init__(self, view: JoinedView) -> None:
        self._prefix = key_prefix(view.entities)
        self._parts = tuple((key.request, parse_dtype(key.dtype)) for key in view.keys)
        self._identity = (self._prefix, self._parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _KeySpec) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._prefix)

    def texts(self, requests: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """Return each request's key as text, None where a part is None."""
        columns = [_encode_key(dtype, [request[name] for request in requests], name) for name, dtype in self._parts]
        where = f"key '{self._parts[0][0]}'"
        return [
            join_key(self._prefix, parts, where=where) if None not in parts else None
            for parts in zip(*columns, strict=True)
        ]


def _encode_key(dtype: Any, values: list[Any], name: str) -> list[Any]:
    where = f"key '{name}'"
    try:
        return encode_key_column(dtype, values, where=where)
    except CodecError:  # the usual keys need no second look
        return encode_key_column(dtype, plain_keys(values, whole=dtype.kind in ("int", "uint")), where=where)


class _ViewPlan:
    __slots__ = (
        "_absent", "_defaults", "_dtypes", "_names", "_on_stale", "_present", "_projections", "_size", "key", "sk",
        "ttl",
    )  # fmt: skip

    def __init__(self, view: JoinedView) -> None:
        self.sk, self.ttl, self._on_stale = view.sk, view.ttl, view.on_stale
        self.key = _KeySpec(view)
        self._names = tuple(feature.name for feature in view.features)
        self._dtypes = tuple(parse_dtype(feature.dtype) for feature in view.features)
        self._defaults = [
            decode_value(dtype, feature.default) for dtype, feature in zip(self._dtypes, view.features, strict=True)
        ]
        self._size = len(self._names)
        self._absent = ViewPart(self._size, Status.MISSING, None)
        self._projections: dict[str, _Projection] = {}

    def serve(
        self,
        keys: Sequence[ItemKey | None],
        items: Mapping[ItemKey, Item],
        codecs: Codecs,
        *,
        stale: bool,
        now: int,
        horizon: int | None,
        on_corrupt: OnCorrupt,
    ) -> list[_Served]:
        """Return, per key, the values of the view's features and how they came about."""
        served: list[_Served] = []
        schema: str | None = None
        size, oldest = self._size, now - self.ttl if self.ttl is not None else None
        for key in keys:
            item = items.get(key) if key is not None else None
            if item is None or item.deleted:
                served.append((self._fresh_defaults(), self._absent))
                continue
            event_time = item.event_time
            if event_time is not None:
                if horizon is not None and event_time > horizon:
                    served.append((self._fresh_defaults(), self._absent))
                    continue
                if oldest is not None and event_time < oldest:
                    served.append((self._fresh_defaults(), ViewPart(size, Status.EXPIRED, event_time)))
                    continue
            if item.valid_to is not None and item.valid_to <= now:
                served.append(([None] * size, ViewPart(size, Status.NULL, event_time)))
                continue
            try:
                if item.schema != schema:  # almost always the same for all
                    codec, projection = self._projection(item, codecs)
                    schema = item.schema
                values = codec.row(item.f, item.pk, item.sk)
                if projection.absent:
                    values = [*values, *self._fresh_defaults()]
                if projection.pick is not None:
                    values = projection.pick(values)
                statuses = projection.statuses
            except CorruptItem as error:
                on_corrupt(error)
                served.append(([None] * size, ViewPart(size, Status.CORRUPT, None)))
                continue
            if stale:
                values, statuses = self._apply_on_stale(values, statuses)
            served.append((values, ViewPart(size, statuses, event_time)))
        return served

    def _fresh_defaults(self) -> list[Any]:
        """Return the defaults; arrays as copies, because the caller may change what it got."""
        return [list(default) if isinstance(default, list) else default for default in self._defaults]

    def _projection(self, item: Item, codecs: Codecs) -> tuple[RowCodec, _Projection]:
        """Return how to read rows like the item's, by name: they may follow an older or newer schema than ours."""
        codec = codecs.get(item.schema)
        if codec is None:
            what = item.damage or f"it follows the schema '{item.schema}', which the store does not hold"
            raise CorruptItem(what, pk=item.pk, sk=item.sk)
        projection = self._projections.get(item.schema)
        if projection is None:
            projection = self._projections[item.schema] = _Projection(self._positions(codec), len(codec.names))
        return codec, projection

    def mismatches(self, codec: RowCodec) -> list[str]:
        """Return which features a schema lacks, or has in a type of another kind."""
        types = dict(zip(codec.names, codec.dtypes, strict=True))
        problems = []
        for name, dtype in zip(self._names, self._dtypes, strict=True):
            if name not in types:
                problems.append(f"{self.sk}: feature '{name}' is no longer exported")
            elif not _is_same_kind(types[name], dtype):
                problems.append(f"{self.sk}: feature '{name}' was {dtype} and is {types[name]} by now")
        return problems

    def _positions(self, codec: RowCodec) -> tuple[int | None, ...]:
        """Return where each feature is in a row; None where it is not, or is of another kind of type by now."""
        known = {name: position for position, name in enumerate(codec.names)}
        positions = (known.get(name) for name in self._names)
        return tuple(
            position if position is not None and _is_same_kind(codec.dtypes[position], dtype) else None
            for position, dtype in zip(positions, self._dtypes, strict=True)
        )

    def _apply_on_stale(
        self, values: Sequence[Any], statuses: Status | Sequence[Status]
    ) -> tuple[Sequence[Any], Sequence[Status]]:
        """Apply `on_stale` to stored values that are not NULL."""
        part = ViewPart(self._size, statuses, None)
        told = [status for _, status, _ in part.each(values)]
        stale = [Status.STALE if status is Status.PRESENT else status for status in told]
        if self._on_stale == "serve":
            return values, stale
        instead = self._fresh_defaults() if self._on_stale == "default" else [None] * self._size
        rows = zip(values, instead, stale, strict=True)
        return [other if status is Status.STALE else value for value, other, status in rows], stale


class _Projection:
    """Where the features are in a row that is followed by the defaults."""

    __slots__ = ("absent", "pick", "statuses")

    def __init__(self, positions: Sequence[int | None], width: int) -> None:
        self.absent = None in positions
        places = [width + number if place is None else place for number, place in enumerate(positions)]
        self.pick: Callable[[Sequence[Any]], Sequence[Any]] | None = None  # the whole row, as it is
        if places == list(range(width)):
            pass
        elif len(places) == 1:
            self.pick = itemgetter(slice(places[0], places[0] + 1))
        else:
            self.pick = itemgetter(*places)
        self.statuses: Status | Sequence[Status] = Status.PRESENT
        if self.absent:
            self.statuses = [Status.MISSING if place is None else Status.PRESENT for place in positions]


def _is_same_kind(stored: Any, wanted: Any) -> bool:
    if stored is None or wanted is None:
        return stored is wanted
    return stored.kind is wanted.kind and _is_same_kind(stored.element, wanted.element)


def _is_stale(view: JoinedView, source_time: int | None, now: int) -> bool:
    return view.error_after is not None and source_time is not None and source_time < now - view.error_after
