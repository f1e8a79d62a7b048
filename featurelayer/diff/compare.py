"""Compare two states of a project: features first, then services.

The meaning of a feature is its fingerprint (the computation from the sources to the column, and the choice of rows)
together with the annotations that decide which row a label gets. An edit that changes neither is cosmetic. A change is
breaking if a feature that a service uses is removed or retyped, or if an online feature changes its meaning under the
same version.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Any

from featurelayer.diff.values import NOT_COMPILED, Change, ChangeKind, DiffReport, ProjectState
from featurelayer.durations import format_duration
from featurelayer.lineage import ColumnLineage
from featurelayer.model import Feature, FeatureService, FeatureView, Severity

_RULES = (
    "event_time",
    "available_at",
    "delay",
    "created_timestamp",
    "tie_breaker",
    "valid_to",
    "ttl",
    "bound",
    "static",
)
_VIEW_METADATA = ("description", "owner", "update_frequency", "freshness", "on_stale", "tags", "deprecated",
                  "block_export", "removal_guard", "monitors", "ignore")  # fmt: skip
_FEATURE_METADATA = ("description", "unit", "tags", "range", "monitors", "deprecated")
_SHOWN, _BEFORE = 100, 40
_FIX_UNKNOWN = "review the changes of the model; `featurelayer lint --checks FL220` lists what can't be followed"
_FIX_LOST = "correct the name in the SQL or in the YAML; to rename a feature in use, make a new version of the model"


def compare(then: ProjectState, now: ProjectState) -> DiffReport:
    """Compare two states and report every change."""
    found = list(_compare_views(then, now))
    found += _compare_services(
        then, now, {name for change in found for name in change.names if change.kind is ChangeKind.REMOVED}
    )
    order = {kind: place for place, kind in enumerate(ChangeKind)}
    weights = {severity: place for place, severity in enumerate(Severity)}
    grouped = _group_changes(found)
    return DiffReport(
        changes=tuple(sorted(grouped, key=lambda each: (weights[each.severity], order[each.kind], each.names)))
    )


def _compare_views(then: ProjectState, now: ProjectState) -> Iterator[Change]:
    for name in sorted({*then.views, *now.views}):
        old, new = then.views.get(name), now.views.get(name)
        if old is None or new is None:
            view = new if old is None else old
            assert view is not None
            kind = ChangeKind.ADDED if old is None else ChangeKind.REMOVED
            yield from (_build_change(then, now, view, feature.name, kind) for feature in view.features)
        else:
            yield from _ViewComparison(then=then, now=now, old=old, new=new).changes()


@dataclass(frozen=True, kw_only=True)
class _ViewComparison:
    """A view that exists in both states."""

    then: ProjectState
    now: ProjectState
    old: FeatureView
    new: FeatureView

    def changes(self) -> Iterator[Change]:
        rules = tuple(_diff_attributes(self.old, self.new, _RULES))
        keys = _format_keys(self.old), _format_keys(self.new)
        if keys[0] != keys[1]:
            rules = (f"keys: {keys[0]} -> {keys[1]}", *rules)
        names = [feature.name for feature in self.old.features]
        names += [feature.name for feature in self.new.features if feature.name not in names]
        all_changes: list[Change] = []
        for name in names:
            one, other = self.old.feature(name), self.new.feature(name)
            if one is None:
                all_changes.append(_build_change(self.then, self.now, self.new, name, ChangeKind.ADDED))
            elif other is None:
                all_changes.append(_build_change(self.then, self.now, self.old, name, ChangeKind.REMOVED))
            else:
                all_changes += self._compare_feature(one, other, rules)
        # A change of any feature explains why the file differs.
        has_effect = any(change.kind not in (ChangeKind.COSMETIC, ChangeKind.METADATA) for change in all_changes)
        yield from (change for change in all_changes if not (has_effect and change.kind is ChangeKind.COSMETIC))
        yield from self._compare_metadata()

    def _compare_feature(self, one: Feature, other: Feature, rules: tuple[str, ...]) -> Iterator[Change]:
        lost, was_lost = self.now.missing(self.new, one.name), self.then.missing(self.old, one.name)
        if lost and not was_lost:
            change = _build_change(self.then, self.now, self.new, one.name, ChangeKind.REMOVED, (lost,))
            yield replace(change, severity=Severity.ERROR, fix=_FIX_LOST)
            return
        if was_lost and not lost:
            yield _build_change(
                self.then, self.now, self.new, one.name, ChangeKind.ADDED, ("its model produces it now",)
            )
            return
        kind, details = self._compare_computation(one.name) if not lost else (None, ())
        defaults = _format_default(one), _format_default(other)
        if defaults[0] != defaults[1]:
            details, kind = (*details, f"default: {defaults[0]} -> {defaults[1]}"), ChangeKind.MEANING
        if rules:
            details, kind = (*details, *rules), ChangeKind.MEANING
        if one.dtype != other.dtype:
            details, kind = (
                (f"{one.dtype} -> {other.dtype}", *(details if kind is not ChangeKind.COSMETIC else ())),
                ChangeKind.RETYPED,
            )
        if kind is not None:
            change = _build_change(self.then, self.now, self.new, one.name, kind, details)
            is_followed = kind is not ChangeKind.UNKNOWN or any(NOT_COMPILED in detail for detail in details)
            yield change if is_followed else replace(change, fix=_FIX_UNKNOWN)
        metadata = tuple(_diff_attributes(one, other, _FEATURE_METADATA))
        if metadata:
            yield _build_change(self.then, self.now, self.new, one.name, ChangeKind.METADATA, metadata)

    def _compare_computation(self, name: str) -> tuple[ChangeKind | None, tuple[str, ...]]:
        """Return the kind of change of the computation, and its details."""
        own, above = self._model_changes
        upstream = _model_names(above)
        if not own and not upstream:
            return None, ()
        edited = (self.new.id, *upstream) if own else upstream
        before, after = self.then.column(self.old, name), self.now.column(self.new, name)
        if before is None or after is None:
            why = self.then.problem(self.old) if before is None else self.now.problem(self.new)
            return ChangeKind.UNKNOWN, (f"{', '.join(edited)} changed with unknown effect: {why}",)
        if before.fingerprint == after.fingerprint:
            return self._explain_same(own=own, above=above)
        if own:
            return ChangeKind.MEANING, tuple(_explain_difference(before, after)) or tuple(
                f"by {each}" for each in upstream
            )
        return ChangeKind.UPSTREAM, (f"by {', '.join(upstream)}", *_explain_difference(before, after))

    @cached_property
    def _model_changes(self) -> tuple[bool, tuple[str, ...]]:
        """Whether the view's own model changed, and the unique ids of the changed models upstream."""
        own = not self.then.code(self.old.unique_id).is_same(self.now.code(self.new.unique_id))
        return own, _find_changed_ancestors(self.then, self.now, self.new.unique_id)

    def _explain_same(self, *, own: bool, above: tuple[str, ...]) -> tuple[ChangeKind | None, tuple[str, ...]]:
        """Return the kind of change of a computation that is the same as far as it can be followed."""
        lost = _model_names(each for each in above if not (self.then.is_followed(each) and self.now.is_followed(each)))
        if lost:
            return ChangeKind.UNKNOWN, (f"{', '.join(lost)} changed with unknown effect: its SQL can't be followed",)
        edited = [each for each in above if not self.then.code(each).is_same_file(self.now.code(each))]
        names = _model_names(edited)
        if own and not self.then.code(self.old.unique_id).is_same_file(self.now.code(self.new.unique_id)):
            names = (self.new.id, *names)
        return (ChangeKind.COSMETIC, (f"{', '.join(names)} changed, the computation did not",)) if names else (None, ())

    def _compare_metadata(self) -> Iterator[Change]:
        metadata = tuple(_diff_attributes(self.old, self.new, _VIEW_METADATA))
        if self.old.online and not self.new.online:
            features = tuple(feature.name for feature in self.old.features)
            for name in features:
                change = _build_change(self.then, self.now, self.old, name, ChangeKind.REMOVED, ("no longer online",))
                yield change
        elif self.old.online != self.new.online:
            metadata = (*metadata, "online: false -> true")
        if metadata:
            yield replace(_build_change(self.then, self.now, self.new, "", ChangeKind.METADATA, metadata), features=())


