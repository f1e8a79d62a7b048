"""Watches the data: profiles of features, compared with thresholds and with a baseline."""

from featurelayer.monitor.history import History, HistoryTables

__all__ = ["History", "HistoryTables"]
