"""The glossary, and annotations explained in sentences for people who write no SQL."""

from __future__ import annotations

import json
from collections.abc import Iterator

from featurelayer.durations import format_duration
from featurelayer.model import Feature, FeatureView

GLOSSARY = (
    ("Entity", "An object that features describe, such as a customer or a plane, and the key that identifies it."),
    ("Feature", "One column of a feature view: one fact about an entity at a time, which a model can learn from."),
    ("Feature view", "A dbt model whose rows describe entities at times; it is where features are defined."),
    ("Feature service", "The features that one model is trained and served with."),
    ("Event time", "When the event of a row happened."),
    ("Available time", "When a row became known. A training set uses no value before that."),
    ("Time to live", "How long after its event a value still counts. After that it is missing."),
    ("Point in time", "Each label of a training set gets the values that were known at the label's own time."),
    ("Training set", "Labels with the features' values as they were known at each label's time."),
    ("Online", "Exported to the online store, where a serving process looks up the newest values."),
    ("Export", "Writing the newest value of every entity to the online store."),
    ("Static view", "A view whose rows have no time: facts that do not change, or are taken as they are now."),
    ("Default", "The value given where an entity has none, or only an expired one."),
    ("Monitor", "A check of the data itself, such as its share of nulls or its drift."),
    ("Deprecated", "Still available, but no longer recommended."),
)


def describe_view(view: FeatureView) -> str:
    """Explain the times of a view."""
    return " ".join(_view_sentences(view))


def describe_feature(view: FeatureView, feature: Feature) -> str:
    """Explain when a feature's value counts, and what replaces a missing one."""
    return " ".join([*_view_sentences(view), _describe_missing(feature)])


def describe_range(feature: Feature) -> str:
    """Return the declared range with the unit; "" without one."""
    if feature.range is None:
        return ""
    low, high = (None if bound is None else f"{bound:g}" for bound in feature.range)
    unit = f" {feature.unit}" if feature.unit else ""
    if low is None:
        return f"at most {high}{unit}" if high is not None else ""
    return f"{low} to {high}{unit}" if high is not None else f"{low} or more{unit}"


def _view_sentences(view: FeatureView) -> Iterator[str]:
    whose = " and ".join(view.entities) or "entity"
    if view.static:
        yield f"One value per {whose}; it has no time."
        return
    yield f"A value belongs to one {whose} and one time ({view.event_time})."
    if view.available_at:
        yield f"It counts as known from {view.available_at} on."
    elif view.delay:
        yield f"It counts as known {format_duration(view.delay)} later."
    if view.valid_to:
        yield f"It holds until {view.valid_to}."
    if view.ttl:
        yield f"After {format_duration(view.ttl)} without a newer one it no longer counts."


def _describe_missing(feature: Feature) -> str:
    if feature.has_default:
        shown = feature.default if isinstance(feature.default, str) else json.dumps(feature.default, default=str)
        return f"Where there is none, it is {shown}."
    return "Where there is none, it is missing (null)."
