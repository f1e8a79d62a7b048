"""The registry: an immutable index of entities, feature views and services, and the joins of a service.

The joins of a declared service and of an ad hoc one (`--features`) are assembled alike.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from featurelayer.durations import microseconds
from featurelayer.errors import ArtifactError, PlanError, Problem, UnknownNameError, did_you_mean
from featurelayer.model import DType, Entity, Feature, FeatureService, FeatureView, JoinKey, Key, ServiceView

ALL = "*"
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The entities, feature views and feature services of one dbt project.

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
            problems.append(Problem(what="no features given", fix="name features as view.feature or view.*"))
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
                f"this is not a registry that this version of featurelayer can read ({error})",
                fix="write it again with this version",
            ) from error


# The joins of a service: views in roles, their label columns, the names of their feature columns


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """One line of a service: which features of which view, in which role.

    `features` may be `("*",)`. `keys` maps an entity's key (or the entity, if it has one key) to a label
    column. `where` is the line's place in the YAML.
    """

    view: str
    features: tuple[str, ...]
    role: str | None = None
    keys: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """The joins of a service; usable only if there are no problems."""

    views: tuple[ServiceView, ...]
    request_keys: tuple[Key, ...]
    aliases: Mapping[str, str]
    problems: tuple[Problem, ...]


def split_reference(reference: str) -> tuple[str, str] | None:
    """Split `view.feature`, `view.v2.feature` or `view.*` into view and feature; None for anything else."""
    view, _, feature = reference.strip().rpartition(".")
    return (view, feature) if view and feature else None


def reference_problem(reference: str, where: str = "") -> Problem:
    """Return the problem with a text that does not name a feature."""
    return Problem(
        what=f"'{reference}' does not name a feature",
        where=where,
        fix="write view.feature, view.v2.feature or view.*",
        code="FL302",
    )


def find_view(views: Mapping[str, FeatureView], name: str) -> FeatureView | None:
    """Return the view of that id, or the latest version of that name, or None."""
    if name in views:
        return views[name]
    return next((view for view in views.values() if view.name == name and view.is_latest), None)


def assemble_joins(
    entries: Iterable[ServiceEntry],
    *,
    views: Mapping[str, FeatureView],
    entities: Mapping[str, Entity],
    label_timestamp: str | None = None,
) -> Assembly:
    """Merge the entries of a service that share view, role and keys into joins, in the order of first mention."""
    problems: list[Problem] = []
    joins: dict[tuple[str, str, tuple[tuple[str, str], ...]], _Join] = {}
    for entry in entries:
        view = find_view(views, entry.view)
        if view is None:
            known = view_names(views)
            what = f"there is no feature view '{entry.view}'{did_you_mean(entry.view, known)}"
            problems.append(
                Problem(what=what, where=entry.where, fix="list them with `featurelayer list views`", code="FL302")
            )
            continue
        keys = _label_columns(entry, view, entities, problems)
        prefix = entry.role or (view.prefix if entry.view == view.id else view.name)
        join = joins.setdefault((view.id, prefix, keys), _Join(view, prefix, entry.role, keys, entry.where, []))
        _add_features(join, entry, problems)
    _check_prefixes(joins.values(), problems)
    request_keys = _request_keys(joins.values(), entities, problems)
    _check_collisions(joins.values(), request_keys, label_timestamp, problems)
    return Assembly(
        views=tuple(join.as_service_view() for join in joins.values()),
        request_keys=request_keys,
        aliases=MappingProxyType(_aliases(joins.values(), entities, {key.name for key in request_keys})),
        problems=tuple(problems),
    )


@dataclass(slots=True)
class _Join:
    view: FeatureView
    prefix: str
    role: str | None
    keys: tuple[tuple[str, str], ...]
    where: str
    features: list[str]

    def as_service_view(self) -> ServiceView:
        return ServiceView(
            view=self.view.id, prefix=self.prefix, features=tuple(self.features), keys=self.keys, role=self.role
        )


def view_names(views: Mapping[str, FeatureView]) -> list[str]:
    """Return every name that a view has, for suggestions."""
    return [*views, *(view.name for view in views.values() if view.id != view.name)]


def _add_features(join: _Join, entry: ServiceEntry, problems: list[Problem]) -> None:
    known = [feature.name for feature in join.view.features]
    for name in entry.features:
        for wanted in known if name == ALL else [name]:
            if wanted in join.features:
                what = f"feature '{entry.view}.{wanted}' is named twice"
                problems.append(Problem(what=what, where=entry.where, fix="remove one of the two", code="FL601"))
            elif wanted not in known:
                what = f"feature view '{entry.view}' has no feature '{wanted}'{did_you_mean(wanted, known)}"
                fix = f"its features: {', '.join(known) or 'none'}"
                problems.append(Problem(what=what, where=entry.where, fix=fix, code="FL302"))
            else:
                join.features.append(wanted)


def _label_columns(
    entry: ServiceEntry, view: FeatureView, entities: Mapping[str, Entity], problems: list[Problem]
) -> tuple[tuple[str, str], ...]:
    """Return (join column, label column) for each join key of the view."""
    columns, used = [], set()
    for join_key in view.join_keys:
        spellings = key_names(join_key, entities)
        given = [name for name in spellings if name in entry.keys]
        used.update(given)
        if len(given) > 1:
            what = f"the key of '{join_key.entity}' is given twice: as {' and as '.join(repr(name) for name in given)}"
            problems.append(Problem(what=what, where=entry.where, fix="remove one of the two", code="FL107"))
        columns.append((join_key.column, entry.keys[given[0]] if given else join_key.key))
    known = [name for join_key in view.join_keys for name in key_names(join_key, entities)]
    for name in entry.keys:
        if name not in used:
            what = f"feature view '{entry.view}' has no key '{name}'{did_you_mean(name, known)}"
            fix = f"its keys: {', '.join(join_key.key for join_key in view.join_keys)}"
            problems.append(Problem(what=what, where=entry.where, fix=fix, code="FL107"))
    if len({label for _, label in columns}) < len(columns):
        what = f"two keys of feature view '{entry.view}' would read the same label column"
        fix = "name a label column for each under `keys`, as {entity.key: column}"
        problems.append(Problem(what=what, where=entry.where, fix=fix, code="FL107"))
    return tuple(columns)


def key_names(join_key: JoinKey, entities: Mapping[str, Entity]) -> list[str]:
    """Return the names of a key in a service's `keys`: key, entity.key, and the entity if it has one key."""
    names = [join_key.key, f"{join_key.entity}.{join_key.key}"]
    entity = entities.get(join_key.entity)
    if entity is not None and len(entity.keys) == 1:
        names.append(join_key.entity)
    return list(dict.fromkeys(names))


