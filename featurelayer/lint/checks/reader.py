"""Checks that reading the project makes: always errors, because the view or service can't be used."""

from __future__ import annotations

from featurelayer.lint.base import Check
from featurelayer.model import Severity


def _reader(code: str, title: str, why: str, fix: str) -> Check:
    return Check(code=code, severity=Severity.ERROR, title=title, why=why, fix=fix, by_reader=True)


CHECKS = (
    _reader(
        "FL101",
        "An annotation is in a place where it is not read",
        "Only `config.meta` survives every version of dbt: dbt 2 drops `meta` and custom keys elsewhere.",
        "Move the block to `config.meta.featurelayer`.",
    ),
    _reader(
        "FL102",
        "Unknown key, entity or name",
        "A misspelt key would be ignored, and the feature would differ from what its YAML declares.",
        "Correct the name; the message suggests the nearest one.",
    ),
    _reader(
        "FL103",
        "A join key is missing, declared twice or ambiguous",
        "A view can only be joined with exactly one column per key of its entity.",
        "Set `join_key` on exactly one column for each key of the entity.",
    ),
    _reader(
        "FL105",
        "A value has the wrong type for its key",
        "An invalid duration, or an ignore without a reason, can't be applied.",
        "Correct the value.",
    ),
    _reader(
        "FL106",
        "A default or a range does not fit the feature's type",
        "The default is served in place of a missing value, so it must have the feature's type.",
        "Correct the default, the range or the `data_type`.",
    ),
    _reader(
        "FL107",
        "The keys of a service do not fit its view",
        "A key that the view does not have, or two keys read from one label column, would join the wrong rows.",
        "Name one label column for each key of the view under `keys`.",
    ),
    _reader(
        "FL108",
        "A service uses a view that is missing from its `depends_on`",
        "`dbt build -s +exposure:x` would not build the model that the service needs.",
        "Add `- ref('view')` to the exposure's `depends_on`.",
    ),
    _reader(
        "FL109",
        "An annotated node can't be a view or a service",
        "Seeds, ephemeral models and dashboards have no features to read.",
        "Annotate a materialized model, or an exposure of `type: ml`.",
    ),
    _reader(
        "FL110",
        "The dbt manifest, or a node in it, can't be read",
        "An unreadable node can't be checked; the rest of the manifest was.",
        "Run `dbt parse` to write it again.",
    ),
    _reader(
        "FL202",
        "A view has no usable event time",
        "Without a time, a row can't be placed before or after a label; a daily value is known only when the day is "
        "over.",
        "Set `config.event_time` to a declared timestamp column, or set `static: true`.",
    ),
    _reader(
        "FL205",
        "The time settings of a view contradict each other",
        "`delay` and `available_at` both define when a row is known; a static view has no times.",
        "Keep the one that is right.",
    ),
    _reader(
        "FL206",
        "A snapshot is configured so that its history is misread",
        "Open rows with an end date, or rows that mark deletions, would be served as values.",
        "Correct the snapshot's config, or select from it in a model.",
    ),
    _reader(
        "FL303",
        "The type of a join key is not that of its entity",
        "Keys are never cast silently: '007' and 7 are two entities.",
        "Cast the column in the model, or correct the entity in featurelayer.yml.",
    ),
    _reader(
        "FL304",
        "One label column would need two types",
        "Two views of a service read their keys from the same label column.",
        "Map one of them to another label column under `keys`.",
    ),
    _reader(
        "FL502",
        "The freshness warning comes later than the error",
        "The warning would never be given.",
        "Make `warn_after` shorter than `error_after`.",
    ),
    _reader(
        "FL601",
        "A service lists a feature twice",
        "The training set would have two columns with the same name.",
        "Remove one of the two.",
    ),
    _reader(
        "FL602",
        "Two columns of a training set would have the same name",
        "Engines fold case, so one would replace the other.",
        "Give a view a `role`, or rename the label column.",
    ),
    _reader(
        "FL603",
        "Two views or services have the same name",
        "Services and lookups could not tell which one is meant.",
        "Rename one of them.",
    ),
)
