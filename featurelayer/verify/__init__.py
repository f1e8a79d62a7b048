"""Use case: the online store against the warehouse, key by key, at the time of the last committed export."""

from featurelayer.verify.classify import Facts, Run, judge
from featurelayer.verify.keys import expected_rows, remembered_rows, stored_items
from featurelayer.verify.lateness import Lateness, Observed
from featurelayer.verify.pace import Pace
from featurelayer.verify.values import Class, Example, Held, Row, Seen, VerifyReport, ViewVerdict

__all__ = [
    "Class",
    "Example",
    "Facts",
    "Held",
    "Lateness",
    "Observed",
    "Pace",
    "Row",
    "Run",
    "Seen",
    "VerifyReport",
    "ViewVerdict",
    "expected_rows",
    "judge",
    "remembered_rows",
    "stored_items",
]
