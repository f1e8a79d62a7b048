"""The registry: every entity, feature view and feature service of a project, immutable, looked up with suggestions."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from featurelayer.durations import microseconds
from featurelayer.errors import ArtifactError, PlanError, Problem, UnknownNameError
from featurelayer.model import DType, Entity, Feature, FeatureService, FeatureView
from featurelayer.services import (
    ServiceEntry,
    assemble_joins,
    find_view,
    reference_problem,
    split_reference,
    view_names,
)

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Everything the annotations of one dbt project say.

    `views` are keyed by `view.id`: `orders`, or `orders.v2` for a version of a model. `manifest_hash` is
    the sha256 of the manifest's bytes, `generated_at` dbt's own text.
    """

    project: str
    adapter: str
    dbt_version: str
    invocation_id: str
    generated_at: str
    manifest_hash: str
    entities: Mapping[str, Entity]
    views: Mapping[str, FeatureView]
    services: Mapping[str, FeatureService]

    def view(self, name: str) -> FeatureView:
        """Return the view of that id; the bare name of a versioned view means its latest version.

        Raises:
            UnknownNameError: there is none; the message suggests the nearest.
        """
        found = find_view(self.views, name)
        if found is None:
            raise UnknownNameError("feature view", name, view_names(self.views))
        return found

    def entity(self, name: str) -> Entity:
        """Return the entity of that name, or raise UnknownNameError."""
        if name not in self.entities:
            raise UnknownNameError("entity", name, self.entities)
        return self.entities[name]

    def service(self, name: str) -> FeatureService:
        """Return the feature service of that name, or raise UnknownNameError."""
        if name not in self.services:
            raise UnknownNameError("feature service", name, self.services)
        return self.services[name]

    def feature(self, reference: str) -> tuple[FeatureView, Feature]:
        """Return the view and the feature that `view.feature` or `view.v2.feature` names.

        Raises:
            UnknownNameError: there is no such view, or it has no such feature.
        """
        view_name, feature_name = split_reference(reference) or (reference, "")
        view = self.view(view_name)
        feature = view.feature(feature_name)
        if feature is None:
            known = (f"{view_name}.{known.name}" for known in view.features)
            raise UnknownNameError("feature", reference, known)
        return view, feature

    def adhoc_service(self, names: Sequence[str], label_timestamp: str | None = None) -> FeatureService:
        """Return a nameless service of the features `view.feature` or `view.*`, as `--features` takes them.

        Raises:
            PlanError: with every name that means nothing.
        """
        problems: list[Problem] = []
        entries = []
        for name in names:
            parts = split_reference(name)
            if parts is None:
                problems.append(reference_problem(name))
            else:
                entries.append(ServiceEntry(view=parts[0], features=(parts[1],)))
        assembly = assemble_joins(entries, views=self.views, entities=self.entities, label_timestamp=label_timestamp)
        problems += assembly.problems
        if not names:
            problems.append(Problem(what="no feature is named", fix="Name features as view.feature or view.*"))
        if problems:
            raise PlanError(problems)
        return FeatureService(
            name="",
            views=assembly.views,
            request_keys=assembly.request_keys,
            aliases=assembly.aliases,
            label_timestamp=label_timestamp,
        )

    def to_json(self) -> bytes:
        """Return the registry as JSON that `from_json` reads back to an equal registry."""
        return json.dumps({"format": _FORMAT, **_encode(self)}, allow_nan=False, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Registry:
        """Return the registry that `to_json` wrote.

        Raises:
            ArtifactError: the bytes are not a registry that this version of featurelayer can read.
        """
        try:
            document = json.loads(data)
            if document.pop("format") != _FORMAT:
                raise ValueError("another format")
            return typing.cast("Registry", _decode(cls, document))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"this is not a registry that this version of featurelayer can read ({error})\n"
                "  fix  Write it again with this version."
            ) from error


def _encode(value: Any) -> Any:
    """Return a value of the domain as JSON; what JSON has no word for becomes `{"$type": text}`."""
    match value:
        case DType():
            return str(value)
        case timedelta():
            return microseconds(value)
        case _ if dataclasses.is_dataclass(value):
            kinds = _field_types(value.__class__)
            return {name: _encode_field(kind, getattr(value, name)) for name, kind in kinds.items()}
        case Mapping():
            return {key: _encode(item) for key, item in value.items()}
        case tuple() | list():
            return [_encode(item) for item in value]
        case _:
            return value


def _encode_field(kind: Any, value: Any) -> Any:
    return _encode_any(value) if kind in (Any, Mapping[str, Any]) else _encode(value)


def _encode_any(value: Any) -> Any:
    match value:
        case float() if value != value or value in (float("inf"), float("-inf")):
            return {"$float": repr(value)}
        case Decimal():
            return {"$decimal": str(value)}
        case datetime():
            return {"$timestamp": value.isoformat()}
        case date():
            return {"$date": value.isoformat()}
        case bytes():
            return {"$bytes": value.hex()}
        case tuple() | list():
            return [_encode_any(item) for item in value]
        case Mapping():
            return {key: _encode_any(item) for key, item in value.items()}
        case _:
            return value


_READERS: Mapping[str, typing.Callable[[str], Any]] = {
    "$float": float,
    "$decimal": Decimal,
    "$timestamp": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$bytes": bytes.fromhex,
}


def _decode_any(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode_any(item) for item in value]
    if isinstance(value, dict):
        if len(value) == 1 and (reader := _READERS.get(next(iter(value)))):
            return reader(next(iter(value.values())))
        return {key: _decode_any(item) for key, item in value.items()}
    return value


@functools.cache
def _field_types(cls: type) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


def _decode(expected: Any, value: Any) -> Any:
    """Return JSON as a value of the expected type of the domain."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if expected is Any:
        return _decode_any(value)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _decode(next(kind for kind in arguments if kind is not types.NoneType), value)
    if expected is DType:
        return DType.parse(value)
    if expected is timedelta:
        return timedelta(microseconds=value)
    if dataclasses.is_dataclass(expected):
        fields = _field_types(typing.cast("type", expected))
        return typing.cast("Any", expected)(**{name: _decode(fields[name], item) for name, item in value.items()})
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_decode(arguments[0], item) for item in value)
        return tuple(_decode(kind, item) for kind, item in zip(arguments, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return MappingProxyType({key: _decode(arguments[1], item) for key, item in value.items()})
    return value
