"""The text of a training set's dbt model: the join as one query, over `ref()`s.

It comes from the project's own files alone (annotations, declared columns), so that it is the same on every machine and
can be checked before anything is built. Only labels that don't declare their columns are looked up in the warehouse.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from featurelayer.callbacks import Notify
from featurelayer.dbt.artifacts import GENERATED, Node
from featurelayer.dbt.artifacts import ManifestColumn as DeclaredColumn
from featurelayer.dbt.dtypes import BARE_NUMBER, dtype_of, value_type
from featurelayer.errors import LabelError, PlanError, Problem, WarehouseError, did_you_mean
from featurelayer.model import Column, FeatureService, FeatureView, Kind
from featurelayer.registry import Registry
from featurelayer.sql.ast import table
from featurelayer.sql.casts import needs_cast, widens
from featurelayer.sql.compiler import compile_statement
from featurelayer.sql.dialects import dialect
from featurelayer.sql.plan import RESERVED, Labels, Mode, Plan
from featurelayer.sql.planner import plan_training_set

MARK = f"{GENERATED}from the feature service "
COMMAND = "-- Changes to this file are lost; rewrite it with: "
_NANOSECONDS = re.compile(r"\s*timestamp(tz)?_ns\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(\.\d+)?")
# A brace that would start an expression, a statement or a comment of Jinja.
_OPENING = re.compile(r"\{(?=[{%#])")
_BRACE = "{{ '{' }}"

Describe = Callable[[str], Sequence[Column]]
"""Returns the columns of a relation of the warehouse, or raises WarehouseError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A training set as a dbt model, as the command line asks for it; None means what the service says.

    `keys` are label columns by request key. `folder` is where the file goes, from the project's folder on.
    """

    service: str
    labels: str | None = None
    label_timestamp: str | None = None
    keys: Mapping[str, str] | None = None
    mode: Mode = Mode.KNOWN_AT
    folder: PurePosixPath | None = None

    @property
    def name(self) -> str:
        """The model's name; a set that is there to measure the leak does not take the name of the real one."""
        return f"{self.service}_training_set" + ("" if self.mode is Mode.KNOWN_AT else f"_{self.mode}")

    @property
    def command(self) -> str:
        """The command that rewrites the file."""
        words = ["featurelayer", "dbt-model", "write", "--service", self.service]
        words += ["--labels", self.labels] if self.labels else []
        words += ["--label-timestamp", self.label_timestamp] if self.label_timestamp else []
        for key, column in sorted((self.keys or {}).items()):
            words += ["--key", f"{key}={column}"]
        words += ["--mode", str(self.mode)] if self.mode is not Mode.KNOWN_AT else []
        words += ["--path", str(self.folder)] if self.folder else []
        return " ".join(shlex.join(words).splitlines())


def parse_request(text: str, folder: PurePosixPath | None) -> ModelRequest:
    """Return what a file of ours says it was written with; a header that was spoilt says no more than the service."""
    first, second = (line.replace(_BRACE, "{") for line in [*text.splitlines(), "", ""][:2])
    service = first.removeprefix(MARK).strip().removesuffix(".")
    try:
        words = shlex.split(second.removeprefix(COMMAND))[3:]
        options = list(zip(words[::2], words[1::2], strict=True))
        mode = Mode(dict(options).get("--mode", Mode.KNOWN_AT))
    except ValueError:
        return ModelRequest(service=service, folder=folder)
    said = dict(options)
    keys = {key: column for option, pair in options if option == "--key" for key, _, column in [pair.partition("=")]}
    return ModelRequest(
        service=service,
        labels=said.get("--labels"),
        label_timestamp=said.get("--label-timestamp"),
        keys=keys,
        mode=mode,
        folder=folder,
    )


