"""The DynamoDB store: one table, or a table per view."""

from __future__ import annotations

from featurelayer.online.base import OnlineStore, StoreEntry, StoreUrl
from featurelayer.online.stores.dynamodb.tables import CONFIGURED

entry = StoreEntry(location=("table", "name"), settings=CONFIGURED, command_timeout=10.0)


def connect(url: StoreUrl) -> OnlineStore:
    """Return the store at an address; boto3 is imported here, not with a type of this package."""
    from featurelayer.online.stores.dynamodb.store import connect as connect_store

    return connect_store(url)
