"""Estimate the cost and the duration of an export with the figures of prices.toml or featurelayer.yml."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """An estimate, in US dollars and minutes."""

    usd: float
    minutes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars per million write units and per GB of an import, their source, and the write speed."""

    source: str
    million_write_units: float
    import_gigabyte: float
    write_units_per_second: float
    rows_per_second: float

    @classmethod
    def for_dynamodb(cls, said: Mapping[str, Any]) -> Prices:
        """Return the prices of DynamoDB; `said` is the checked block of featurelayer.yml, which overrides the table."""
        table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
        source = f"prices of {table['region']}, looked up {table['looked_up'].isoformat()}"
        if said:
            source += f"; {', '.join(said)} of featurelayer.yml"
        return cls(source=source, **{name: float(said.get(name, number)) for name, number in table["export"].items()})

    @classmethod
    def free(cls, said: Mapping[str, Any]) -> Prices:
        """Return the prices of a store that costs nothing."""
        return replace(
            cls.for_dynamodb(said), source="this store costs nothing", million_write_units=0.0,
            import_gigabyte=0.0, write_units_per_second=math.inf,
        )  # fmt: skip

    def cost(self, *, rows: int, units: int) -> Cost:
        """Return the cost of writing this many rows and write units."""
        seconds = max(units / self.write_units_per_second, rows / self.rows_per_second)
        return Cost(usd=units * self.million_write_units / 1_000_000, minutes=seconds / 60)

    def import_usd(self, size: int) -> float:
        """Return the cost of importing files of this size before compression, in bytes."""
        return size * self.import_gigabyte / 1_000_000_000
