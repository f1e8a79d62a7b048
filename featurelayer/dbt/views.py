"""Reads one annotated dbt model or snapshot as a feature view, and collects its problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from featurelayer.dbt.artifacts import ManifestColumn, Node, is_misspelt
from featurelayer.dbt.block import AT, BLOCK, DEFAULTS
from featurelayer.dbt.columns import DeclaredColumn, column_meta, snapshot_columns
from featurelayer.dbt.contract import (
    ColumnBlock,
    DeprecatedBlock,
    FreshnessBlock,
    IgnoreBlock,
    ViewBlock,
    correct_keys,
    format_location,
    validate_block,
)
from featurelayer.dbt.defaults import coerce
from featurelayer.dbt.dtypes import UNKNOWN, dtype_of, value_type
from featurelayer.dbt.join_keys import read_join_keys
from featurelayer.errors import Problem, closest, did_you_mean
from featurelayer.model import (
    Deprecation,
    DType,
    Entity,
    Feature,
    FeatureView,
    Freshness,
    Ignore,
    JoinKey,
    Kind,
    Owner,
    RemovalGuard,
)

_CASE_SENSITIVE_ADAPTERS = frozenset({"clickhouse"})
# If a view sets one of these, the folder's values of the others are ignored.
_ALTERNATIVES = ({"available_at", "delay", "static"}, {"ttl", "static"}, {"created_timestamp", "static"})
_PLAIN = ColumnBlock()
_TIMED = ("available_at", "delay", "created_timestamp", "ttl", "valid_to")


@dataclass(slots=True, kw_only=True)
class ViewReader:
    """Reads one node and adds what is wrong to `problems`.

    `read` then returns None, and `doubtful` is the view as far as it could be understood.
    """

    node: Node
    adapter: str
    entities: Mapping[str, Entity | None]
    catalog: Mapping[str, str]
    owner: Callable[[Node], Owner]
    problems: list[Problem]
    columns: dict[str, DeclaredColumn] = field(default_factory=dict)
    untyped: set[str] = field(default_factory=set)
    doubtful: FeatureView | None = None

    def read(self) -> FeatureView | None:
        """Return the view, or None if the node is not a view or has problems."""
        before = len(self.problems)
        block = self._block()
        if block is None:
            return None
        self._check_relation()
        self.columns = {name: self._column(name, column) for name, column in self.node.columns.items()}
        times = self._times(block)
        keys = read_join_keys(self, block)
        features = self._features(block, {key.column for key in keys} | times.taken)
        self._check_settings(block)
        view = self._view(block, times, keys, features)
        if len(self.problems) > before or None in (self.entities[name] for name in view.entities):
            self.doubtful = view
            return None
        return view

    def add_problem(self, what: str, path: str, fix: str, code: str) -> None:
        """Add a problem of this node."""
        where = format_location(self.node.file, self.label, path)
        self.problems.append(Problem(what=f"{self.label}: {what}", where=where, fix=fix, code=code))

    @property
    def label(self) -> str:
        """The view's id: its name, with the version if it has one."""
        return self.node.name if self.node.version is None else f"{self.node.name}.v{self.node.version}"

    def column(self, name: str) -> DeclaredColumn | None:
        """Return the declared column of that name; without regard to case where the warehouse has none."""
        if name in self.columns or self.adapter in _CASE_SENSITIVE_ADAPTERS:
            return self.columns.get(name)
        same = [column for spelled, column in self.columns.items() if spelled.casefold() == name.casefold()]
        return same[0] if len(same) == 1 else None

    # The block

    def _block(self) -> ViewBlock | None:
        meta = self.node.config.get("meta") or {}
        columns_annotated = any(BLOCK in column_meta(column) for column in self.node.columns.values())
        self._check_spelling(meta)
        if BLOCK not in meta:
            if BLOCK in (self.node.meta or {}):
                self._add_misplaced("meta", AT)
                return None
            if BLOCK in self.node.config:
                self._add_misplaced(f"config.{BLOCK}", AT)
                return None
            if not columns_annotated or any(map(is_misspelt, meta)):
                return None
            if DEFAULTS not in meta:
                fix = f"add {AT}: {{entity: ...}} to it"
                self.add_problem("its columns are annotated, the model itself is not", AT, fix, "FL102")
                return None
        if self.node.resource_type not in ("model", "snapshot"):
            fix = "select from it in a model and annotate the model"
            self.add_problem(f"a {self.node.resource_type} can't be a feature view", AT, fix, "FL109")
            return None
        own, shared = meta.get(BLOCK), meta.get(DEFAULTS)
        own, shared = {} if own is None else own, {} if shared is None else shared
        checked = self._check(ViewBlock, own, AT)
        if self._check(ViewBlock, shared, f"config.meta.{DEFAULTS}") is None or checked is None:
            return None
        own, shared = correct_keys(ViewBlock, own), correct_keys(ViewBlock, shared)
        declared = {key for key, value in own.items() if value is not False}
        excluded = {key for group in _ALTERNATIVES if group & declared for key in group}
        return ViewBlock.model_validate({key: value for key, value in shared.items() if key not in excluded} | own)

    def _check_spelling(self, meta: Mapping[str, Any]) -> None:
        """A block or a key of dbt's own that is misspelt would be ignored, and nothing else would tell."""
        metas = [("config.meta", meta)]
        metas += [(f"columns[{name}].config.meta", column_meta(column)) for name, column in self.node.columns.items()]
        for path, keys in metas:
            for key in filter(is_misspelt, map(str, keys)):
                what = f"unknown block '{key}' (did you mean '{BLOCK}'?)"
                self.add_problem(what, f"{path}.{key}", f"rename it to `{BLOCK}`", "FL102")

    def _check(self, contract: type[Any], block: Any, path: str) -> Any:
        return validate_block(
            contract, block, file=self.node.file, resource=self.label, path=path, problems=self.problems
        )

    def _add_misplaced(self, path: str, right: str) -> None:
        fix = f"move it to {right}: dbt 2 drops `meta` outside of `config` (`dbt-autofix deprecations` moves it)"
        self.add_problem(f"the annotation is in `{path}`, where it is not read", path, fix, "FL101")

    def _check_relation(self) -> None:
        if self.node.config.get("materialized") == "ephemeral":
            fix = "materialize it as a table, an incremental model or a view"
            self.add_problem(
                "an ephemeral model has no relation to read features from", "config.materialized", fix, "FL109"
            )
        elif not self.node.relation_name:
            self.add_problem(
                "dbt names no relation for it", "", "check that the model is enabled and run `dbt parse`", "FL109"
            )

    def _column(self, name: str, column: ManifestColumn) -> DeclaredColumn:
        meta = column_meta(column)
        path = f"columns[{name}].{AT}"
        inherited = (self.node.config.get("meta"), self.node.meta)
        if BLOCK not in meta and BLOCK in (column.meta or {}) and column.meta not in inherited:
            self._add_misplaced(f"columns[{name}].meta", path)
        annotation = meta.get(BLOCK)
        block = _PLAIN if annotation is None else self._check(ColumnBlock, annotation, path)
        text = column.data_type or self.catalog.get(name.casefold())
        return DeclaredColumn(
            name=column.name or name,
            native=column,
            block=block or _PLAIN,
            dtype=dtype_of(text, self.adapter) if text else None,
        )

    # Times

    def _times(self, block: ViewBlock) -> Times:
        snapshot = self.node.resource_type == "snapshot"
        names = snapshot_columns(self.node.config) if snapshot else {}
        self._check_snapshot()
        event_time = self.node.config.get("event_time")
        if block.static:
            self._check_static(block, event_time, snapshot)
            return Times(taken=set(names.values()))
        for implicit in (names.get("dbt_valid_from") if not event_time else None, names.get("dbt_valid_to")):
            self._add_implicit(implicit)
        times = Times(
            event_time=self._time(event_time or names.get("dbt_valid_from"), "config.event_time"),
            available_at=self._time(block.available_at, f"{AT}.available_at"),
            created_timestamp=self._time(block.created_timestamp, f"{AT}.created_timestamp"),
            valid_to=self._time(block.valid_to or names.get("dbt_valid_to"), f"{AT}.valid_to"),
        )
        times.taken = {
            column
            for column in (times.event_time, times.available_at, times.created_timestamp, times.valid_to)
            if column
        } | {column.name for name in names.values() if (column := self.column(name))}
        self._check_event_time(block, times.event_time, bool(event_time) or snapshot)
        return times

    def _add_implicit(self, name: str | None) -> None:
        """Declare a column that every snapshot has, even if its YAML does not."""
        if name and self.column(name) is None:
            text = self.catalog.get(name.casefold())
            dtype = dtype_of(text, self.adapter) if text else DType(kind=Kind.TIMESTAMP)
            self.columns[name] = DeclaredColumn(name, ManifestColumn(name=name), _PLAIN, dtype)

    def _time(self, name: Any, path: str) -> str | None:
        if not name:
            return None
        column = self.column(str(name))
        if column is None:
            what = f"column '{name}' is not declared{did_you_mean(str(name), self.columns)}"
            self.add_problem(what, path, "declare it under `columns` with its data_type, or correct the name", "FL202")
            return None
        if column.dtype is None:
            self._add_untyped(column)
        elif not column.dtype.is_time:
            what = f"column '{column.name}' is {column.native.data_type or column.dtype}, not a timestamp"
            self.add_problem(what, path, "name a timestamp or date column, or cast it in the model", "FL202")
        return column.name

    def _check_event_time(self, block: ViewBlock, event_time: str | None, has_own: bool) -> None:
        if event_time is None:
            if not has_own:
                fix = "name the column with the time of a row's event, or set `static: true` if rows have no time"
                # dbt keeps unknown keys of a model's config without a warning.
                near = closest("event_time", [key for key in self.node.config if key not in ("meta", "event_time")])
                if near:
                    what = f"it has no event time, and unknown key 'config.{near}' (did you mean 'event_time'?)"
                    self.add_problem(what, f"config.{near}", "rename it to `event_time`", "FL202")
                else:
                    self.add_problem("it has no event time", "config.event_time", fix, "FL202")
            return
        column = self.column(event_time)
        dated = column is not None and column.dtype is not None and column.dtype.kind is Kind.DATE
        if dated and block.delay is None and block.available_at is None:
            fix = (
                "A daily value is usually known only when the day is over: set `delay: 1 day`, "
                "`delay: 0 days` or `available_at`"
            )
            self.add_problem(f"its event time '{event_time}' is a date without `delay`", f"{AT}.delay", fix, "FL202")

    def _check_static(self, block: ViewBlock, event_time: Any, snapshot: bool) -> None:
        if snapshot:
            self.add_problem("a snapshot has times and can't be static", f"{AT}.static", "remove `static`", "FL205")
        if event_time:
            fix = "remove `static`, or the event time"
            self.add_problem(f"it is static and has the event time '{event_time}'", f"{AT}.static", fix, "FL205")
        for name in _TIMED:
            if getattr(block, name) is not None:
                fix = f"remove `{name}`, or `static` if rows have a time"
                self.add_problem(f"it is static and has `{name}`", f"{AT}.{name}", fix, "FL205")

    def _check_snapshot(self) -> None:
        if self.node.resource_type != "snapshot":
            return
        if self.node.config.get("dbt_valid_to_current"):
            fix = "remove it from the snapshot, or select from the snapshot in a model that turns it into NULL"
            what = "`dbt_valid_to_current` gives open rows an end"
            self.add_problem(what, "config.dbt_valid_to_current", fix, "FL206")
        if self.node.config.get("hard_deletes") == "new_record":
            fix = "use `hard_deletes: invalidate`, or select from the snapshot in a model without the deletion rows"
            what = "`hard_deletes: new_record` adds rows that repeat a deleted entity's last values"
            self.add_problem(what, "config.hard_deletes", fix, "FL206")

    # Features

    def _features(self, block: ViewBlock, taken: set[str]) -> tuple[Feature, ...]:
        features = []
        taken = taken | {column.name for column in self.columns.values() if column.block.join_key}
        for column in self.columns.values():
            if column.name not in taken and column.block.feature:
                features.append(self._feature(column, online=block.online))
            elif column.name in taken and self._is_declared_feature(column):
                path = f"columns[{column.name}].{AT}"
                fix = "remove the keys that only a feature has, or select the column a second time under another name"
                what = f"column '{column.name}' is a key or a time and can't be a feature"
                self.add_problem(what, path, fix, "FL105")
        if not features:
            self.add_problem("it has no features", "columns", "declare the columns that are features", "FL102")
        return tuple(features)

    @staticmethod
    def _is_declared_feature(column: DeclaredColumn) -> bool:
        declared = column.block.model_fields_set
        return "default" in declared or "range" in declared or ("feature" in declared and column.block.feature)

    def _feature(self, column: DeclaredColumn, *, online: bool) -> Feature:
        block, path = column.block, f"columns[{column.name}]"
        dtype = column.dtype or UNKNOWN
        if column.dtype is None:
            self._add_untyped(column)
        elif online and not dtype.is_storable:
            fix = "cast it in the model (a decimal needs a precision), or set `feature: false` or `online: false`"
            what = f"feature '{column.name}' is {column.native.data_type or dtype}, which the online store can't hold"
            self.add_problem(what, f"{path}.data_type", fix, "FL501")
        elif block.range is not None and not dtype.is_numeric:
            fix = "remove `range`, or correct the data_type"
            self.add_problem(f"feature '{column.name}' is {dtype} and has a range", f"{path}.{AT}.range", fix, "FL106")
        return Feature(
            name=column.name,
            dtype=value_type(dtype),
            description=(column.native.description or "").strip(),
            default=self._default(column),
            has_default="default" in block.model_fields_set,
            unit=block.unit,
            tags=tuple(block.tags or ()),
            range=block.range,
            monitors=block.monitors.model_dump(mode="json", exclude_unset=True),
            deprecated=_deprecation(block.deprecated),
            ignore=parse_ignores(block.ignore),
        )

    def _default(self, column: DeclaredColumn) -> Any:
        if column.dtype is None or "default" not in column.block.model_fields_set:
            return None
        try:
            return coerce(column.block.default, value_type(column.dtype))
        except ValueError as error:
            path = f"columns[{column.name}].{AT}.default"
            self.add_problem(
                f"the default of '{column.name}': {error}", path, "correct the default or the data_type", "FL106"
            )
            return None

    def _add_untyped(self, column: DeclaredColumn) -> None:
        path = f"columns[{column.name}].data_type"
        fix = "add data_type (with `contract: {enforced: true}` dbt checks it), or run `dbt docs generate`"
        if column.name not in self.untyped:
            self.untyped.add(column.name)
            self.add_problem(f"the type of column '{column.name}' is not known", path, fix, "FL301")

    # The rest

    def _check_settings(self, block: ViewBlock) -> None:
        if block.delay is not None and block.available_at is not None:
            fix = "keep available_at if the warehouse has that column, else delay"
            self.add_problem("it has both `delay` and `available_at`", f"{AT}.delay", fix, "FL205")
        fresh = block.freshness
        if fresh and fresh.warn_after and fresh.error_after and fresh.warn_after.duration > fresh.error_after.duration:
            fix = "make warn_after the shorter of the two"
            self.add_problem("freshness warns later than it fails", f"{AT}.freshness.warn_after", fix, "FL502")
        for name in block.tie_breaker or ():
            self._tie_breaker(name)

    def _tie_breaker(self, name: str) -> str:
        column = self.column(name)
        if column is None:
            what = f"tie-breaker '{name}' is not declared{did_you_mean(name, self.columns)}"
            self.add_problem(what, f"{AT}.tie_breaker", "declare it under `columns`, or correct the name", "FL202")
        return column.name if column else name

    def _view(
        self, block: ViewBlock, times: Times, keys: tuple[JoinKey, ...], features: tuple[Feature, ...]
    ) -> FeatureView:
        node = self.node
        kind: Literal["model", "snapshot"] = "snapshot" if node.resource_type == "snapshot" else "model"
        return FeatureView(
            name=node.name,
            unique_id=node.unique_id,
            relation_name=node.relation_name or "",
            entities=tuple(name for name in block.entity or () if name in self.entities),
            join_keys=keys,
            features=features,
            columns=tuple((column.name, column.dtype or UNKNOWN) for column in self.columns.values()),
            version=None if node.version is None else str(node.version),
            is_latest=str(node.version) == str(node.latest_version),
            event_time=times.event_time,
            available_at=times.available_at,
            delay=block.delay,
            created_timestamp=times.created_timestamp,
            tie_breaker=tuple(column.name for name in block.tie_breaker or () if (column := self.column(name))),
            valid_to=times.valid_to,
            ttl=block.ttl,
            bound=block.bound,
            static=block.static,
            online=block.online,
            update_frequency=block.update_frequency,
            freshness=_freshness(block.freshness),
            on_stale=block.on_stale,
            block_export=block.block_export,
            removal_guard=RemovalGuard(share=block.removal_guard.share, at_least=block.removal_guard.at_least),
            monitors=block.monitors.model_dump(mode="json", exclude_unset=True),
            ignore=parse_ignores(block.ignore),
            deprecated=_deprecation(block.deprecated),
            description=(node.description or "").strip(),
            owner=self.owner(node),
            tags=tuple(sorted(node.tags)),
            path=node.original_file_path,
            yaml_path=node.file,
            resource_type=kind,
            materialized=str(node.config.get("materialized") or ""),
            contract_enforced=bool((node.config.get("contract") or {}).get("enforced")),
            depends_on=tuple(sorted(set(node.depends_on.nodes))),
        )


@dataclass(slots=True, kw_only=True)
class Times:
    """The time columns of a view in their declared spelling, and every column that is one of dbt's or ours."""

    event_time: str | None = None
    available_at: str | None = None
    created_timestamp: str | None = None
    valid_to: str | None = None
    taken: set[str] = field(default_factory=set)


def parse_ignores(blocks: Iterable[IgnoreBlock]) -> tuple[Ignore, ...]:
    """Return the ignored checks and their reasons."""
    return tuple(Ignore(code=block.code, reason=block.reason) for block in blocks)


def _deprecation(block: DeprecatedBlock | None) -> Deprecation | None:
    return Deprecation(replaced_by=block.replaced_by) if block else None


def _freshness(block: FreshnessBlock | None) -> Freshness | None:
    if block is None:
        return None
    return Freshness(
        warn_after=block.warn_after.duration if block.warn_after else None,
        error_after=block.error_after.duration if block.error_after else None,
    )
