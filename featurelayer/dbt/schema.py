"""The JSON Schema of the annotations, for editors; `python -m featurelayer.dbt.schema` rewrites meta.schema.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from featurelayer.monitor_records import GROUP
from featurelayer.plugins import find_plugins

FILE = Path(__file__).with_name("meta.schema.json")


def read_schema() -> str:
    """Return the schema's text: as shipped, or generated if other packages declare monitors."""
    return build_schema() if find_plugins(GROUP) else FILE.read_text(encoding="utf-8")


def build_schema() -> str:
    """Return the schema's text as the contract has it now."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a dbt properties file that constrains our blocks and leaves all else open."""
    from featurelayer.dbt.contract import ColumnBlock, ServiceBlock, ViewBlock

    definitions: dict[str, Any] = {}
    for contract in (ViewBlock, ColumnBlock, ServiceBlock):
        schema = contract.model_json_schema(ref_template="#/$defs/{model}")
        definitions |= schema.pop("$defs", {})
        definitions[contract.__name__] = schema
    definitions.pop("ServiceLine", None)

    def meta(name: str) -> dict[str, Any]:
        block = {"$ref": f"#/$defs/{name}"}
        properties = {"featurelayer": block}
        return {"type": "object", "properties": {"meta": {"type": "object", "properties": properties}}}

    def list_schema(config: str, **more: Any) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "object", "properties": {"config": meta(config), **more}}}

    relation = list_schema("ViewBlock", columns=list_schema("ColumnBlock"))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "featurelayer annotations in dbt properties files",
        "description": "For use beside dbt's own schema: constrains only what is under config.meta.featurelayer.",
        "type": "object",
        "properties": {"models": relation, "snapshots": relation, "exposures": list_schema("ServiceBlock")},
        "$defs": dict(sorted(definitions.items())),
    }


if __name__ == "__main__":
    FILE.write_text(build_schema(), encoding="utf-8")
