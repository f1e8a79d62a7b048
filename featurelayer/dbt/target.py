"""Validates that manifest.json was built for the target in use.

A manifest names the relations of one target. Used for another, it would bring dev's rows into prod's store. Two things
tell the targets apart:

1. The target that dbt recorded in run_results.json, if that file is of the run that wrote the manifest.
2. Where the models lie. dbt's own macros build a model in the target's `schema`, or in `schema_custom` if the model has
   a custom schema, and in the target's database. A project that overrides these macros may do anything, so there only
   models without a custom schema or database count, and they count against the target in use only where they lie
   exactly as another target of the profile has it.

Two targets with the same schema and database on different servers have the same relations: what is read is then what
the target in use has.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from featurelayer.callbacks import Notify
from featurelayer.dbt.artifacts import RawManifest, buildable_nodes, decode, find_annotated_nodes, read_raw
from featurelayer.dbt.invocation import read_invocation
from featurelayer.dbt.project import Project
from featurelayer.dbt.target_schema import KEYS, TargetSchema, find_target_schema
from featurelayer.errors import ConfigError, Problem, TargetMismatch

_CASE_SENSITIVE = ("bigquery", "clickhouse", "postgres")
_MACRO = re.compile(r"(?:(?P<prefix>\w+)__)?generate_(?:schema|database)_name")
# These adapters override generate_database_name without changing its result, or have no databases.
_HARMLESS = ("dbt", "dbt_clickhouse", "dbt_databricks", "dbt_spark")
_PART = re.compile(r'"((?:[^"]|"")*)"|`([^`]*)`|\[([^\]]*)\]|([^.]+)')


class _Config(msgspec.Struct):
    schema: str | None = None
    database: str | None = None
    project: str | None = None
    catalog: str | None = None
    target_schema: str | None = None


class _Node(msgspec.Struct):
    package_name: str = ""
    relation_name: str | None = None
    database: str | None = None
    schema: str | None = None
    config: _Config | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _BuiltModel:
    """The schema of a built model.

    `suffix` is its custom schema, None if it has another schema; `is_free` if its package overrides dbt's macros.
    """

    place: TargetSchema
    suffix: str | None
    follows_database: bool
    is_free: bool

    @property
    def is_plain(self) -> bool:
        return self.suffix == "" and self.follows_database

    def fits(self, target: TargetSchema, adapter: str) -> bool | None:
        """Whether the model is where dbt's macros would build it for a target; None if unknown."""
        pairs = []
        if self.suffix is not None and target.schema:
            pairs.append((self.place.schema, target.schema + (f"_{self.suffix}" if self.suffix else "")))
        if self.follows_database:
            pairs.append((self.place.database, target.database))
        known = [(found, wanted) for found, wanted in pairs if found and wanted]
        return all(_is_same(*pair, adapter) for pair in known) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """Whether the models' schemas fit the target in use; `fits` is None if they don't tell.

    If it does not fit, `place` is where a model is, `targets` are those of the profile that fit, and it `is_certain` if
    dbt's own macros made the place.
    """

    fits: bool | None
    place: TargetSchema | None = None
    targets: tuple[str, ...] = ()
    is_certain: bool = True
    reason: str = ""


def validate_target(project: Project, *, warn: Notify | None = None) -> None:
    """Stop if manifest.json was built for another target than the one in use; warn if it can't be determined.

    Raises:
        TargetMismatch: the manifest was built for another target.
        ArtifactError: there is no manifest, or one that can't be read.
        ConfigError: profiles.yml does not have the target.
    """
    raw, path, _ = read_raw(project.target_path)
    target, here = project.target, find_target_schema(project.output(project.target, only=KEYS))
    run = read_invocation(project.target_path, raw.metadata.invocation_id or "")
    recorded = run.target if run else ""
    if run and recorded:
        profile = run.profile or project.own_profile
        if profile != project.profile:
            built, used = f"target {recorded} of profile {profile}", f"{target} of profile {project.profile}"
            raise _mismatch(project, path, built, used)
        if recorded != target:
            built = _describe_target(f"target {recorded}", _places(project).get(recorded), here)
            raise _mismatch(project, path, built, _describe_target(target, here, _places(project).get(recorded)))
    verdict = _judge(project, raw, here)
    if verdict.fits is False and (verdict.is_certain or not (recorded or project.assume_target)):
        name = recorded or " or ".join(verdict.targets)
        place = _places(project).get(verdict.targets[0]) if verdict.targets else verdict.place
        built = _describe_target(f"target {name}" if name else "another target", place, here)
        hint = "" if verdict.is_certain else f", or pass --assume-target if it was built for {target}"
        raise _mismatch(project, path, built, _describe_target(target, here, place), hint)
    if verdict.fits is None and not recorded and not project.assume_target and warn:
        doubt = Problem(
            what=f"can't tell whether manifest.json was built for target {target}: {verdict.reason}",
            where=str(path),
            fix=f"run dbt compile -t {target}, which records the target, or pass --assume-target if it was",
        )
        warn(str(doubt))