def _build_change(
    then: ProjectState,
    now: ProjectState,
    view: FeatureView,
    feature: str,
    kind: ChangeKind,
    details: tuple[str, ...] = (),
) -> Change:
    """Build the change of one feature, with its services and owner."""
    services = {name for side in (then, now) for name in _services_using(side, view.id, feature)}
    served = set(_services_using(then, view.id, feature))
    online = view.online and (view.id not in then.views or then.views[view.id].online)
    severity, fix = Severity.NOTE, ""
    if kind in (ChangeKind.REMOVED, ChangeKind.RETYPED):
        severity = Severity.ERROR if served else Severity.WARNING
        fix = "keep it until no service uses it, or make a new version of the model"
    elif kind in (ChangeKind.MEANING, ChangeKind.UPSTREAM):
        severity = Severity.ERROR if online else Severity.WARNING
        fix = "make a new version of the model, and train on it" if online else "retrain before you use it"
    elif kind is ChangeKind.UNKNOWN:
        severity, fix = Severity.WARNING, "compare manifests written by `dbt compile` or `dbt build`"
    return Change(
        kind=kind, severity=severity, view=view.id, features=(feature,), details=details, fix=fix,
        services=tuple(sorted(services)), owner=str(view.owner), file=view.yaml_path or view.path,
        online=f"{view.name}@{view.version or 0}" if view.online else "",
    )  # fmt: skip


