"""Definitions in the store: schemas, services, and the newest export of a view.

A schema lists the names and types that an item's array follows. It never changes: its fingerprint is its content. A
service is immutable in what decides the features, their order, types and values; its fingerprint covers that and leaves
out `error_after`, `on_stale` and the aliases of request keys, which may change without training again.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec

from featurelayer.errors import CodecError, CorruptItem, Problem, UnknownNameError
from featurelayer.online.base import Int64, Item, ItemKey, Moment
from featurelayer.online.codec import encode_default, parse_dtype
from featurelayer.online.keys import key_encoder, key_prefix
from featurelayer.online.rows import RowCodec, decode_value

if TYPE_CHECKING:
    from featurelayer.model import Feature, FeatureService, FeatureView, ServiceView

SCHEMAS, SERVICES, VIEWS = "#schema", "#service", "#view"

_encode = msgspec.json.Encoder(order="sorted").encode

T = TypeVar("T")


class Schema(msgspec.Struct, frozen=True):
    """The names and types of an array of values, in order."""

    features: tuple[tuple[str, str], ...]
    layout: str = "json-array"

    @property
    def fingerprint(self) -> str:
        return fingerprint(self)

    def codec(self) -> RowCodec:
        return _codec(self)

    def item(self) -> Item:
        return Item(pk=SCHEMAS, sk=self.fingerprint, version=0, f=_encode(self).decode())

    @classmethod
    def from_item(cls, item: Item) -> Schema:
        """Read a schema back.

        Raises:
            CorruptItem: it is not the schema of its name.
        """
        schema = decode_content(item, cls)
        with _map_errors(item):
            names = [name for name, _ in schema.features]
            if len(set(names)) < len(names) or schema.fingerprint != item.sk:
                raise ValueError("its content does not have the fingerprint that it is stored under")
            schema.codec()
        return schema


@functools.lru_cache(maxsize=1_000)
def _codec(schema: Schema) -> RowCodec:
    return RowCodec((name, parse_dtype(dtype)) for name, dtype in schema.features)


class JoinedFeature(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A feature of a service; `default` is as JSON holds it."""

    name: str
    dtype: str
    default: Any = None
    has_default: bool = False