def _check_prefixes(joins: Iterable[_Join], problems: list[Problem]) -> None:
    first: dict[str, _Join] = {}
    for join in joins:
        # Engines fold case: `Home` and `home` would be one table to them.
        other = first.setdefault(join.prefix.casefold(), join)
        if other is not join:
            what = f"two joins ({other.view.id} and {join.view.id}) would both name their columns '{join.prefix}__...'"
            fix = "give each its own `role`"
            problems.append(Problem(what=what, where=join.where, fix=fix, code="FL602"))


def _request_keys(joins: Iterable[_Join], entities: Mapping[str, Entity], problems: list[Problem]) -> tuple[Key, ...]:
    keys: dict[str, Key] = {}
    for join in joins:
        for join_key, (_, label) in zip(join.view.join_keys, join.keys, strict=True):
            declared = entities.get(join_key.entity)
            dtype = (
                next((key.dtype for key in declared.keys if key.name == join_key.key), join_key.dtype)
                if declared
                else join_key.dtype
            )
            known = keys.setdefault(label, Key(name=label, dtype=dtype))
            if not known.dtype.joins(dtype):
                what = (
                    f"label column '{label}' would be both {known.dtype} and {dtype} ({join.view.id}.{join_key.column})"
                )
                fix = "map one of the two keys to another label column under `keys`"
                problems.append(Problem(what=what, where=join.where, fix=fix, code="FL304"))
    return tuple(keys.values())


def _check_collisions(
    joins: Iterable[_Join], request_keys: tuple[Key, ...], label_timestamp: str | None, problems: list[Problem]
) -> None:
    taken = {key.name.casefold() for key in request_keys} | {(label_timestamp or "").casefold()}
    seen: set[str] = set()
    for join in joins:
        for feature in join.features:
            column = f"{join.prefix}__{feature}".casefold()
            if column in taken:
                what = (
                    f"the column of feature '{join.view.id}.{feature}' would be named like the label column '{column}'"
                )
                fix = "give the view a `role`, or rename the label column"
                problems.append(Problem(what=what, where=join.where, fix=fix, code="FL602"))
            elif column in seen:
                what = f"two features would both be the column '{column}'"
                fix = "give one of the views a `role`"
                problems.append(Problem(what=what, where=join.where, fix=fix, code="FL602"))
            seen.add(column)


def _aliases(joins: Iterable[_Join], entities: Mapping[str, Entity], request_keys: set[str]) -> dict[str, str]:
    """Return the entity names that may stand for a request key: one key, no role, no other meaning."""
    meanings: dict[str, set[str]] = {}
    for join in joins:
        if join.role is not None:
            continue
        for join_key, (_, label) in zip(join.view.join_keys, join.keys, strict=True):
            entity = entities.get(join_key.entity)
            if entity is not None and len(entity.keys) == 1:
                meanings.setdefault(entity.name, set()).add(label)
    return {
        name: next(iter(labels)) for name, labels in meanings.items() if len(labels) == 1 and name not in request_keys
    }


# JSON


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