def _services_using(side: ProjectState, view: str, feature: str) -> Iterator[str]:
    for service in side.registry.services.values():
        if any(join.view == view and (not feature or feature in join.features) for join in service.views):
            yield service.name


def _compare_services(then: ProjectState, now: ProjectState, removed: set[str]) -> Iterator[Change]:
    old, new = then.registry.services, now.registry.services
    for name in sorted({*old, *new}):
        if name not in new:
            yield _service_change(old[name], ChangeKind.REMOVED, Severity.ERROR, (), "keep it until no model uses it")
        elif name not in old:
            yield _service_change(new[name], ChangeKind.ADDED, Severity.NOTE, ())
        else:
            yield from _service_changes(old[name], new[name], removed)


def _service_changes(old: FeatureService, new: FeatureService, removed: set[str]) -> Iterator[Change]:
    fix = "create a new service for the retrained model"
    missing = [
        join.column(feature)
        for join in old.views
        for feature in join.features
        if join.column(feature) not in new.columns and f"{join.view}.{feature}" not in removed
    ]
    if missing:
        yield _service_change(new, ChangeKind.REMOVED, Severity.ERROR, (f"it no longer has {', '.join(missing)}",), fix)
    keys = [{key.name: str(key.dtype) for key in service.request_keys} for service in (old, new)]
    if keys[0] != keys[1]:
        yield _service_change(
            new,
            ChangeKind.RETYPED,
            Severity.ERROR,
            (f"request keys: {_format_value(keys[0])} -> {_format_value(keys[1])}",),
            fix,
        )
    moved = [
        f"{was.prefix}: {_format_value(dict(was.keys))} -> {_format_value(dict(joined.keys))}"
        for was in old.views
        for joined in new.views
        if was.prefix == joined.prefix and was.keys != joined.keys
    ]
    if moved:
        yield _service_change(
            new, ChangeKind.MEANING, Severity.ERROR, tuple(f"joined on {each}" for each in moved), fix
        )
    added = [column for column in new.columns if column not in old.columns]
    if added:
        yield _service_change(new, ChangeKind.ADDED, Severity.NOTE, (f"it now has {', '.join(added)}",))
    if sorted(old.columns) == sorted(new.columns) and old.columns != new.columns:
        yield _service_change(new, ChangeKind.METADATA, Severity.WARNING, ("its features are in another order",), fix)
    metadata = tuple(
        _diff_attributes(old, new, ("description", "owner", "label_timestamp", "labels", "tags", "maturity"))
    )
    if metadata:
        yield _service_change(new, ChangeKind.METADATA, Severity.NOTE, metadata)