def _judge(project: Project, raw: RawManifest, here: TargetSchema) -> _Verdict:
    adapter = raw.metadata.adapter_type or ""
    overriding = _overriding_packages(raw)
    root = raw.metadata.project_name or ""
    verdict = _Verdict(fits=None)
    for nodes in (
        find_annotated_nodes(raw),
        buildable_nodes(raw),
    ):  # the second only if the first can't decide
        built = [
            _locate_model(decode(node, _Node, project.target_path, name), root, overriding)
            for name, node in nodes.items()
        ]
        verdict = _judge_models(built, here, adapter, lambda: _places(project))
        if verdict.fits is not None:
            return verdict
    return verdict


def _judge_models(
    models: Iterable[_BuiltModel], here: TargetSchema, adapter: str, places: Callable[[], Mapping[str, TargetSchema]]
) -> _Verdict:
    certain = [model for model in models if not model.is_free]
    for model in certain:
        if model.fits(here, adapter) is False:
            others = tuple(name for name, place in places().items() if model.fits(place, adapter))
            return _Verdict(fits=False, place=model.place, targets=others)
    if any(model.fits(here, adapter) for model in certain):
        return _Verdict(fits=True)
    plain = [model for model in models if model.is_free and model.is_plain]
    if plain and all(model.fits(here, adapter) for model in plain):
        return _Verdict(fits=True)
    others = tuple(name for name, place in places().items() if plain and all(m.fits(place, adapter) for m in plain))
    if others:
        return _Verdict(fits=False, place=plain[0].place, targets=others, is_certain=False)
    own = any(model.is_free for model in models)
    reason = (
        "the project's own generate_schema_name or generate_database_name decides where its models are"
        if own
        else "no model is in a schema or database that the target names"
    )
    return _Verdict(fits=None, reason=f"{reason}, and dbt recorded no target")


def _overriding_packages(raw: RawManifest) -> frozenset[str]:
    """Return the packages whose models dbt does not place by its own macros; the project's own stands for all."""
    root, adapter = raw.metadata.project_name or "", raw.metadata.adapter_type or ""
    packages = set()
    for unique_id in raw.macros or ():
        _, package, name = (*unique_id.split(".", 2), "", "")[:3]
        macro = _MACRO.fullmatch(name)
        if macro is None or package in _HARMLESS:
            continue
        if macro["prefix"] is None:
            packages.add(package)
        elif macro["prefix"] in ("default", adapter):  # the macro that dbt dispatches to, for every package
            packages.add(root)
    return frozenset(packages)


def _locate_model(node: _Node, root: str, overriding: frozenset[str]) -> _BuiltModel:
    config = node.config or _Config()
    place = TargetSchema(schema=(node.schema or "").strip(), database=(node.database or "").strip())
    if not place.schema and node.relation_name:
        parts = [next(filter(None, found), "") for found in _PART.findall(node.relation_name)][:-1]
        place = TargetSchema(schema=parts[-1] if parts else "", database=parts[-2] if len(parts) > 1 else "")
    is_fixed = config.target_schema is not None
    return _BuiltModel(
        place=place,
        suffix=None if is_fixed else (config.schema or "").strip(),
        follows_database=not (is_fixed or config.database or config.project or config.catalog),
        is_free=bool(overriding & {root, node.package_name}),
    )


def _places(project: Project) -> dict[str, TargetSchema]:
    """Return the schema and database of each target of the profile, as far as they can be rendered here."""
    places = {}
    for name in project.target_names:
        try:
            places[name] = find_target_schema(project.output(name, only=KEYS))
        except ConfigError:
            continue
    return places


def _is_same(one: str, other: str, adapter: str) -> bool:
    return one == other if adapter in _CASE_SENSITIVE else one.casefold() == other.casefold()


def _describe_target(name: str, place: TargetSchema | None, other: TargetSchema | None) -> str:
    """Return a target's name and the parts of its place that differ from the other's."""
    if place is None:
        return name
    parts = [
        f"{key} {getattr(place, key)}"
        for key in ("schema", "database")
        if getattr(place, key) and (other is None or getattr(place, key) != getattr(other, key))
    ]
    return f"{name} ({', '.join(parts)})" if parts else name


def _mismatch(project: Project, path: Path, built: str, used: str, hint: str = "") -> TargetMismatch:
    folder = project.target_path
    if folder.is_relative_to(project.root):
        folder = folder.relative_to(project.root)
    # Without it, dbt would write another manifest and leave this one.
    elsewhere = "" if folder == Path("target") else f" --target-path {shlex.quote(folder.as_posix())}"
    return TargetMismatch(
        f"manifest.json was built for {built}, not for {used}",
        where=str(path),
        fix=f"run dbt parse -t {project.target}{elsewhere}{hint}",
    )
