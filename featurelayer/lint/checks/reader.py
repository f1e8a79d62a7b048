"""What only reading the project can find: each makes a view or a service unusable, so that it is an error always."""

from __future__ import annotations

from featurelayer.lint.base import Check
from featurelayer.model import Severity


def _reader(code: str, title: str, why: str, fix: str) -> Check:
    return Check(code=code, severity=Severity.ERROR, title=title, why=why, fix=fix, by_reader=True)


CHECKS = (
    _reader(
        "FL101",
        "An annotation stands where it is not read",
        "Only `config.meta` survives all versions of dbt: elsewhere, dbt 2 drops a `meta` or a key of one's own.",
        "Move the block to `config.meta.featurelayer`.",
    ),
    _reader(
        "FL102",
        "A key, an entity or a name is unknown",
        "A misspelt key would be ignored, and the feature would be another one than its YAML says.",
        "Correct the name; the message suggests the nearest.",
    ),
    _reader(
        "FL103",
        "A join key is missing, given twice, or said in two ways",
        "Without exactly one column for each key of its entity a view can't be joined.",
        "Say `join_key` on exactly one column for each key of the entity.",
    ),
    _reader(
        "FL105",
        "A value is not of the kind that its key takes",
        "A duration that is none, or an ignore without a reason, means nothing.",
        "Correct the value.",
    ),
    _reader(
        "FL106",
        "A default or a range does not fit the feature's type",
        "The default is served in place of a missing value, so it must be a value of that type.",
        "Correct the default, the range or the `data_type`.",
    ),
    _reader(
        "FL107",
        "A service's keys do not fit its view",
        "A key that the view does not have, or two keys from one label column, would join the wrong rows.",
        "Name one label column for each key of the view under `keys`.",
    ),
    _reader(
        "FL108",
        "A service uses a view that its `depends_on` lacks",
        "dbt would not count the model among those that the service needs: `dbt build -s +exposure:x` would miss it.",
        "Add `- ref('view')` to the exposure's `depends_on`.",
    ),
    _reader(
        "FL109",
        "An annotated node can't be a view or a service",
        "A seed, an ephemeral model or a dashboard has no features that could be read.",
        "Annotate a model that is built, or an exposure of `type: ml`.",
    ),
    _reader(
        "FL110",
        "dbt's manifest, or a node of it, can't be read",
        "What can't be read can't be checked; the rest of the manifest has been.",
        "Run `dbt parse` to write it again.",
    ),
    _reader(
        "FL202",
        "A view has no usable event time",
        "Without a time a row can't be placed before or after a label; a day's values are known when the day is over.",
        "Name a declared timestamp column as `config.event_time`, or say `static: true`.",
    ),
    _reader(
        "FL205",
        "The times of a view contradict each other",
        "`delay` and `available_at` both say when a row is known; a static view has no times at all.",
        "Keep the one that is true.",
    ),
    _reader(
        "FL206",
        "A snapshot is configured so that its history reads wrong",
        "Open rows with an end, or rows that stand for deletions, would be served as values.",
        "Correct the snapshot's config, or select from it in a model.",
    ),
    _reader(
        "FL303",
        "A join key's type is not that of its entity",
        "Keys are never cast silently: '007' and 7 are two entities.",
        "Cast the column in the model, or correct the entity in featurelayer.yml.",
    ),
    _reader(
        "FL304",
        "One label column would have to be of two types",
        "Two views of a service would read their key from one label column.",
        "Map one of them to another label column under `keys`.",
    ),
    _reader(
        "FL502",
        "Freshness warns later than it fails",
        "The warning would never come.",
        "Make `warn_after` the shorter of the two.",
    ),
    _reader(
        "FL601",
        "A service names a feature twice",
        "The training set would have two columns of one name.",
        "Remove one of the two.",
    ),
    _reader(
        "FL602",
        "Two columns of a training set would have one name",
        "Engines fold case, so one would replace the other.",
        "Give a view a `role`, or rename the label column.",
    ),
    _reader(
        "FL603",
        "Two views or services have one name",
        "Which of them a service or a lookup means would be chance.",
        "Rename one of them.",
    ),
)
