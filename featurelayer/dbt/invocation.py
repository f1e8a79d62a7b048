"""The dbt run that wrote manifest.json: its target, profile and vars, as far as they are recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from featurelayer.errors import Problem

if TYPE_CHECKING:
    from featurelayer.dbt.project import Project

RUN_RESULTS = "run_results.json"


class _Metadata(msgspec.Struct):
    invocation_id: str | None = None


class _RunResults(msgspec.Struct):
    metadata: _Metadata
    args: dict[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """The options of a dbt run. `target` and `profile` are empty where dbt took its defaults."""

    target: str
    profile: str
    variables: Mapping[str, Any]


def read_invocation(target_path: Path, invocation_id: str) -> Invocation | None:
    """Return the options of the run that wrote the manifest, or None if no file of that run records them.

    `dbt parse` and `dbt ls` write a manifest and no results, so run_results.json may be of an earlier run.
    """
    try:
        results = msgspec.json.decode((target_path / RUN_RESULTS).read_bytes(), type=_RunResults)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not invocation_id or results.metadata.invocation_id != invocation_id:
        return None
    args = results.args
    variables = args.get("vars")
    return Invocation(
        target=_text(args.get("target")),
        profile=_text(args.get("profile")),
        variables=variables if isinstance(variables, dict) else {},
    )


def doubt_variables(project: Project, invocation_id: str) -> Iterator[str]:
    """Yield doubts about `--vars` that can't change what dbt has compiled."""
    requested = project.requested_variables
    if not requested:
        return
    run = read_invocation(project.target_path, invocation_id)
    recorded = run.variables if run else {}
    without = [name for name in requested if name not in recorded or _json(requested[name]) != _json(recorded[name])]
    if run is None:  # dbt may have had the same vars; a var in files that featurelayer renders takes effect there
        text = "\n".join(_source(path) for path in project.configuration_files)
        without = [name for name in without if f"'{name}'" not in text and f'"{name}"' not in text]
    if without:
        names = ", ".join(f"'{name}'" for name in without)
        wrote = "dbt wrote manifest.json with other vars" if run else "dbt may have written manifest.json with others"
        doubt = Problem(
            what=f"--vars {names} does not change any definition: models are as dbt compiled them, and {wrote}",
            where=str(project.target_path / "manifest.json"),
            fix=f"run dbt parse --vars '{_json(dict(requested))}' (dbt build, if tables depend on them), and then this",
        )
        yield str(doubt)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)


def _source(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
