"""How to get a feature or a service: commands and code that can be pasted, and the point-in-time SQL of a view."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from featurelayer.errors import FeatureLayerError
from featurelayer.model import Column, DType, FeatureService, FeatureView, Key
from featurelayer.registry import Registry
from featurelayer.sql.compiler import compile_statement
from featurelayer.sql.planner import plan_training_set

_TIME = "label_time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A piece of text to copy and what it is for."""

    title: str
    text: str


def feature_snippets(reference: str, column: str, view: FeatureView, service: FeatureService | None) -> list[Snippet]:
    """Return how to train with one feature, `view.feature`, and how to look it up through a service that has it."""
    time = "" if view.static else f" --label-timestamp {_TIME}"
    said = "" if view.static else f', label_timestamp="{_TIME}"'
    found = [
        Snippet(
            title="Training set, command line",
            text=f"featurelayer build-training-set --features {shlex.quote(reference)} --labels labels.parquet{time} "
            "--output training.parquet",
        ),
        Snippet(
            title="Training set, Python",
            text=f"from featurelayer import FeatureLayer\n\n"
            f'training = FeatureLayer(".").build_training_set(features=[{_text(reference)}], '
            f'labels="labels.parquet"{said})\ntraining.to_pandas()',
        ),
    ]
    if service is not None and view.online:
        found += _lookups(service, column)
    return found


def service_snippets(service: FeatureService, *, online: bool) -> list[Snippet]:
    """Return how to train with a service and how to look it up."""
    time = "" if service.label_timestamp else f" --label-timestamp {_TIME}"
    said = "" if service.label_timestamp else f', label_timestamp="{_TIME}"'
    labels = "" if service.labels else " --labels labels.parquet"
    passed = "" if service.labels else ', labels="labels.parquet"'
    found = [
        Snippet(
            title="Training set, command line",
            text=f"featurelayer build-training-set --service {shlex.quote(service.name)}{labels}{time} "
            "--output training.parquet",
        ),
        Snippet(
            title="Training set, Python",
            text=f"from featurelayer import FeatureLayer\n\n"
            f'training = FeatureLayer(".").build_training_set({_text(service.name)}{passed}{said})\n'
            "training.to_pandas()",
        ),
    ]
    return found + (_lookups(service, "") if online else [])


def point_in_time_sql(view: FeatureView, registry: Registry) -> str:
    """Return the query that joins all features of a view to `labels`, each row as of its own time.

    It is what `build-training-set --show-sql` prints, for labels that have the view's keys and the column label_time;
    empty for an engine that has no such query yet.
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
    except FeatureLayerError:
        return ""


def _lookups(service: FeatureService, column: str) -> list[Snippet]:
    keys = " ".join(f"--key {shlex.quote(f'{key.name}={_example(key)}')}" for key in service.request_keys)
    values = ", ".join(f"{_text(key.name)}: {_value(key)}" for key in service.request_keys)
    wanted = f"[{_text(column)}]" if column else ".to_dict()"
    return [
        Snippet(title="Lookup, command line", text=f"featurelayer lookup --service {shlex.quote(service.name)} {keys}"),
        Snippet(
            title="Lookup, Python",
            text='from featurelayer import FeatureLayer\n\nclient = FeatureLayer(".").client()\n'
            f"client.lookup({_text(service.name)}, {{{values}}}){wanted}",
        ),
    ]


def serving(services: Sequence[FeatureService], view: FeatureView, feature: str) -> list[FeatureService]:
    """Return the services that have a feature."""
    return [
        service
        for service in services
        if any(join.view == view.id and feature in join.features for join in service.views)
    ]


def _example(key: Key) -> str:
    return "1" if key.dtype.is_numeric else "2026-01-31" if key.dtype.is_time else key.name.upper()


def _value(key: Key) -> str:
    return _example(key) if key.dtype.is_numeric else _text(_example(key))


def _text(text: str) -> str:
    """A text as Python and JSON both write it."""
    return json.dumps(text, ensure_ascii=False)
