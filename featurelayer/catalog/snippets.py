"""Snippets to copy: commands and code that train with or look up features, and the point-in-time SQL of a view."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace

from sqlglot.errors import SqlglotError

from featurelayer.errors import FeatureLayerError
from featurelayer.model import Column, DType, FeatureService, FeatureView, Key
from featurelayer.registry import Registry
from featurelayer.sql.compiler import compile_statement
from featurelayer.sql.planner import plan_training_set

_TIME = "label_time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A text to copy, and its title."""

    title: str
    text: str


def feature_snippets(reference: str, column: str, view: FeatureView, service: FeatureService | None) -> list[Snippet]:
    """Return snippets that train with one feature, `view.feature`, and look it up through a service that has it."""
    time = "" if view.static else f" --label-timestamp {_TIME}"
    time_argument = "" if view.static else f', label_timestamp="{_TIME}"'
    command = f"featurelayer build-training-set --features {shlex.quote(reference)} --labels labels.parquet{time}"
    training = f'features=[{_string_literal(reference)}], labels="labels.parquet"{time_argument}'
    return _build_snippets(command, training, service if view.online else None, f"[{_string_literal(column)}]")


def service_snippets(service: FeatureService, *, online: bool) -> list[Snippet]:
    """Return snippets that train with a service and look it up."""
    time = "" if service.label_timestamp else f" --label-timestamp {_TIME}"
    time_argument = "" if service.label_timestamp else f', label_timestamp="{_TIME}"'
    labels, passed = ("", "") if service.labels else (" --labels labels.parquet", ', labels="labels.parquet"')
    command = f"featurelayer build-training-set --service {shlex.quote(service.name)}{labels}{time}"
    return _build_snippets(
        command, f"{_string_literal(service.name)}{passed}{time_argument}", service if online else None, ".to_dict()"
    )


def point_in_time_sql(view: FeatureView, registry: Registry) -> str:
    """Return the query that joins all features of a view to `labels`, each row as of its own time.

    It equals the output of `build-training-set --show-sql` for labels with the view's keys and the column label_time;
    empty for an engine without such a query.
    """
    try:
        service = replace(registry.adhoc_service([f"{view.id}.*"], _TIME), name=view.id)
        labels = [Column(name=key.name, dtype=key.dtype) for key in service.request_keys]
        labels += [Column(name=_TIME, dtype=DType.parse("timestamp"))]
        relation = [Column(name=name, dtype=dtype) for name, dtype in view.columns]
        plan = plan_training_set(
            service, {view.id: view}, {view.id: relation}, source="labels", label_columns=labels
        )  # fmt: skip
        return compile_statement(plan, registry.adapter)
    except (FeatureLayerError, SqlglotError):
        return ""


def _build_snippets(command: str, training: str, service: FeatureService | None, wanted: str) -> list[Snippet]:
    """Build the commands and the same in Python; lookups go through `service`."""
    snippets = [Snippet(title="Train, command line", text=f"{command} --output training.parquet")]
    python = 'from featurelayer import FeatureLayer\n\nlayer = FeatureLayer(".")\n'
    python += f"layer.build_training_set({training}).to_pandas()"
    if service is not None:
        keys = " ".join(f"--key {shlex.quote(f'{key.name}={_example_value(key)}')}" for key in service.request_keys)
        values = ", ".join(f"{_string_literal(key.name)}: {_key_literal(key)}" for key in service.request_keys)
        lookup = f"featurelayer lookup --service {shlex.quote(service.name)} {keys}"
        snippets.append(Snippet(title="Look up, command line", text=lookup))
        python += f"\nlayer.client().lookup({_string_literal(service.name)}, {{{values}}}){wanted}"
    return [*snippets, Snippet(title="Python", text=python)]


def _example_value(key: Key) -> str:
    return "1" if key.dtype.is_numeric else "2026-01-31" if key.dtype.is_time else key.name.upper()


def _key_literal(key: Key) -> str:
    return _example_value(key) if key.dtype.is_numeric else _string_literal(_example_value(key))


def _string_literal(text: str) -> str:
    """Return a text as a literal of Python and JSON."""
    return json.dumps(text, ensure_ascii=False)
