"""What `featurelayer init` writes and proposes: the package entry, featurelayer.yml, and the YAML of a first view.

Guesses come from names and types and are marked as such; nothing that exists is ever overwritten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurelayer.dbt.artifacts import Node, catalog_types, read_models
from featurelayer.dbt.dtypes import UNKNOWN, dtype_of
from featurelayer.dbt.project import CONFIG_FILE, PROJECT_FILE, Project, read_yaml
from featurelayer.errors import ConfigError, Problem, UnknownNameError
from featurelayer.model import DType, Kind

LOCAL_PACKAGE = "featurelayer_package"
_EVENT_TIME = re.compile(
    r"(event|feature|valid|observed|measured|occurred|as_of)\w*|.*_(at|ts|time|timestamp|on|date)|ts|timestamp|date"
)
_AVAILABLE = re.compile(r".*(loaded|ingested|available|inserted|synced|received|published).*")
_KEY = re.compile(r"(?P<entity>.+?)_(id|key|uuid|code|sk|pk|num|no)|(?P<plain>id|key|uuid)")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Words that YAML 1.1 reads as something else than text.
_YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """The YAML to add to a model, the entity it needs, and what to look at twice."""

    model: str
    file: str
    entity: str
    keys: tuple[tuple[str, str], ...]
    yaml: str
    doubts: tuple[str, ...]


def package_source() -> Path:
    """Return the folder of the dbt package: in the wheel, or in the repository."""
    package = Path(__file__).parents[1]
    places = (package / "_bundled" / "macros", package.parent / "macros")
    found = next((place for place in places if (place / "dbt_project.yml").is_file()), None)
    if found is None:
        raise ConfigError(
            [
                Problem(
                    what="the dbt package is not part of this installation",
                    where=str(package),
                    fix="Install dbt-featurelayer from its wheel, or name its repository with --git.",
                )
            ]
        )
    return found


def local_package() -> dict[str, str]:
    """Return the entry of a copy inside the project."""
    return {"local": LOCAL_PACKAGE}


def git_package(url: str, version: str) -> dict[str, str]:
    """Return the entry of the package in a Git repository, at the installed version."""
    return {"git": url, "subdirectory": "macros", "revision": f"v{version}"}


def has_package(root: Path) -> bool:
    """Return whether the project's packages name ours already."""
    path = _packages_file(root)
    packages = read_yaml(path).get("packages") if path.exists() else None
    return isinstance(packages, list) and any(_is_ours(package, root) for package in packages)


def _packages_file(root: Path) -> Path:
    path, dependencies = root / "packages.yml", root / "dependencies.yml"
    if not path.exists() and dependencies.exists() and "packages" in read_yaml(dependencies):
        return dependencies
    return path


def add_package(root: Path, entry: dict[str, str]) -> str:
    """Add the dbt package to the project's packages, keeping every other line, and return what was done.

    Raises:
        ConfigError: the file is not YAML.
    """
    path = _packages_file(root)
    lines = [f"{key}: {_scalar(value)}" for key, value in entry.items()]
    if not path.exists():
        path.write_text(_list_item(lines, "  ", head="packages:\n"), encoding="utf-8")
        return f"Wrote {path.name}. Run `dbt deps`."
    document = read_yaml(path)
    if has_package(root):
        return f"{path.name} names the featurelayer package already; left as it is."
    text = path.read_text(encoding="utf-8")
    appended = _appended(text, document, lines, entry)
    if appended is None:
        item = _list_item(lines, "  ").rstrip()
        return f"{path.name} is left as it is, its form is unusual. Add to its packages:\n{item}"
    path.write_text(appended, encoding="utf-8")
    return f"Added the featurelayer package to {path.name}. Run `dbt deps`."


def write_config(root: Path, target: str, suggestion: Suggestion | None) -> str:
    """Write featurelayer.yml unless there is one, and return what was done or is left to do."""
    path = root / CONFIG_FILE
    entities = _entities_yaml(suggestion)
    if path.exists():
        declared = read_yaml(path).get("entities") or {}
        if suggestion is None or suggestion.entity in declared:
            return f"{CONFIG_FILE} is there already; left as it is."
        return f"{CONFIG_FILE} is there already; left as it is. Add to its entities:\n{entities}".rstrip()
    if suggestion is None:
        entities = (
            "  # customer:\n  #   description: Somebody who has bought something.\n  #   keys: {customer_id: bigint}\n"
        )
    path.write_text(
        "# The things that features describe, and the typed keys that identify them.\n"
        f"entities:{'' if suggestion else ' {}'}\n{entities}\n"
        "# Where `featurelayer export` writes, for each target of the dbt profile.\n"
        f"online_store:\n  {_scalar(target)}: {{type: sqlite, path: .featurelayer/online.db}}\n",
        encoding="utf-8",
    )
    return f"Wrote {CONFIG_FILE}."


