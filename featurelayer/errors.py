"""Every exception featurelayer raises on purpose.

    FeatureLayerError                  a handled failure: the CLI prints it and exits with 1
    ├── MetadataError                  the annotations are wrong; holds *all* problems found
    ├── ArtifactError                  dbt's files
    │   ├── ManifestNotFound           run `dbt parse`
    │   ├── ManifestUnreadable         truncated or not JSON
    │   ├── UnsupportedManifest        written by a dbt that is too old
    │   └── TargetMismatch             built for another target than the one in use
    ├── ConfigError                    featurelayer.yml, dbt_project.yml or profiles.yml
    ├── UnknownNameError               a view, feature, entity or service that does not exist
    ├── PlanError                      an impossible request; holds all reasons found
    │   └── UnsupportedByDialect       the engine lacks a capability
    ├── OutdatedModel                  a generated dbt model is not what it would be now; holds all of them
    ├── LabelError                     the label rows can't be used; holds all reasons found
    ├── LockError                      a training set's lock can't be used
    ├── WarehouseError                 carries the SQL that failed
    │   ├── RelationNotBuilt           the model exists in dbt, not in the warehouse
    │   └── WriteConflict              another exporter wrote meanwhile, and this transaction can be done again
    ├── OnlineStoreError               `.retryable` says whether trying again can help
    │   ├── StoreThrottled
    │   ├── StoreUnavailable
    │   ├── StoreNotFound              no such table or file
    │   ├── StoredSchemaMismatch       a service is not, or no longer, what the store can serve
    │   ├── CorruptItem                a stored item does not follow its definition
    │   ├── DeadlineExceeded           the lookup's time was up before every item was read
    │   └── StaleFeature               `on_stale: raise` and the view is stale
    ├── CodecError                     a value that the declared type can't hold
    └── MissingDependency              an extra is not installed

Anything else that reaches the CLI is our bug: exit code 2.
Messages say what is wrong, where, and how to fix it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: what, where and how to fix it.

    `where` is `file -> resource -> yaml.path`; `code` is the stable check code (FL102), if it has one.
    """

    what: str
    where: str = ""
    fix: str = ""
    code: str = ""

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  at   {self.where}")
        if self.fix or self.code:
            check = f"(check {self.code})" if self.code else ""
            lines.append("  fix  " + " ".join(part for part in (self.fix, check) if part))
        return "\n".join(lines)


class FeatureLayerError(Exception):
    """A failure with a message for the person who can fix it; `problems` holds everything that was found.

    Raise it with the text of one problem, `FeatureLayerError("what is wrong", where="file -> key", fix="do this")`, or
    with the problems themselves. Texts use the words of the command line, `--label-timestamp COLUMN`, which `message`
    keeps. As text the error has Python's, `label_timestamp=COLUMN`: readers of a traceback have called Python.
    """

    noun = "problem"

    def __init__(self, problems: str | Problem | Iterable[Problem | str], *, where: str = "", fix: str = "") -> None:
        if isinstance(problems, str):
            problems = Problem(what=problems, where=where, fix=fix)
        found = [problems] if isinstance(problems, Problem) else problems
        self.problems = tuple(each if isinstance(each, Problem) else Problem(what=each) for each in found)
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """Every problem, with the options of the command line."""
        body = "\n".join(str(problem) for problem in self.problems)
        count = len(self.problems)
        return body if count == 1 else f"{count} {self.noun}s\n{body}"

    @property
    def summary(self) -> str:
        """What is wrong in one line: the first problem, without where and how to fix it."""
        return self.problems[0].what.partition("\n")[0] if self.problems else ""

    def __str__(self) -> str:
        return with_arguments(self.message)


class ProblemsError(FeatureLayerError):
    """What was declared or asked for is wrong: all problems that a check found, not only the first."""


class MetadataError(ProblemsError):
    """The project's annotations are wrong."""


class ArtifactError(FeatureLayerError):
    """A dbt artifact can't be used."""


class ManifestNotFound(ArtifactError):
    """There is no manifest.json where dbt would have written it."""


class ManifestUnreadable(ArtifactError):
    """manifest.json is truncated or not JSON."""


class UnsupportedManifest(ArtifactError):
    """manifest.json has a schema version that can't be read."""


class TargetMismatch(ArtifactError):
    """manifest.json was built for another target than the one in use."""


class ConfigError(ProblemsError):
    """featurelayer.yml, dbt_project.yml or profiles.yml is missing something or wrong."""


class UnknownNameError(FeatureLayerError):
    """A name that is not in the registry; suggests the nearest that is."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        self.kind, self.name, self.known = kind, name, tuple(sorted(known))
        super().__init__(f"there is no {kind} '{name}'{did_you_mean(name, self.known)}", where=where)


class PlanError(ProblemsError):
    """What was asked for can't be computed."""


class UnsupportedByDialect(PlanError):
    """The engine lacks a capability that the request needs."""


