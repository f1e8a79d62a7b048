"""How the lines of a feature service become joins: views in roles, their label columns, the names of their features.

Used for services that an exposure declares and for the ad hoc ones of `--features` alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from featurelayer.errors import Problem, did_you_mean
from featurelayer.model import Entity, FeatureView, JoinKey, Key, ServiceView

ALL = "*"


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
    """What the entries of a service amount to; usable only if there are no problems."""

    views: tuple[ServiceView, ...]
    request_keys: tuple[Key, ...]
    aliases: Mapping[str, str]
    problems: tuple[Problem, ...]


def split_reference(reference: str) -> tuple[str, str] | None:
    """Return (view, feature) of `view.feature`, `view.v2.feature` or `view.*`, or None if it is none of these."""
    view, _, feature = reference.strip().rpartition(".")
    return (view, feature) if view and feature else None


def reference_problem(reference: str, where: str = "") -> Problem:
    """Return the problem of a text that names no feature."""
    return Problem(
        what=f"'{reference}' does not name a feature",
        where=where,
        fix="Write view.feature, view.v2.feature or view.*",
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
    """Return the joins of a service: entries of one view, role and keys merged, in the order of first mention."""
    problems: list[Problem] = []
    joins: dict[tuple[str, str, tuple[tuple[str, str], ...]], _Join] = {}
    for entry in entries:
        view = find_view(views, entry.view)
        if view is None:
            known = view_names(views)
            what = f"there is no feature view '{entry.view}'{did_you_mean(entry.view, known)}"
            problems.append(
                Problem(what=what, where=entry.where, fix="List them with `featurelayer list views`.", code="FL302")
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
    """Return every name a view can be called by, for suggestions."""
    return [*views, *(view.name for view in views.values() if view.id != view.name)]


def _add_features(join: _Join, entry: ServiceEntry, problems: list[Problem]) -> None:
    known = [feature.name for feature in join.view.features]
    for name in entry.features:
        for wanted in known if name == ALL else [name]:
            if wanted in join.features:
                what = f"feature '{entry.view}.{wanted}' is named twice"
                problems.append(Problem(what=what, where=entry.where, fix="Remove one of the two.", code="FL601"))
            elif wanted not in known:
                what = f"feature view '{entry.view}' has no feature '{wanted}'{did_you_mean(wanted, known)}"
                fix = f"Its features: {', '.join(known) or 'none'}."
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
            problems.append(Problem(what=what, where=entry.where, fix="Remove one of the two.", code="FL107"))
        columns.append((join_key.column, entry.keys[given[0]] if given else join_key.key))
    known = [name for join_key in view.join_keys for name in key_names(join_key, entities)]
    for name in entry.keys:
        if name not in used:
            what = f"feature view '{entry.view}' has no key '{name}'{did_you_mean(name, known)}"
            fix = f"Its keys: {', '.join(join_key.key for join_key in view.join_keys)}."
            problems.append(Problem(what=what, where=entry.where, fix=fix, code="FL107"))
    if len({label for _, label in columns}) < len(columns):
        what = f"two keys of feature view '{entry.view}' would read the same label column"
        fix = "Name a label column for each under `keys`, as {entity.key: column}."
        problems.append(Problem(what=what, where=entry.where, fix=fix, code="FL107"))
    return tuple(columns)


def key_names(join_key: JoinKey, entities: Mapping[str, Entity]) -> list[str]:
    """Return what means this key in a service's `keys`: key, entity.key, and the entity if it has one."""
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
            fix = "Give each its own `role`."
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
                fix = "Map one of the two keys to another label column under `keys`."
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
                fix = "Give the view a `role`, or rename the label column."
                problems.append(Problem(what=what, where=join.where, fix=fix, code="FL602"))
            elif column in seen:
                what = f"two features would both be the column '{column}'"
                fix = "Give one of the views a `role`."
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