def _service_change(
    service: FeatureService, kind: ChangeKind, severity: Severity, details: tuple[str, ...], fix: str = ""
) -> Change:
    return Change(
        kind=kind, severity=severity, service=service.name, details=details, fix=fix, services=(service.name,),
        owner=str(service.owner), file=service.yaml_path,
    )  # fmt: skip


def _group_changes(changes: Iterable[Change]) -> list[Change]:
    """Tell of features to which the same happened at once."""
    groups: dict[Change, list[Change]] = defaultdict(list)
    for change in changes:
        groups[replace(change, features=(), services=())].append(change)
    return [
        replace(
            common,
            features=tuple(name for change in group for name in change.features),
            services=tuple(sorted({name for change in group for name in change.services})),
        )
        for common, group in groups.items()
    ]


def _find_changed_ancestors(then: ProjectState, now: ProjectState, unique_id: str) -> tuple[str, ...]:
    """Return the unique ids of the changed models upstream of one."""
    names = dict.fromkeys((*now.above(unique_id), *then.above(unique_id)))
    return tuple(name for name in names if not then.code(name).is_same(now.code(name)))


def _model_names(unique_ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.split(".", 2)[-1] for name in unique_ids)


def _explain_difference(before: ColumnLineage, after: ColumnLineage) -> Iterator[str]:
    """Yield the differences in the model's own SQL: of the value, and of the choice of rows."""
    has_text = False
    if before.value != after.value and before.sql != after.sql:
        has_text = True
        yield _format_change(before.sql, after.sql)
    if before.rows != after.rows:
        steps = tuple(_diff_steps([str(step) for step in before.row_steps], [str(step) for step in after.row_steps]))
        has_text = has_text or bool(steps)
        yield from steps
    if not has_text:
        steps = tuple(_diff_steps([str(step) for step in before.steps], [str(step) for step in after.steps]))
        steps = steps or tuple(_diff_windows(before, after))
        rows = _diff_steps([str(step) for step in before.row_steps], [str(step) for step in after.row_steps])
        yield from steps or rows


def _diff_windows(before: ColumnLineage, after: ColumnLineage) -> Iterator[str]:
    """Yield the differences of windows with the same names."""
    was, are = ([part for step in column.steps for part in step.windows] for column in (before, after))
    if len(was) == len(are):
        yield from (_format_change(one, other) for one, other in zip(was, are, strict=True) if one != other)
    else:
        yield from _diff_steps(was, are)


def _diff_steps(was: Sequence[str], are: Sequence[str]) -> Iterator[str]:
    yield from (f"no longer {_shorten(step)}" for step in was if step not in are)
    yield from (f"now {_shorten(step)}" for step in are if step not in was)


def _diff_attributes(one: Any, other: Any, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        was, is_ = getattr(one, name), getattr(other, name)
        if was != is_:
            yield f"{name}: {_shorten(_format_value(was))} -> {_shorten(_format_value(is_))}"


def _format_keys(view: FeatureView) -> str:
    return ", ".join(f"{key.entity}.{key.key} = {key.column} {key.dtype}" for key in view.join_keys)


def _format_default(feature: Feature) -> str:
    return repr(feature.default) if feature.has_default else "none"


def _format_value(value: Any) -> str:
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_format_value(item)}" for key, item in value.items()) or "none"
    if isinstance(value, tuple):
        return ", ".join(_format_value(item) for item in value)
    fields = getattr(value, "__dataclass_fields__", None)
    if fields is not None and "__str__" not in vars(type(value)):
        return ", ".join(f"{name} {_format_value(getattr(value, name))}" for name in fields) or "none"
    return " ".join(str(value).split()) or "none"


def _format_change(was: str, is_: str) -> str:
    """Return `was -> is` for two texts, cut to the part where long ones begin to differ."""
    was, is_ = " ".join(was.split()), " ".join(is_.split())
    if max(len(was), len(is_)) > _SHOWN:
        same = next((n for n, (one, other) in enumerate(zip(was, is_, strict=False)) if one != other), 0)
        start = max(0, same - _BEFORE)
        was, is_ = (f"...{text[start:]}" if start else text for text in (was, is_))
    return f"{_shorten(was)} -> {_shorten(is_)}"


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
