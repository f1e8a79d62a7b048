"""ClickHouse, through dbt's adapter."""

from __future__ import annotations

from featurelayer.warehouse.dbt_adapter.facts import AdapterFacts

ADAPTER = AdapterFacts()
