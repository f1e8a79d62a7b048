"""Suggestions of `featurelayer init`: the package entry, featurelayer.yml, and the YAML of a first view.

Guesses come from names and types and are marked as such; nothing that exists is ever overwritten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from featurelayer.dbt.artifacts import Node, catalog_types, read_models, read_raw
from featurelayer.dbt.catalog import read_catalog_columns
from featurelayer.dbt.column_roles import Roles, guess_roles
from featurelayer.dbt.dtypes import UNKNOWN, dtype_of
from featurelayer.dbt.inventory import DataTest, Inventory
from featurelayer.dbt.project import CONFIG_FILE, PROJECT_FILE, Project, read_yaml
from featurelayer.errors import ConfigError, Problem, UnknownNameError
from featurelayer.model import DType, Kind

LOCAL_PACKAGE = "featurelayer_package"
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Words that YAML 1.1 does not read as text.
_YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """The YAML to add to a model, the entity it needs, where the YAML goes, and doubts to review."""

    model: str
    place: str
    entity: str
    keys: tuple[tuple[str, str], ...]
    yaml: str
    doubts: tuple[str, ...]


ProducedColumns = Callable[[Inventory, str, str], Sequence[str]]
"""What the compiled SQL of a model produces: from dbt's nodes, the model's unique id and dbt's adapter type."""


def package_source() -> Path:
    """Return the folder of the dbt package: in the wheel, or in the repository."""
    package = Path(__file__).parents[1]
    places = (package / "_bundled" / "macros", package.parent / "macros")
    folder = next((place for place in places if (place / "dbt_project.yml").is_file()), None)
    if folder is None:
        raise ConfigError(
            [
                Problem(
                    what="the dbt package is not part of this installation",
                    where=str(package),
                    fix="install dbt-featurelayer from its wheel, or name its repository with --git",
                )
            ]
        )
    return folder


def local_package() -> dict[str, str]:
    """Return the entry of a copy inside the project."""
    return {"local": LOCAL_PACKAGE}


def git_package(url: str, version: str) -> dict[str, str]:
    """Return the entry of the package in a Git repository, at the installed version."""
    return {"git": url, "subdirectory": "macros", "revision": f"v{version}"}


def has_package(root: Path) -> bool:
    """Return whether the project's packages already include featurelayer's."""
    path = _packages_file(root)
    packages = read_yaml(path).get("packages") if path.exists() else None
    return isinstance(packages, list) and any(_is_ours(package, root) for package in packages)


def _packages_file(root: Path) -> Path:
    path, dependencies = root / "packages.yml", root / "dependencies.yml"
    if not path.exists() and dependencies.exists() and "packages" in read_yaml(dependencies):
        return dependencies
    return path