def for_model(project: Project, name: str) -> Suggestion:
    """Return the annotations that fit a model, guessed from its columns, constraints and catalog.

    Raises:
        ArtifactError: there is no usable manifest.
        UnknownNameError: there is no such model.
        ConfigError: no column of it is known.
    """
    models = read_models(project.target_path)
    if name not in models:
        raise UnknownNameError("dbt model or snapshot", name, models, where=str(project.target_path / "manifest.json"))
    node = models[name]
    types = _types(node, project)
    if not types:
        raise ConfigError(
            [
                Problem(
                    what=f"no column of '{name}' is known",
                    where=node.file,
                    fix="Declare its columns with data_type in YAML, or build it and run `dbt docs generate`.",
                )
            ]
        )
    return _suggest(node, types, project.config.entities)


def _types(node: Node, project: Project) -> dict[str, str]:
    """Return column -> type text: as declared, else as the catalog has it."""
    catalog = catalog_types(project.target_path, frozenset({node.unique_id})).get(node.unique_id, {})
    if not node.columns:
        return dict(catalog)
    return {name: column.data_type or catalog.get(name.casefold(), "") for name, column in node.columns.items()}


def _suggest(node: Node, types: dict[str, str], declared: Mapping[str, Any]) -> Suggestion:
    # Which dialect hardly matters for telling a time from a number.
    kinds = {name: dtype_of(text, "duckdb") if text else UNKNOWN for name, text in types.items()}
    doubts = []
    event_time = _event_time(node, kinds)
    available = next(
        (name for name in kinds if name != event_time and _AVAILABLE.fullmatch(name) and _is_time(kinds[name])), None
    )
    known = _declared_entity(declared, types)
    keys = known[1] if known else _keys(node, kinds, {event_time, available})
    entity = known[0] if known else _entity_name(node.name, keys)
    if "featurelayer" in (node.config.get("meta") or {}):
        doubts.append(f"'{node.name}' is annotated already: compare before you change it.")
    if not keys:
        doubts.append("No column looks like a key: set `join_key` on the one that identifies a row's entity.")
        keys = [next(name for name in kinds if name not in (event_time, available))] if len(kinds) > 1 else list(kinds)
    if event_time is None and node.resource_type != "snapshot":
        doubts.append("No column looks like an event time: the view is proposed as `static`, one row per key.")
    elif event_time is not None and kinds.get(event_time, UNKNOWN).kind is Kind.DATE:
        doubts.append(
            f"'{event_time}' is a date: a row counts as known a day later (`delay`), correct that if it is not so."
        )
    doubts += [f"The type of '{name}' is not known: fill in its data_type." for name, text in types.items() if not text]
    return Suggestion(
        model=node.name,
        file=node.file if node.patch_path else f"a YAML file beside {node.original_file_path}",
        entity=entity,
        keys=tuple((name, types[name] or "varchar") for name in keys),
        yaml=_view_yaml(node, types, entity, keys, event_time, available, kinds),
        doubts=tuple(doubts),
    )


def _declared_entity(declared: Mapping[str, Any], types: dict[str, str]) -> tuple[str, list[str]] | None:
    """Return the declared entity of which the model has every key, the one with the most keys, and those columns."""
    by_fold = {name.casefold(): name for name in types}
    found = []
    for name, entity in declared.items():
        keys = entity.get("keys") if isinstance(entity, dict) else None
        if isinstance(keys, dict) and keys and all(str(key).casefold() in by_fold for key in keys):
            found.append((name, [by_fold[str(key).casefold()] for key in keys]))
    return max(found, key=lambda pair: len(pair[1]), default=None)


def _is_time(dtype: DType) -> bool:
    return dtype.is_time or dtype.kind is Kind.UNKNOWN


def _event_time(node: Node, kinds: dict[str, DType]) -> str | None:
    said = node.config.get("event_time")
    if said:
        return str(said)
    if node.resource_type == "snapshot":
        return None
    times = [name for name, dtype in kinds.items() if _is_time(dtype) and _EVENT_TIME.fullmatch(name.lower())]
    times += [name for name, dtype in kinds.items() if dtype.is_time and name not in times]
    times.sort(key=lambda name: bool(_AVAILABLE.fullmatch(name.lower())))
    return times[0] if times else None


