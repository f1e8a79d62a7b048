"""Use case: the snapshot of a view at a time T into the online store."""

from featurelayer.export.again import again
from featurelayer.export.bulk import BulkExporter
from featurelayer.export.compare import Snapshot
from featurelayer.export.encode import encode_to_file
from featurelayer.export.forget import Forgotten, forget, subjects
from featurelayer.export.guard import Guard, clock_problems
from featurelayer.export.lease import Clock, Tell
from featurelayer.export.ledger import Ledger, LedgerRow, Tables
from featurelayer.export.prices import Cost, Prices
from featurelayer.export.records import Intent, ViewExport, ViewPlan
from featurelayer.export.run import Connect, Exporter, Progress
from featurelayer.export.services import publish_services
from featurelayer.export.streamed import Drained, drain

__all__ = [
    "BulkExporter",
    "Clock",
    "Connect",
    "Cost",
    "Drained",
    "Exporter",
    "Forgotten",
    "Guard",
    "Intent",
    "Ledger",
    "LedgerRow",
    "Prices",
    "Progress",
    "Snapshot",
    "Tables",
    "Tell",
    "ViewExport",
    "ViewPlan",
    "again",
    "clock_problems",
    "drain",
    "encode_to_file",
    "forget",
    "publish_services",
    "subjects",
]