def add_package(root: Path, entry: dict[str, str]) -> str:
    """Add the dbt package to the project's packages, keeping all other lines, and return the action taken.

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
    appended = _append_item(text, document, lines, entry)
    if appended is None:
        item = _list_item(lines, "  ").rstrip()
        return f"{path.name} is left as it is, its form is unusual. Add to its packages:\n{item}"
    path.write_text(appended, encoding="utf-8")
    return f"Added the featurelayer package to {path.name}. Run `dbt deps`."


def write_config(root: Path, target: str, suggestion: Suggestion | None) -> str:
    """Write featurelayer.yml unless it exists, and return the action taken or left to do."""
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


def suggest_view(project: Project, name: str, produced_columns: ProducedColumns) -> Suggestion:
    """Return the annotations that fit a model, guessed from its columns, tests, constraints, catalog and compiled SQL.

    Raises:
        ArtifactError: there is no usable manifest.
        UnknownNameError: there is no such model.
        ConfigError: none of its columns is known.
    """
    models = read_models(project.target_path)
    if name not in models:
        raise UnknownNameError("dbt model or snapshot", name, models, where=str(project.target_path / "manifest.json"))
    node = models[name]
    raw, path, _ = read_raw(project.target_path)
    inventory, adapter = Inventory(raw, path), raw.metadata.adapter_type or ""
    types, doubts = _types(node, project, produced_columns(inventory, node.unique_id, adapter))
    if not types:
        raise ConfigError(
            [
                Problem(
                    what=f"no column of '{name}' is known",
                    where=node.file,
                    fix="declare its columns with data_type in YAML, or build it and run `dbt docs generate`",
                )
            ]
        )
    own_package = raw.metadata.project_name or project.name
    return _suggest(node, types, doubts, inventory, project.config.entities, own_package)


def _types(node: Node, project: Project, produced: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return column -> type text of every column that YAML, catalog.json or the compiled SQL has, and doubts about it.

    Most YAML declares only keys and tested columns. A type is as declared, else as the catalog has it.
    """
    ids = frozenset({node.unique_id})
    catalog = catalog_types(project.target_path, ids).get(node.unique_id, {})
    built = read_catalog_columns(project.target_path, ids).columns.get(node.unique_id, ())
    # Snowflake folds unquoted names to upper case; YAML usually has them in lower case.
    built = tuple(name.lower() if name.isupper() else name for name in built)
    types = {name: column.data_type or catalog.get(name.casefold(), "") for name, column in node.columns.items()}
    known = {name.casefold() for name in types}
    for name in (*built, *produced):
        if name.casefold() not in known:
            known.add(name.casefold())
            types[name] = catalog.get(name.casefold(), "")
    if built or produced or not types:
        return types, []
    return types, [
        "Only the columns that its YAML declares are known, and a time or key among the others may be missed: run "
        "`dbt compile`, or build it and run `dbt docs generate`, and then this again."
    ]


def _suggest(
    node: Node, types: dict[str, str], doubts: list[str], inventory: Inventory, declared: Mapping[str, Any], own: str
) -> Suggestion:
    tests = inventory.tests.get(node.unique_id, ())
    doubts = list(doubts)
    is_foreign = node.package_name not in ("", own)
    # The dialect hardly matters for telling a time from a number.
    dtypes = {name: dtype_of(text, "duckdb") if text else UNKNOWN for name, text in types.items()}
    roles = guess_roles(
        node,
        dtypes,
        references=_columns_with_test(tests, "relationships", "relationships_where"),
        unique=list(node.primary_key or ()) or _unique_together(tests),
        declared=_match_entity(declared, types),
    )
    keys = list(roles.keys)
    if "featurelayer" in (node.config.get("meta") or {}):
        doubts.append(f"'{node.name}' is annotated already: compare before you change it.")
    if not keys:
        doubts.append("No column looks like a key: set `join_key` on the one that identifies a row's entity.")
        others = [name for name in types if name not in (*roles.times, *roles.left_out)]
        keys = others[:1] or list(types)[:1]
    doubts += roles.doubts
    if roles.left_out:
        reasons = "; ".join(f"'{name}': {reason}" for name, reason in roles.left_out.items())
        doubts.append(f"Not proposed as features: {reasons}.")
    doubts += [
        f"The type of '{name}' is not known: fill in its data_type."
        for name, text in types.items()
        if not text and name not in roles.left_out
    ]
    entity = roles.entity if roles.keys else keys[0].lower()
    name = f"{node.name}_features" if is_foreign else node.name
    return Suggestion(
        model=node.name,
        place=_place(node, name, is_foreign=is_foreign),
        entity=entity,
        keys=tuple((key, types[key] or "varchar") for key in keys),
        yaml=_view_yaml(node, name, types, dtypes, replace(roles, keys=tuple(keys), entity=entity)),
        doubts=tuple(doubts),
    )


def _place(node: Node, name: str, *, is_foreign: bool) -> str:
    """Return where the YAML goes, as the start of a sentence that continues with "then"."""
    if is_foreign:
        own = f"{{{{ ref('{node.package_name}', '{node.name}') }}}}"
        return (
            f"'{node.name}' belongs to the package '{node.package_name}', whose YAML is not this project's. Write a "
            f"model {name}.sql that selects all of {own}, and put this into a YAML file next to it"
        )
    file = node.file if node.patch_path else f"a YAML file next to {node.original_file_path}"
    return f"Merge this into the entry of '{node.name}' in {file}"