class OutdatedModel(ProblemsError):
    """A generated dbt model in the project is missing, stale, left over, or not ours to write."""


class LabelError(ProblemsError):
    """The label rows can't be used as they are."""


class LockError(ProblemsError):
    """The lock of a training set can't be read, was edited, or is none."""


class WarehouseError(FeatureLayerError):
    """The warehouse refused a statement or could not be reached."""

    def __init__(
        self, problems: str | Problem | Iterable[Problem | str], *, where: str = "", fix: str = "", sql: str = ""
    ) -> None:
        self.sql = sql
        super().__init__(problems, where=where, fix=fix)


class RelationNotBuilt(WarehouseError):
    """dbt knows the model, the warehouse does not have it."""


class WriteConflict(WarehouseError):
    """Another transaction was faster, and nothing of this one was kept: it can be done once more."""


class OnlineStoreError(FeatureLayerError):
    """The online store failed. `code` is the store's own error code."""

    retryable = False

    def __init__(
        self, problems: str | Problem | Iterable[Problem | str], *, where: str = "", fix: str = "", code: str = ""
    ) -> None:
        self.code = code
        super().__init__(problems, where=where, fix=fix)


class StoreThrottled(OnlineStoreError):
    """The store asked for less traffic."""

    retryable = True


class StoreUnavailable(OnlineStoreError):
    """The store could not be reached or answered with a server error."""

    retryable = True


class StoreNotFound(OnlineStoreError):
    """The store's table or file does not exist, or is not one of ours."""


class StoredSchemaMismatch(OnlineStoreError):
    """A service is not, or no longer, what the store can serve."""


class CorruptItem(OnlineStoreError):
    """A stored item does not follow its definition: damaged bytes, or written by something else.

    `pk` and `sk` name the item: the key and the view of a value; `feature` is empty unless one feature is at fault.
    `what` is the message's first part alone.
    """

    def __init__(self, what: str, *, pk: str, sk: str, feature: str = "") -> None:
        self.pk, self.sk, self.feature = pk, sk, feature
        self.what = f"feature '{feature}' {what}" if feature else what
        fix = (
            "restore the item from a backup, or delete it from the store; then run `featurelayer export --full`"
            if pk.startswith("#")
            else "rewrite the view with `featurelayer export --full`, or delete the item from the store"
        )
        super().__init__(f"the online store holds a corrupt item: {self.what}", where=f"{pk} of {sk}", fix=fix)


class DeadlineExceeded(OnlineStoreError):
    """The time for a lookup was up before every item had been read."""

    retryable = True


class StaleFeature(OnlineStoreError):
    """A view is older than its freshness allows and says `on_stale: raise`."""


class CodecError(FeatureLayerError):
    """A value does not fit the declared type of its feature or key."""


class MissingDependency(FeatureLayerError):
    """A package of an extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed", fix=f"pip install 'dbt-featurelayer[{extra}]'")


_OPTION = re.compile(r"--(?P<name>[a-z][a-z-]*)(?: (?P<value>[A-Z][A-Z_]*(?:\.[a-z]+)?|'[^']*'|\w+=[A-Z]+))?")
_COMMAND = re.compile(r"\b(featurelayer|dbt|aws|pip) [a-z]")
_SWITCHES = {"allow-removals", "append", "assume-target", "bulk", "compare-modes", "csv-types", "full",
             "ignore-monitors", "overwrite"}  # fmt: skip
_CALLS = {"as-table": "to_table", "output": "to_parquet"}
_RENAMED = {"path": "folder", "no-record": "record=False", "key": "keys"}


def with_arguments(text: str) -> str:
    """Return a message with the options of the command line as the arguments of Python that they are.

    What stands in backticks, or in the clause of a command, is left as it is.
    """
    parts = text.split("`")
    parts[::2] = [
        _OPTION.sub(partial(_argument, before), part)
        for before, part in zip(["", *parts[1::2]], parts[::2], strict=False)
    ]
    return "`".join(parts)


def _argument(before: str, found: re.Match[str]) -> str:
    *earlier, clause = re.split(r"[,;:(\n]", found.string[: found.start()])
    if _COMMAND.search(clause if earlier else before + clause):
        return found[0]
    name, value = found["name"], found["value"] or ""
    if name in _SWITCHES:
        return f"{name.replace('-', '_')}=True" + (f" {value}" if value else "")
    if name in _CALLS:
        return f"{_CALLS[name]}({value})"
    if name == "key" and "=" in value:
        key, _, column = value.partition("=")
        return f"keys={{'{key}': '{column}'}}"
    return _RENAMED.get(name, name.replace("-", "_")) + (f"={value}" if value else "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the closest known name, or an empty string."""
    found = closest(name, known)
    return f" (did you mean '{found}'?)" if found else ""


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like `name`, or an empty string if none is much like it."""
    import difflib  # only a mistake needs it, and every serving process imports this module

    by_fold = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[close[0]] if close else ""
