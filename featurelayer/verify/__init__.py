"""Use case: the online store against the warehouse, key by key, at the time of the last committed export."""

from featurelayer.verify.classify import CommittedExport, ViewFacts, classify_keys
from featurelayer.verify.keys import read_expected_rows, read_exported_rows, read_items
from featurelayer.verify.lateness import Lateness, LatenessObservation
from featurelayer.verify.rate_limit import RateLimiter
from featurelayer.verify.values import Example, ExportedRow, KeyState, MismatchClass, Row, VerifyReport, ViewVerdict

__all__ = [
    "CommittedExport",
    "Example",
    "ExportedRow",
    "KeyState",
    "Lateness",
    "LatenessObservation",
    "MismatchClass",
    "RateLimiter",
    "Row",
    "VerifyReport",
    "ViewFacts",
    "ViewVerdict",
    "classify_keys",
    "read_expected_rows",
    "read_exported_rows",
    "read_items",
]