def _keys(node: Node, kinds: dict[str, DType], times: set[str | None]) -> list[str]:
    by_constraint = [name for name in node.primary_key or [] if name in kinds and name not in times]
    candidates = [name for name, dtype in kinds.items() if name not in times and (dtype.is_key or dtype == UNKNOWN)]
    return by_constraint or [name for name in candidates if _KEY.fullmatch(name.lower())][:1]


def _entity_name(model: str, keys: list[str]) -> str:
    found = _KEY.fullmatch(keys[0].lower()) if keys else None
    if found and found["entity"] and len(keys) == 1:
        return found["entity"]
    if len(keys) == 1 and not found:
        return keys[0].lower()
    return re.sub(r"^(fct|dim|feat|features|stg|int)_+", "", model) or model


def _view_yaml(
    node: Node,
    types: dict[str, str],
    entity: str,
    keys: list[str],
    event_time: str | None,
    available: str | None,
    kinds: dict[str, DType],
) -> str:
    dated = event_time is not None and kinds.get(event_time, UNKNOWN).kind is Kind.DATE
    snapshot = node.resource_type == "snapshot"
    lines = [f"{node.resource_type}s:", f"  - name: {_scalar(node.name)}", "    config:"]
    if event_time:
        lines.append(f"      event_time: {_scalar(event_time)}")
    lines += ["      meta:", "        featurelayer:", f"          entity: {_scalar(entity)}"]
    if available:
        lines.append(f"          available_at: {_scalar(available)}")
    elif dated:
        lines.append("          delay: 1 day")
    if event_time is None and not snapshot:
        lines.append("          static: true")
    else:
        lines.append("          # ttl: 7 days        # how long a row may be used")
    lines.append("    columns:")
    for name, text in types.items():
        lines.append(f"      - name: {_scalar(name)}")
        lines.append(f"        data_type: {_scalar(text)}" if text else "        # data_type: fill in")
        if name in keys:
            said = entity if len(keys) == 1 else f"{entity}.{name}"
            lines.append(f"        config: {{meta: {{featurelayer: {{join_key: {_scalar(said)}}}}}}}")
    return "\n".join(lines) + "\n"


def _entities_yaml(suggestion: Suggestion | None) -> str:
    if suggestion is None:
        return ""
    keys = ", ".join(f"{_scalar(name)}: {_scalar(text)}" for name, text in suggestion.keys)
    return f'  {_scalar(suggestion.entity)}:\n    description: ""\n    keys: {{{keys}}}\n'


def _scalar(text: str) -> str:
    """Return text as YAML: bare where that is safe, else in double quotes."""
    import json

    return (
        text
        if _PLAIN_NAME.fullmatch(text) and text.lower() not in _YAML_WORDS
        else json.dumps(text, ensure_ascii=False)
    )


def _is_ours(package: Any, root: Path) -> bool:
    if not isinstance(package, dict):
        return False
    here = root / str(package["local"]) / PROJECT_FILE if package.get("local") else None
    if here is not None and here.is_file():
        return read_yaml(here).get("name") == "featurelayer"
    source = str(package.get("git") or package.get("local") or package.get("package") or "")
    return "featurelayer" in source or (package.get("subdirectory") == "macros" and "feature" in source)


def _list_item(lines: list[str], indent: str, head: str = "") -> str:
    first, *rest = lines
    return head + f"{indent}- {first}\n" + "".join(f"{indent}  {line}\n" for line in rest)


def _last_mark(node: Any) -> int:
    """Return where the last text of a YAML node ends; a block's own end lies behind the comments that follow it."""
    while isinstance(node.value, list) and node.value:
        node = node.value[-1][1] if isinstance(node.value[-1], tuple) else node.value[-1]
    return int(node.end_mark.index)


def _appended(text: str, document: dict[str, Any], lines: list[str], entry: dict[str, str]) -> str | None:
    """Return the file's text with one more item at the end of `packages`, or None where that can't be done safely."""
    import yaml

    existing = document.get("packages")
    if "packages" not in document:
        result = text + ("" if not text or text.endswith("\n") else "\n") + _list_item(lines, "  ", head="packages:\n")
    else:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        pairs = root.value if isinstance(root, yaml.MappingNode) else []
        node = next((value for key, value in pairs if key.value == "packages"), None)
        if not isinstance(node, yaml.SequenceNode) or node.flow_style or not node.value:
            return None
        end = text.find("\n", _last_mark(node))
        position = len(text) if end < 0 else end + 1
        head = text[:position] + ("" if end >= 0 else "\n")
        result = head + _list_item(lines, " " * node.start_mark.column) + text[position:]
    try:
        reread = yaml.safe_load(result)
    except yaml.YAMLError:
        return None
    return result if reread == {**document, "packages": [*(existing or []), entry]} else None
