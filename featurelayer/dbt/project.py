"""A dbt project on disk: dbt_project.yml, the target of profiles.yml, and featurelayer.yml.

Nothing but the project's name is needed to read the annotations, so profiles.yml is opened only when the
connection is asked for, and the online store's settings are rendered only when the store is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from featurelayer.dbt.renderer import JinjaRenderer, Sealed
from featurelayer.dbt.target_schema import find_target_schema
from featurelayer.errors import ConfigError, Problem, did_you_mean

PROJECT_FILE = "dbt_project.yml"
PROFILES_FILE = "profiles.yml"
CONFIG_FILE = "featurelayer.yml"
DEFAULT_STORE: Mapping[str, Any] = MappingProxyType({"type": "sqlite", "path": ".featurelayer/online.db"})


@dataclass(frozen=True, kw_only=True)
class Project:
    """A dbt project: its folder, its target and its connection.

    `target_path` is where dbt writes its artifacts. `target` and `connection` read profiles.yml when they
    are first used, and raise ConfigError if that can't be done. `own_profile` is the profile of dbt_project.yml.
    `assume_target` asserts that the manifest was built for the target, where nothing else tells.
    """

    root: Path
    name: str
    target_path: Path
    profile: str
    requested_target: str | None = None
    requested_profiles_dir: Path | None = None
    own_profile: str = ""
    assume_target: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict, repr=False)
    requested_variables: Mapping[str, Any] = field(default_factory=dict, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def profiles_dir(self) -> Path:
        """The folder of profiles.yml, searched as dbt does: flag, environment, working directory, project, ~/.dbt.

        Raises:
            ConfigError: there is no profiles.yml in any of them.
        """
        requested = self.requested_profiles_dir
        places = [requested] if requested else [Path.cwd(), self.root, Path.home() / ".dbt"]
        for place in places:
            if (place / PROFILES_FILE).is_file():
                return place
        raise ConfigError(
            [
                Problem(
                    what=f"there is no {PROFILES_FILE}",
                    where=", ".join(str(place) for place in dict.fromkeys(places)),
                    fix="name its folder with --profiles-dir or DBT_ENGINE_PROFILES_DIR",
                )
            ]
        )

    @cached_property
    def target(self) -> str:
        """The name of the target: flag, environment, else the profile's own default."""
        if self.requested_target:
            return self.requested_target
        where = f"{self.profiles_dir / PROFILES_FILE} -> {self.profile}.target"
        return str(JinjaRenderer(self.variables).render(self._profile().get("target", "default"), where=where))

    @cached_property
    def connection(self) -> Mapping[str, Any]:
        """The rendered output of the target in profiles.yml, with its `type`; its text shows no value.

        Raises:
            ConfigError: no profiles.yml, no such profile or target, or a template that can't be rendered.
        """
        return self.output(self.target)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The targets of the profile."""
        return tuple(self._outputs())

    def output(self, target: str, *, only: Sequence[str] | None = None) -> Mapping[str, Any]:
        """Return the rendered output of a target, or those keys of it; its text shows no value.

        Raises:
            ConfigError: as `connection`.
        """
        where, outputs = str(self.profiles_dir / PROFILES_FILE), self._outputs()
        if target not in outputs:
            raise _config_error(
                f"profile '{self.profile}' has no target '{target}'{did_you_mean(target, outputs)}",
                f"{where} -> {self.profile}.outputs",
                f"choose one of: {', '.join(sorted(outputs))}",
            )
        path, output = f"{self.profile}.outputs.{target}", outputs[target]
        if only is not None and isinstance(output, dict):
            output = {key: value for key, value in output.items() if key in only}
        output = JinjaRenderer(self.variables).render(output, where=where, path=path)
        if not isinstance(output, dict) or not isinstance(output.get("type"), str):
            raise _config_error(
                f"target '{target}' has no type", f"{where} -> {path}", "set its adapter, such as `type: duckdb`"
            )
        return Sealed(output, name=f"{output['type']} target {target}")

    @cached_property
    def config(self) -> ProjectConfig:
        """The content of featurelayer.yml; empty if there is none."""
        path = self.root / CONFIG_FILE
        document = read_yaml(path) if path.is_file() else None
        return ProjectConfig(project=self, path=path if path.is_file() else None, document=document or {})

    @property
    def configuration_files(self) -> tuple[Path, ...]:
        """The files that are rendered here: dbt_project.yml, featurelayer.yml and profiles.yml, where there are any."""
        files = [self.root / PROJECT_FILE, self.root / CONFIG_FILE]
        with suppress(ConfigError):
            files.append(self.profiles_dir / PROFILES_FILE)
        return tuple(file for file in files if file.is_file())

    def _outputs(self) -> dict[str, Any]:
        outputs = self._profile().get("outputs")
        if not isinstance(outputs, dict):
            where = str(self.profiles_dir / PROFILES_FILE)
            raise _config_error(
                f"profile '{self.profile}' has no outputs", where, "add outputs: {dev: {type: duckdb, ...}}"
            )
        return outputs

    def _profile(self) -> Mapping[str, Any]:
        path = self.profiles_dir / PROFILES_FILE
        profiles = read_yaml(path)
        if not self.profile:
            raise _config_error(
                "no profile is named", str(self.root / PROJECT_FILE), "add `profile:` to it, or pass --profile"
            )
        profile = profiles.get(self.profile)
        if not isinstance(profile, dict):
            known = [name for name in profiles if name != "config"]
            what = f"there is no profile '{self.profile}'{did_you_mean(self.profile, known)}"
            raise _config_error(
                what, str(path), f"choose one of: {', '.join(sorted(known))}" if known else "add the profile"
            )
        return profile


@dataclass(frozen=True, kw_only=True)
class ProjectConfig:
    """featurelayer.yml: the entities, the online store of each target, and what writing to it costs."""

    project: Project = field(repr=False)
    path: Path | None
    document: Mapping[str, Any] = field(repr=False)

    @cached_property
    def entities(self) -> Mapping[str, Any]:
        """The entities as written, rendered; the contract checks them."""
        where = str(self.path or self.project.root / CONFIG_FILE)
        rendered = self._renderer().render(self.document.get("entities") or {}, where=where, path="entities")
        if not isinstance(rendered, dict):
            raise _config_error(
                "`entities` is not a mapping", where, "write entities: {plane: {keys: {tailnum: varchar}}}"
            )
        return rendered

    @cached_property
    def prices(self) -> Mapping[str, Any]:
        """The project's DynamoDB prices, rendered; the contract checks them."""
        where = str(self.path or self.project.root / CONFIG_FILE)
        rendered = self._renderer().render(self.document.get("prices") or {}, where=where, path="prices")
        if not isinstance(rendered, dict):
            raise _config_error("`prices` is not a mapping", where, "write prices: {million_write_units: 0.7}")
        return rendered

    @cached_property
    def monitors(self) -> Mapping[str, Any]:
        """The monitors of all views, rendered, except `alerts`; the contract checks them."""
        monitors = self.document.get("monitors") or {}
        where = str(self.path or self.project.root / CONFIG_FILE)
        if not isinstance(monitors, dict):
            raise _config_error("`monitors` is not a mapping", where, "write monitors: {null_rate: {warn: 0.2}}")
        # An alert's address is a secret that only senders of alerts need.
        rendered = self._renderer().render(
            {key: value for key, value in monitors.items() if key != "alerts"}, where=where, path="monitors"
        )
        return dict(rendered)

    @cached_property
    def alerts(self) -> Mapping[str, Any]:
        """The recipients of alerts, rendered; the contract checks them."""
        alerts = (self.document.get("monitors") or {}).get("alerts") or {}
        where = str(self.path or self.project.root / CONFIG_FILE)
        rendered = self._renderer().render(alerts, where=where, path="monitors.alerts")
        if not isinstance(rendered, dict):
            raise _config_error("`alerts` is not a mapping", where, "write alerts: {webhook: https://...}")
        return Sealed(rendered, name="alerts")

    @cached_property
    def online_store(self) -> Mapping[str, Any]:
        """The settings of the target's online store, rendered; paths in it are relative to the project.

        Without a featurelayer.yml it is SQLite in the project. A file without an entry for the target is an
        error: a production export never lands silently in a local file.

        Raises:
            ConfigError: the file has no entry for this target, or the entry has no type.
        """
        if self.path is None:
            return DEFAULT_STORE
        stores, target, where = self.document.get("online_store"), self.project.target, str(self.path)
        example = f"add online_store: {{{target}: {{type: sqlite, path: .featurelayer/online.db}}}}"
        if not isinstance(stores, dict):
            raise _config_error(f"no online store is configured for target '{target}'", where, example)
        if target not in stores:
            what = f"no online store is configured for target '{target}'{did_you_mean(target, stores)}"
            raise _config_error(what, f"{where} -> online_store", example)
        path = f"online_store.{target}"
        store = self._renderer().render(stores[target], where=where, path=path)
        if not isinstance(store, dict) or not isinstance(store.get("type"), str):
            raise _config_error(
                "the online store has no type",
                f"{where} -> {path}",
                "set `type: sqlite`, `type: dynamodb` or `type: memory`",
            )
        return Sealed(store, name=f"{store['type']} online store")

    def _renderer(self) -> JinjaRenderer:
        return JinjaRenderer(self.project.variables, target=_Target(self.project))


