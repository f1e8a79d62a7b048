"""Read the relations of a Spark plan out of the text of EXPLAIN COST."""

from __future__ import annotations

import re

from featurelayer.warehouse.base import Scan

_RELATION = re.compile(
    r"Relation (?P<name>[^\[]*)\[(?P<columns>.*)\] \w+, "
    r"Statistics\(sizeInBytes=(?P<size>[\d.E+]+) (?P<unit>\w+)(?:, rowCount=(?P<rows>[\d.E+]+))?"
)
_COLUMN = re.compile(r"#\d+L?$")
_UNITS = {unit: 1024**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))}


def scans_of(text: str) -> tuple[Scan, ...]:
    """Return the relations that the optimized plan reads, one entry per read."""
    optimized = text.split("== Physical Plan ==", 1)[0]
    return tuple(_scan(match) for match in _RELATION.finditer(optimized))


def _scan(found: re.Match[str]) -> Scan:
    return Scan(
        relation=found["name"].removeprefix("spark_catalog.") or "a file",
        columns=tuple(_COLUMN.sub("", column) for column in found["columns"].split(",")),
        rows=int(float(found["rows"])) if found["rows"] else None,
        bytes=int(float(found["size"]) * _UNITS.get(found["unit"], 1)),
    )