def model_text(
    request: ModelRequest,
    registry: Registry,
    nodes: Mapping[str, Node],
    *,
    describe: Describe,
    notify: Notify,
    catalog: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Return the text of a training set's dbt model.

    Args:
        request: which one.
        registry: the project's features.
        nodes: all that a model of the project can `ref`, by name.
        describe: asked for the columns of labels that don't declare them.
        notify: called of what the text takes on trust.
        catalog: the types that dbt saw in the warehouse, by unique id and column in lower case.

    Raises:
        UnknownNameError: no such service.
        LabelError, PlanError: with everything that stands in the way.
    """
    service = registry.service(request.service)
    if request.mode is Mode.AS_SERVED:
        what = "a training set of the mode as_served can't be a dbt model: the record of exports is none"
        raise PlanError(
            [Problem(what=what, fix="use `featurelayer build-training-set --mode as_served --as-table NAME`")]
        )
    labels = _find_labels(request, service, nodes)
    views = {join.view: registry.views[join.view] for join in service.views}
    plan = plan_training_set(
        service,
        views,
        {view.id: _view_columns(view, nodes, registry.adapter) for view in views.values()},
        source="labels",
        label_columns=_label_columns(labels, registry.adapter, describe, notify),
        label_timestamp=request.label_timestamp,
        keys=request.keys,
        mode=request.mode,
    )
    problems = [*_find_unchecked_times(plan, labels), *_find_type_mismatches(plan, registry, catalog or {})]
    if problems:
        raise PlanError(problems)
    refs = {view.id: _render_ref(view.unique_id, view.name, view.version, registry.project) for view in views.values()}
    version = None if labels.version is None else str(labels.version)
    sql = _with_refs(
        plan, registry.adapter, _render_ref(labels.unique_id, labels.name, version, registry.project), refs
    )
    header = _escape_jinja(f"{MARK}{service.name}.\n{COMMAND}{request.command}\n")
    return header + "{{ config(materialized='table') }}\n\n" + sql + "\n"


# --- the labels' and the views' columns ------------------------------------------------------------------------------


def _find_labels(request: ModelRequest, service: FeatureService, nodes: Mapping[str, Node]) -> Node:
    """The dbt model of the labels."""
    name = request.labels or service.labels
    if name is None:
        fix = "name their dbt model with --labels, or as `labels` in the exposure's featurelayer block"
        what = f"no labels given for {service.name}"
        raise LabelError([Problem(what=what, where=service.yaml_path, fix=fix)])
    if name not in nodes:
        what = f"there is no dbt model '{name}' for the labels of {service.name}{did_you_mean(name, nodes)}"
        fix = "name a model, seed or snapshot of the project, and run `dbt parse` if it is new"
        raise LabelError([Problem(what=what, where="--labels" if request.labels else service.yaml_path, fix=fix)])
    return nodes[name]


def _label_columns(labels: Node, adapter: str, describe: Describe, notify: Notify) -> Sequence[Column]:
    """The declared columns if each has a type, else those that the warehouse has."""
    declared = labels.columns.values()
    if declared and all(column.data_type for column in declared):
        if labels.resource_type == "model" and not (labels.config.get("contract") or {}).get("enforced"):
            doubt = Problem(
                what=f"{labels.name} has no enforced contract: a column that its YAML does not declare is left out",
                where=labels.file,
                fix="declare every column; contract: {enforced: true} makes dbt hold the model to them",
            )
            notify(str(doubt))
        return [_to_column(column, adapter) for column in declared]
    try:
        if labels.relation_name is None:
            raise WarehouseError("it has no relation")
        return describe(labels.relation_name)
    except WarehouseError as error:
        untyped = [column.name for column in declared if not column.data_type]
        what = f"the columns of the labels' model '{labels.name}' are not known: " + (
            f"{', '.join(untyped)} {'has' if len(untyped) == 1 else 'have'} no data_type"
            if untyped
            else "it declares none"
        )
        fix = "declare its columns with their data_type (or build it, to read them from the warehouse)"
        raise LabelError([Problem(what=what, where=labels.file, fix=fix)]) from error


def _view_columns(view: FeatureView, nodes: Mapping[str, Node], adapter: str) -> list[Column]:
    """The declared columns of a view."""
    node = nodes.get(view.id)
    native = node.columns if node is not None and node.unique_id == view.unique_id else {}
    fine = {name for name, column in native.items() if _to_column(column, adapter).nanoseconds}
    return [Column(name=name, dtype=dtype, nanoseconds=name in fine) for name, dtype in view.columns]


def _to_column(column: DeclaredColumn, adapter: str) -> Column:
    text = column.data_type or ""
    return Column(name=column.name, dtype=dtype_of(text, adapter), nanoseconds=bool(_NANOSECONDS.match(text)))


def _find_unchecked_times(plan: Plan, labels: Node) -> Iterator[Problem]:
    """Times of which a build checks that nothing is finer than a microsecond, which a query can't."""
    assert isinstance(plan.spine, Labels)
    times = [(join.view, time) for join in plan.joins for time in (join.event, join.available, join.valid_to)]
    for relation, time in dict.fromkeys([(labels.name, plan.spine.time), *times]):
        if time is not None and time.nanoseconds:
            what = f"{relation}: '{time.name}' has nanoseconds, and a dbt model can't check that it has no finer value"
            yield Problem(what=what, fix="cast it to a timestamp in microseconds in its model")


def _find_type_mismatches(
    plan: Plan, registry: Registry, catalog: Mapping[str, Mapping[str, str]]
) -> Iterator[Problem]:
    """Features whose columns have another type than is declared: a query can't check that every value fits."""
    for join in plan.joins:
        types = catalog.get(registry.views[join.view].unique_id, {})
        for feature in join.features:
            text = types.get(feature.source.casefold())
            if text is None:
                continue
            stored = Column(name=feature.source, dtype=value_type(dtype_of(text, registry.adapter)))
            native = dialect(registry.adapter).native(feature.dtype)
            if stored.dtype.kind is Kind.UNKNOWN or not (
                needs_cast(stored, feature.dtype) and needs_cast(stored, native)
            ):
                continue
            if stored.dtype.kind is native.kind and (BARE_NUMBER.fullmatch(text) or widens(stored.dtype, native)):
                continue
            yield Problem(
                what=f"{join.view}: feature '{feature.source}' is {text.lower()} in catalog.json, declared "
                f"{feature.dtype}, and a dbt model can't check that every value fits",
                where=f"{join.where} -> columns[{feature.source}].data_type",
                fix="cast it in the model, or correct its data_type; run dbt docs generate if the catalog is old",
            )


# --- Jinja -----------------------------------------------------------------------------------------------------------


def _render_ref(unique_id: str, name: str, version: str | None, project: str) -> str:
    """A rendered `ref`: `--sample` must not cut off a view's history, nor `--empty` add an alias of its own."""
    package = unique_id.split(".")[1]
    arguments = [f"'{name}'"] if package == project else [f"'{package}'", f"'{name}'"]
    if version is not None:
        arguments.append(f"v={version}" if _NUMBER.fullmatch(version) else f"v='{version}'")
    return "{{ ref(" + ", ".join(arguments) + ").render() }}"


def _with_refs(plan: Plan, adapter: str, labels: str, views: Mapping[str, str]) -> str:
    """The plan's query with these in place of the relations; all else in it is safe from Jinja."""
    assert isinstance(plan.spine, Labels)
    engine = dialect(adapter)
    stem = f"{RESERVED}ref"
    while stem in repr(plan):
        stem += "_"
    names = {view: engine.sql(table(f"{stem}{position}")) for position, view in enumerate(views, start=1)}
    source = engine.sql(table(f"{stem}0"))
    plan = replace(
        plan,
        spine=replace(plan.spine, source=source),
        joins=tuple(replace(join, relation=names[join.view]) for join in plan.joins),
    )
    refs = {source: labels} | {name: views[view] for view, name in names.items()}
    parts = re.split(f"({'|'.join(map(re.escape, refs))})", compile_statement(plan, adapter))
    return "".join(refs.get(part) or _escape_jinja(part) for part in parts)


def _escape_jinja(text: str) -> str:
    """Text that comes out of Jinja as it is."""
    return _OPENING.sub(lambda _: _BRACE, text)
