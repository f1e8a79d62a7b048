"""Watches the data: profiles of features, compared with thresholds and with a baseline."""

from featurelayer.monitor.alerts import send_alerts
from featurelayer.monitor.history import History, HistoryTables
from featurelayer.monitor.result import MonitorReport
from featurelayer.monitor.settings import Settings, view_settings
from featurelayer.monitor.watch import Around, Snapshot, TrainingRows, judged, typed_rows, watch
from featurelayer.monitor.watched import Changes, Coverage, Online, Source, Watched

__all__ = [
    "Around",
    "Changes",
    "Coverage",
    "History",
    "HistoryTables",
    "MonitorReport",
    "Online",
    "Settings",
    "Snapshot",
    "Source",
    "TrainingRows",
    "Watched",
    "judged",
    "send_alerts",
    "typed_rows",
    "view_settings",
    "watch",
]
