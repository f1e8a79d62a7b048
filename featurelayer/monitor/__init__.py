"""Monitor the data: profile features, and compare them with limits and with a baseline.

A monitor of another package imports from here; `run` and the modules that read the warehouse are imported by name, so
that the contract of the annotations can load the declarations quickly.
"""

from featurelayer.monitor.context import BaselineStats, MonitorContext
from featurelayer.monitor.result import MonitorReport
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import (
    Limit,
    Monitor,
    MonitorResult,
    MonitorStatus,
    MonitorValue,
    feature_monitor,
    view_monitor,
)

__all__ = [
    "BaselineStats",
    "ColumnStats",
    "Limit",
    "Monitor",
    "MonitorContext",
    "MonitorReport",
    "MonitorResult",
    "MonitorStatus",
    "MonitorValue",
    "feature_monitor",
    "view_monitor",
]