class JoinedKey(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the key: the view's column and type, and the request key that brings the value."""

    column: str
    dtype: str
    request: str


class JoinedView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A view as a service joins it. Durations are microseconds."""

    view: str
    sk: str
    prefix: str
    entities: tuple[str, ...]
    keys: tuple[JoinedKey, ...]
    features: tuple[JoinedFeature, ...]
    ttl: Int64 | None = None
    error_after: Int64 | None = None
    on_stale: Literal["serve", "null", "default", "raise"] = "serve"

    def column(self, feature: str) -> str:
        return f"{self.prefix}__{feature}"


class RequestKey(msgspec.Struct, frozen=True, kw_only=True):
    """A value that a lookup must name, and its type."""

    name: str
    dtype: str


class ServiceDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that serving a service needs."""

    name: str
    request_keys: tuple[RequestKey, ...]
    views: tuple[JoinedView, ...]
    aliases: dict[str, str] = {}

    @property
    def fingerprint(self) -> str:
        content = msgspec.to_builtins(self)
        content.pop("aliases")
        for view in content["views"]:
            view.pop("error_after", None)
            view.pop("on_stale", None)
        return fingerprint(content)

    @property
    def columns(self) -> tuple[str, ...]:
        """Feature columns in training order."""
        return tuple(view.column(feature.name) for view in self.views for feature in view.features)

    @property
    def types(self) -> dict[str, str]:
        """Type by feature column."""
        return {view.column(feature.name): feature.dtype for view in self.views for feature in view.features}

    def read_json(self, text: str | bytes) -> dict[str, Any]:
        """Return the values by column that `FeatureVector.to_json` wrote.

        Raises:
            CodecError: it is not the JSON of a vector of this service; names the column.
        """
        from featurelayer.online.portable_json import read_json

        dtypes = (parse_dtype(feature.dtype) for view in self.views for feature in view.features)
        return read_json(dict(zip(self.columns, dtypes, strict=True)), text)

    def items(self, version: int) -> tuple[Item, Item]:
        """Return the definition under its fingerprint, and the pointer that an unpinned lookup follows."""
        text = _encode(self).decode()
        pinned = Item(pk=SERVICES, sk=f"{self.name}@{self.fingerprint}", version=version, f=text)
        # The version is part of the pointer's content: one with the same content must still win over older runs.
        current = _encode({"definition": self, "published": version}).decode()
        return pinned, Item(pk=SERVICES, sk=self.name, version=version, f=current)

    @classmethod
    def from_item(cls, item: Item) -> ServiceDefinition:
        """Read either of the two items back.

        Raises:
            CorruptItem: it is not a definition of this service that can be served.
        """
        definition = decode_content(item, cls) if "@" in item.sk else decode_content(item, _Pointer).definition
        with _map_errors(item):
            _validate_service(definition, item.sk.partition("@")[0])
        return definition


class _Pointer(msgspec.Struct):
    definition: ServiceDefinition
    published: int


class ViewCommit(msgspec.Struct, frozen=True, kw_only=True):
    """The newest complete export of a view: its time, when it had finished, and the greatest event time it has seen.

    `code` is a fingerprint of what computed the view; empty where that is not known, as after a rollback.
    """

    version: Moment
    as_of: Moment
    source_time: Int64 | None
    schema: str
    rows: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    finished: Moment = 0
    code: str = ""

    def item(self, sk: str) -> Item:
        pk, commit_sk = commit_key(sk)
        return Item(pk=pk, sk=commit_sk, version=self.version, as_of=self.as_of, f=_encode(self).decode())

    @classmethod
    def from_item(cls, item: Item) -> ViewCommit:
        return decode_content(item, cls)


class ViewRunStart(msgspec.Struct, frozen=True, kw_only=True):
    """The newest run that has begun to write a view: no item of it bears a greater version."""

    version: Moment
    run: str

    def item(self, sk: str) -> Item:
        pk, begun_sk = run_start_key(sk)
        return Item(pk=pk, sk=begun_sk, version=self.version, f=_encode(self).decode())

    @classmethod
    def from_item(cls, item: Item) -> ViewRunStart:
        return decode_content(item, cls)


class ViewKey(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a view's key."""

    column: str
    dtype: str


class ViewDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """The definition for writing a view's values. `ttl` is in microseconds; a static view has no TTL or event time."""

    view: str
    sk: str
    entities: tuple[str, ...]
    keys: tuple[ViewKey, ...]
    schema: Schema
    event_time: str | None = None
    ttl: Int64 | None = None
    published: int = 0

    def item(self, version: int) -> Item:
        # The version is part of the content: a definition with the same content must still win over older runs.
        text = _encode(msgspec.structs.replace(self, published=version)).decode()
        pk, sk = definition_key(self.view)
        return Item(pk=pk, sk=sk, version=version, f=text)

    @classmethod
    def from_item(cls, item: Item) -> ViewDefinition:
        """Read a definition back.

        Raises:
            CorruptItem: it is not one that values can be written by.
        """
        definition = decode_content(item, cls)
        with _map_errors(item):
            if definition_key(definition.view)[1] != item.sk:
                raise ValueError("it defines another view")
            key_prefix(definition.entities)
            for key in definition.keys:
                key_encoder(parse_dtype(key.dtype), where=key.column)
            definition.schema.codec()
        return definition


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The run that is exporting a view, when its lease ends, and when it wrote that (`told`), in microseconds."""

    run: str
    until: Int64
    told: Int64
    host: str
    process: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]

    def item(self, sk: str) -> Item:
        pk, lease_sk = lease_key(sk)
        return Item(pk=pk, sk=lease_sk, version=self.told, f=_encode(self).decode())

    @classmethod
    def from_item(cls, item: Item) -> Lease:
        return decode_content(item, cls)


def decode_content(item: Item, kind: type[T]) -> T:
    """Return the content of an item.

    Raises:
        CorruptItem: it is not of this kind.
    """
    with _map_errors(item):
        if item.damage:
            raise ValueError(item.damage)
        content = msgspec.json.decode(item.f, type=kind)
    return content


@contextmanager
def _map_errors(item: Item) -> Iterator[None]:
    """Turn whatever reading untrusted content raises into a CorruptItem that names the item."""
    try:
        yield
    except (msgspec.DecodeError, CodecError, ValueError, TypeError, ArithmeticError) as error:
        raise CorruptItem(str(error), pk=item.pk, sk=item.sk) from error
    except RecursionError as error:
        raise CorruptItem("it is nested too deeply", pk=item.pk, sk=item.sk) from error


def _validate_service(definition: ServiceDefinition, name: str) -> None:
    """Raise ValueError or CodecError unless lookups can follow the definition."""
    if definition.name != name:
        raise ValueError("it defines another service")
    if not definition.views:
        raise ValueError("it has no view")
    if len(set(definition.columns)) < len(definition.columns):
        raise ValueError("it has two features of one name")
    requests = {key.name for key in definition.request_keys}
    if len(requests) < len(definition.request_keys):
        raise ValueError("it has two request keys of one name")
    for view in definition.views:
        key_prefix(view.entities)
        if not view.keys:
            raise ValueError(f"view '{view.view}' has no key")
        for key in view.keys:
            key_encoder(parse_dtype(key.dtype), where=key.column)
            if key.request not in requests:
                raise ValueError(f"view '{view.view}' has the key '{key.request}', which is not a request key")
        for feature in view.features:
            decode_value(parse_dtype(feature.dtype), feature.default)


def fingerprint(content: Any) -> str:
    """Return 16 hexadecimal digits that name a content: the same on every machine and version."""
    return hashlib.sha256(_encode(content)).hexdigest()[:16]


def service_key(name: str) -> ItemKey:
    """Return the key of a service: `late_arrival` is the current one, `late_arrival@<fingerprint>` a pinned one."""
    return SERVICES, name


def commit_key(sk: str) -> ItemKey:
    """Return where the newest commit of a view is; apart from the view's own `sk`, which only values have."""
    return VIEWS, f"{sk}#commit"


def run_start_key(sk: str) -> ItemKey:
    """Return where the newest run is that has begun to write a view, whether it has finished or not."""
    return VIEWS, f"{sk}#begun"


def definition_key(view: str) -> ItemKey:
    """Return where it stands how a view, named by its id, is written to."""
    return VIEWS, f"{view}#definition"


def lease_key(sk: str) -> ItemKey:
    """Return where it stands who is exporting a view; it stays there when the work is done."""
    return VIEWS, f"{sk}#lease"


def view_sk(view: FeatureView) -> str:
    """Return the sort key of a view's items: `plane_legs@0`, or `plane_legs@2` for version 2."""
    return f"{view.name}@{view.version if view.version is not None else 0}"


def view_id(sk: str) -> str:
    """Return the view's id from its `sk`: `plane_legs@0` is `plane_legs`, `plane_legs@2` is `plane_legs.v2`."""
    name, at, version = sk.rpartition("@")
    return f"{name}.v{version}" if at and version != "0" else name or sk


def view_schema(view: FeatureView) -> Schema:
    """Return the schema of a view's items.

    Raises:
        CodecError: names every feature that the online store can't hold.
    """
    refused = [
        Problem(what=f"feature '{feature.name}' is {feature.dtype}, which the online store can't hold",
                where=f"{view.path or view.name} -> {view.id} -> {feature.name}",
                fix="cast it in the model, or set `feature: false`")
        for feature in view.features if not feature.dtype.is_storable
    ]  # fmt: skip
    if refused:
        raise CodecError(refused)
    return Schema(tuple((feature.name, str(feature.dtype)) for feature in view.features))


def view_definition(view: FeatureView) -> ViewDefinition:
    """Return the definition for writing the view's values.

    Raises:
        CodecError: names every feature that the online store can't hold.
    """
    from featurelayer.durations import microseconds

    return ViewDefinition(
        view=view.id,
        sk=view_sk(view),
        entities=view.entities,
        keys=tuple(ViewKey(column=key.column, dtype=str(key.dtype)) for key in view.join_keys),
        schema=view_schema(view),
        event_time=None if view.static else view.event_time,
        ttl=microseconds(view.ttl) if view.ttl is not None and not view.static else None,
    )


def service_definition(service: FeatureService, views: Mapping[str, FeatureView]) -> ServiceDefinition:
    """Return everything that serving `service` needs, from the service and its views by id.

    Raises:
        UnknownNameError: the service names a view or feature that `views` lacks.
        CodecError: a default does not fit its feature's type.
    """
    return ServiceDefinition(
        name=service.name,
        request_keys=tuple(RequestKey(name=key.name, dtype=str(key.dtype)) for key in service.request_keys),
        aliases=dict(service.aliases),
        views=tuple(_join_view(service, joined, _find("view", joined.view, views)) for joined in service.views),
    )


def _join_view(service: FeatureService, joined: ServiceView, view: FeatureView) -> JoinedView:
    from featurelayer.durations import microseconds

    requests = dict(joined.keys)
    features = {feature.name: feature for feature in view.features}
    error_after = view.freshness.error_after if view.freshness is not None else None
    return JoinedView(
        view=view.id,
        sk=view_sk(view),
        prefix=joined.prefix,
        entities=view.entities,
        keys=tuple(
            JoinedKey(column=key.column, dtype=str(key.dtype), request=_find("key of", key.column, requests, view.id))
            for key in view.join_keys
        ),
        features=tuple(
            _join_feature(view, _find("feature of", name, features, f"service {service.name}"))
            for name in joined.features
        ),
        ttl=microseconds(view.ttl) if view.ttl is not None and not view.static else None,
        error_after=microseconds(error_after) if error_after is not None else None,
        on_stale=view.on_stale,
    )


def _join_feature(view: FeatureView, feature: Feature) -> JoinedFeature:
    default = encode_default(feature.dtype, feature.default, where=f"{view.id}.{feature.name}")
    return JoinedFeature(
        name=feature.name,
        dtype=str(feature.dtype),
        default=default if feature.has_default else None,
        has_default=feature.has_default,
    )


def _find(kind: str, name: str, known: Mapping[str, Any], where: str = "") -> Any:
    if name not in known:
        raise UnknownNameError(kind, name, _names(known), where=where)
    return known[name]


def _names(known: Iterable[str]) -> list[str]:
    return sorted(known)
