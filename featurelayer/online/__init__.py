"""Serving: look features up in an online store, by one call, with value, event time, age and status.

    from featurelayer.online import FeatureClient

    with FeatureClient.connect("sqlite:///.featurelayer/online.db") as client:
        vector = client.lookup("late_arrival", {"tailnum": "N14228", "origin": "EWR"})
        vector["plane_legs__arr_delay"], vector.features["plane_legs__arr_delay"].status

Needs boto3 (for DynamoDB) and msgspec, nothing else. `MemoryStore` stands in for a real store in your tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featurelayer.online.base import Capabilities, Item, LiveKey, OnlineStore, StoreEntry, StoreUrl, Written
from featurelayer.online.client import FeatureClient
from featurelayer.online.definitions import ServiceDefinition, service_definition
from featurelayer.online.metrics import LookupMetrics
from featurelayer.online.stores import open_store
from featurelayer.online.stores.memory import MemoryStore
from featurelayer.online.streaming import WriteResult
from featurelayer.online.vector import FeatureValue, FeatureVector, Status

if TYPE_CHECKING:
    from featurelayer.online.aio import AsyncFeatureClient

__all__ = [
    "AsyncFeatureClient",
    "Capabilities",
    "FeatureClient",
    "FeatureValue",
    "FeatureVector",
    "Item",
    "LiveKey",
    "LookupMetrics",
    "MemoryStore",
    "OnlineStore",
    "ServiceDefinition",
    "Status",
    "StoreEntry",
    "StoreUrl",
    "WriteResult",
    "Written",
    "open_store",
    "service_definition",
]


def __getattr__(name: str) -> Any:
    """Import the client for asyncio when it is first used: asyncio costs as much to import as all of this."""
    if name != "AsyncFeatureClient":
        raise AttributeError(f"module 'featurelayer.online' has no attribute '{name}'")
    from featurelayer.online.aio import AsyncFeatureClient

    globals()[name] = AsyncFeatureClient
    return AsyncFeatureClient
