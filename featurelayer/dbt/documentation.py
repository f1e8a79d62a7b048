"""Documentation in dbt's artifacts: docs blocks (`{% docs %}`) and the outcomes of data tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from featurelayer.dbt.artifacts import RawManifest, decode


class _Doc(msgspec.Struct):
    name: str = ""
    package_name: str = ""
    block_contents: str | None = None


class _TestMetadata(msgspec.Struct):
    name: str | None = None
    namespace: str | None = None


class _Test(msgspec.Struct):
    name: str = ""
    description: str | None = None
    attached_node: str | None = None
    column_name: str | None = None
    test_metadata: _TestMetadata | None = None
    config: dict[str, Any] | None = None


class _Described(msgspec.Struct):
    description: str | None = None
    tags: list[str] | None = None


class _Result(msgspec.Struct):
    unique_id: str = ""
    status: str = ""
    failures: int | None = None


class _Results(msgspec.Struct):
    results: list[_Result] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class DocBlock:
    """A block of documentation as written, in Markdown."""

    name: str
    package: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOutcome:
    """A data test of a model and its last status in dbt's words, "" if it has not run."""

    __test__ = False  # pytest collects classes named Test...

    model: str
    column: str
    name: str
    description: str = ""
    status: str = ""
    failures: int = 0


def read_docs(raw: RawManifest, path: Path) -> tuple[DocBlock, ...]:
    """Return the blocks of the project and its packages; not dbt's own, which describe dbt."""
    blocks = [decode(part, _Doc, path, unique_id) for unique_id, part in raw.docs.items()]
    return tuple(
        DocBlock(name=block.name, package=block.package_name, text=(block.block_contents or "").strip())
        for block in sorted(blocks, key=lambda block: (block.name, block.package_name))
        if block.package_name != "dbt" and not (block.name.startswith("__") and block.name.endswith("__"))
    )


def read_source_descriptions(raw: RawManifest, path: Path) -> dict[str, str]:
    """Return the description of each source, by unique id."""
    sources = {unique_id: decode(part, _Described, path, unique_id) for unique_id, part in raw.sources.items()}
    return {unique_id: source.description.strip() for unique_id, source in sources.items() if source.description}


def read_tests(raw: RawManifest, path: Path) -> Iterator[TestOutcome]:
    """Yield the tests of single models, with their results from run_results.json."""
    results = _results(path.parent / "run_results.json")
    for unique_id, part in raw.nodes.items():
        if not unique_id.startswith("test."):
            continue
        test: _Test = decode(part, _Test, path, unique_id)
        if not test.attached_node or (test.config or {}).get("enabled") is False:
            continue
        metadata = test.test_metadata
        name = ".".join(filter(None, (metadata.namespace, metadata.name))) if metadata else test.name
        result = results.get(unique_id, _Result())
        yield TestOutcome(
            model=test.attached_node,
            column=test.column_name or "",
            name=name,
            description=(test.description or "").strip(),
            status=result.status,
            failures=result.failures or 0,
        )


def _results(path: Path) -> dict[str, _Result]:
    """Return the results of dbt's last run; empty if it has not run or they can't be read."""
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    results: _Results = decode(data, _Results, path, command="dbt build")
    return {result.unique_id: result for result in results.results}