def _columns_with_test(tests: Sequence[DataTest], *names: str) -> list[str]:
    return [test.column for test in tests if test.column and test.name.rpartition(".")[2] in names]


def _unique_together(tests: Sequence[DataTest]) -> list[str]:
    """Return the columns that a test declares unique, the fewest if there are several such tests."""
    candidates = [[name] for name in _columns_with_test(tests, "unique", "expect_column_values_to_be_unique")]
    for test in tests:
        for argument in ("combination_of_columns", "column_list"):
            columns = test.arguments.get(argument)
            if isinstance(columns, list) and "unique" in test.name:
                candidates.append([str(name).strip('"`[] ') for name in columns])
    return min(candidates, key=len, default=[])


def _match_entity(declared: Mapping[str, Any], types: dict[str, str]) -> tuple[str, list[str]] | None:
    """Return the declared entity of which the model has every key, the one with the most keys, and those columns."""
    by_fold = {name.casefold(): name for name in types}
    matches = []
    for name, entity in declared.items():
        keys = entity.get("keys") if isinstance(entity, dict) else None
        if isinstance(keys, dict) and keys and all(str(key).casefold() in by_fold for key in keys):
            matches.append((name, [by_fold[str(key).casefold()] for key in keys]))
    return max(matches, key=lambda pair: len(pair[1]), default=None)


def _view_yaml(node: Node, name: str, types: dict[str, str], dtypes: Mapping[str, DType], roles: Roles) -> str:
    """Return a model's YAML entry: its block, and its declared or feature columns."""
    is_foreign = name != node.name
    event_time = roles.event_time
    is_snapshot = node.resource_type == "snapshot" and not is_foreign
    if is_foreign and node.resource_type == "snapshot":  # in a user's own model dbt's times are ordinary columns
        event_time = event_time or next((column for column in types if column.lower() == "dbt_valid_from"), None)
    lines = ["snapshots:" if is_snapshot else "models:", f"  - name: {_scalar(name)}", "    config:"]
    if event_time:
        lines.append(f"      event_time: {_scalar(event_time)}")
    lines += ["      meta:", "        featurelayer:", f"          entity: {_scalar(roles.entity)}"]
    if roles.available_at:
        lines.append(f"          available_at: {_scalar(roles.available_at)}")
    elif event_time is not None and dtypes.get(event_time, UNKNOWN).kind is Kind.DATE:
        lines.append("          delay: 1 day")
    if roles.valid_to:
        lines.append(f"          valid_to: {_scalar(roles.valid_to)}")
    if roles.tie_breaker:
        lines.append(f"          tie_breaker: [{_scalar(roles.tie_breaker)}]")
    if event_time is None and not is_snapshot:
        lines.append("          static: true")
    else:
        lines.append("          # ttl: 7 days        # how long a row may be used")
    lines.append("    columns:")
    for column, text in types.items():
        if column in roles.left_out and column not in node.columns and column not in (event_time, roles.tie_breaker):
            continue
        lines.append(f"      - name: {_scalar(column)}")
        lines.append(f"        data_type: {_scalar(text)}" if text else "        # data_type: fill in")
        if column in roles.keys:
            key = roles.entity if len(roles.keys) == 1 else f"{roles.entity}.{column}"
            lines.append(f"        config: {{meta: {{featurelayer: {{join_key: {_scalar(key)}}}}}}}")
        elif column in roles.left_out and column != event_time:
            lines.append("        config: {meta: {featurelayer: {feature: false}}}")
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
    """Return the end of a YAML node's last text; a block's own end mark follows trailing comments."""
    while isinstance(node.value, list) and node.value:
        node = node.value[-1][1] if isinstance(node.value[-1], tuple) else node.value[-1]
    return int(node.end_mark.index)


def _append_item(text: str, document: dict[str, Any], lines: list[str], entry: dict[str, str]) -> str | None:
    """Return the file's text with an item appended to `packages`, or None if that is not safe."""
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
