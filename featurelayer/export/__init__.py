"""Use case: the snapshot of a view at a time T into the online store."""

from featurelayer.export.drain import DrainReport, drain
from featurelayer.export.encode import encode_to_file
from featurelayer.export.exporter import Exporter
from featurelayer.export.forget import ErasureReport, find_subjects, forget
from featurelayer.export.guard import Guard, clock_problems
from featurelayer.export.lease import Clock
from featurelayer.export.ledger import Ledger, LedgerRow, Tables
from featurelayer.export.prices import Cost, Prices
from featurelayer.export.records import ExportPlan, ExportReport, Intent, ViewExport, ViewPlan
from featurelayer.export.senders import ImportSender, RowSender, Sender
from featurelayer.export.services import publish_services
from featurelayer.export.snapshot import Snapshot

__all__ = [
    "Clock",
    "Cost",
    "DrainReport",
    "ErasureReport",
    "ExportPlan",
    "ExportReport",
    "Exporter",
    "Guard",
    "ImportSender",
    "Intent",
    "Ledger",
    "LedgerRow",
    "Prices",
    "RowSender",
    "Sender",
    "Snapshot",
    "Tables",
    "ViewExport",
    "ViewPlan",
    "clock_problems",
    "drain",
    "encode_to_file",
    "find_subjects",
    "forget",
    "publish_services",
]
