"""Use case: the snapshot of a view at a time T into the online store."""

from featurelayer.export.encode import encode_to_file
from featurelayer.export.ledger import Ledger, LedgerRow, Tables
from featurelayer.export.run import Connect, Exporter, Intent, Progress, Snapshot, ViewExport
from featurelayer.export.services import publish_services

__all__ = [
    "Connect",
    "Exporter",
    "Intent",
    "Ledger",
    "LedgerRow",
    "Progress",
    "Snapshot",
    "Tables",
    "ViewExport",
    "encode_to_file",
    "publish_services",
]
