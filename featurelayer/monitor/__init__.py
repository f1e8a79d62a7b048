"""Watches the data: profiles of features, compared with thresholds and with a baseline."""

from featurelayer.monitor.alerts import send_alerts
from featurelayer.monitor.context import Coverage, MonitorContext, OnlineFreshness, SourceFreshness, ValueChanges
from featurelayer.monitor.context_builder import (
    SnapshotRows,
    TrainingRows,
    ViewHistory,
    build_context,
    cast_rows,
    evaluate_monitors,
)
from featurelayer.monitor.history import History, HistoryTables
from featurelayer.monitor.result import MonitorReport
from featurelayer.monitor.settings import Settings, view_settings

__all__ = [
    "Coverage",
    "History",
    "HistoryTables",
    "MonitorContext",
    "MonitorReport",
    "OnlineFreshness",
    "Settings",
    "SnapshotRows",
    "SourceFreshness",
    "TrainingRows",
    "ValueChanges",
    "ViewHistory",
    "build_context",
    "cast_rows",
    "evaluate_monitors",
    "send_alerts",
    "view_settings",
]
