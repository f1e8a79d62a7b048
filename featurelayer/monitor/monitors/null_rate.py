"""Values that are missing: too many of them, or another share than the baseline's."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor_records import MonitorResult
from featurelayer.terminal_text import format_share


def check(watched: MonitorContext) -> Iterator[MonitorResult]:
    """Judge the share of NULLs of each feature, and by how much it differs from the baseline's."""
    for feature, limit, seen in watched.features("null_rate"):
        if seen.null_rate is not None:
            meaning = f"{format_share(seen.null_rate)} of {seen.rows:,} rows of {watched.when} are NULL"
            yield watched.result("null_rate", seen.null_rate, limit, meaning, feature=feature.name)
    for feature, limit, seen in watched.features("null_rate_change"):
        before = watched.baseline.seen.get(feature.name)
        if seen.null_rate is None or before is None or before.null_rate is None:
            continue
        if min(seen.rows, before.rows) < watched.settings.minimum_rows:
            continue
        change = seen.null_rate - before.null_rate
        share, usual = format_share(seen.null_rate), format_share(before.null_rate)
        meaning = f"{share} of {watched.when} are NULL, {usual} of the baseline"
        yield watched.result(
            "null_rate_change", abs(change), limit, meaning, feature=feature.name, baseline=watched.baseline.name
        )