class _Target:
    """`target` in Jinja: `target.name`, `target.schema`, ...; opens profiles.yml only when it is used."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def __str__(self) -> str:
        return f"target '{self._project.target}' of profile '{self._project.profile}'"

    def __getitem__(self, name: str) -> Any:
        if name in ("name", "target_name"):
            return self._project.target
        if name == "profile_name":
            return self._project.profile
        connection = self._project.connection
        if name in connection:
            return connection[name]
        place = find_target_schema(connection)  # dbt offers these names too
        found = {"schema": place.schema, "database": place.database, "dbname": place.database}.get(name)
        if not found:
            raise KeyError(name)
        return found

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def load_project(
    project_dir: str | Path | None = None,
    *,
    profiles_dir: str | Path | None = None,
    profile: str | None = None,
    target: str | None = None,
    target_path: str | Path | None = None,
    vars: Mapping[str, Any] | str | None = None,
    assume_target: bool = False,
) -> Project:
    """Return the dbt project in `project_dir`, by default the working directory or the nearest folder above it.

    What is not given comes from the environment (`DBT_ENGINE_*`, then `DBT_*`), then from dbt_project.yml.

    Raises:
        ConfigError: there is no dbt_project.yml, or it can't be read.
    """
    root = _find_root(project_dir or dbt_env("PROJECT_DIR"))
    document = read_yaml(root / PROJECT_FILE)
    name = document.get("name")
    if not isinstance(name, str):
        raise _config_error("the project has no name", str(root / PROJECT_FILE), "add `name:`")
    requested = _command_line_vars(vars)
    variables = _variables(document.get("vars"), name) | requested
    keys = {key: document.get(key) for key in ("profile", "target-path")}
    settings = JinjaRenderer(variables).render(keys, where=str(root / PROJECT_FILE))
    profiles = profiles_dir or dbt_env("PROFILES_DIR")
    return Project(
        root=root,
        name=name,
        target_path=root / (target_path or dbt_env("TARGET_PATH") or settings["target-path"] or "target"),
        profile=profile or dbt_env("PROFILE") or settings["profile"] or "",
        requested_target=target or dbt_env("TARGET"),
        requested_profiles_dir=Path(profiles).expanduser() if profiles else None,
        own_profile=settings["profile"] or "",
        assume_target=assume_target,
        variables=variables,
        requested_variables=requested,
        settings=document,
    )


def dbt_env(name: str) -> str | None:
    """Return `DBT_ENGINE_<name>`, else `DBT_<name>`, from the environment; the order is dbt's since 1.11."""
    return os.environ.get(f"DBT_ENGINE_{name}") or os.environ.get(f"DBT_{name}") or None


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        ConfigError: it can't be read, is not YAML, or not a mapping.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same loader in C, where libyaml is installed
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 (both are safe)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise _config_error(
            f"{path.name} can't be read: {reason}", str(path), "check that it exists and is readable"
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or "it is malformed"
        fix = "quote a value that starts with {{" if "hashable" in str(error) else "correct the YAML"
        raise _config_error(f"{path.name} is not YAML: {reason}", where, fix) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise _config_error(f"{path.name} is not a mapping", str(path), "write it as `key: value` lines")
    return document


def _find_root(project_dir: str | Path | None) -> Path:
    if project_dir is not None:
        root = Path(project_dir).expanduser().resolve()
        if not (root / PROJECT_FILE).is_file():
            raise _config_error(
                f"there is no {PROJECT_FILE}", str(root), "name the folder of your dbt project with --project-dir"
            )
        return root
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / PROJECT_FILE).is_file():
            return folder
    raise _config_error(
        f"there is no {PROJECT_FILE} here or in any folder above",
        str(here),
        "run this in a dbt project, or name its folder with --project-dir",
    )


def _variables(declared: Any, project: str) -> dict[str, Any]:
    """Return the vars of dbt_project.yml: the global ones, then the project's own."""
    if not isinstance(declared, dict):
        return {}
    own = declared.get(project)
    return {
        **{key: value for key, value in declared.items() if key != project},
        **(own if isinstance(own, dict) else {}),
    }


def _command_line_vars(given: Mapping[str, Any] | str | None) -> dict[str, Any]:
    if given is None or isinstance(given, Mapping):
        return dict(given or {})
    import yaml

    try:
        parsed = yaml.safe_load(given)
    except yaml.YAMLError:
        parsed = given
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise _config_error("--vars is not a YAML mapping", "--vars", "write it as --vars '{name: value}'")
    return parsed


def _config_error(what: str, where: str, fix: str) -> ConfigError:
    return ConfigError([Problem(what=what, where=where, fix=fix)])
