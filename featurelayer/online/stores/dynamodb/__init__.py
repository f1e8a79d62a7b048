"""The DynamoDB store: one table, or a table per view."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featurelayer.online.base import OnlineStore, StoreUrl


def connect(url: StoreUrl) -> OnlineStore:
    """Return the store at an address; boto3 is imported then, not by who needs a type of this package."""
    from featurelayer.online.stores.dynamodb.store import connect as connect_store

    return connect_store(url)
