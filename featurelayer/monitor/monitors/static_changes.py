"""Monitor static views for values that change: past labels then get present values."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor_records import MonitorValue, view_monitor


@view_monitor(
    text="Share of a static view's keys whose values changed between exports.", warn=0, metric="share of changed keys"
)
def static_changes(context: MonitorContext) -> Iterator[MonitorValue]:
    """Measure the share of a static view's keys whose values differed between the recorded exports."""
    changes = context.changes
    if not context.view.static or changes is None:
        return
    if changes.exports < 2:
        yield MonitorValue(value=None, meaning="fewer than two exports are recorded, so there is nothing to compare")
        return
    share = changes.keys / context.rows if context.rows else 0.0
    meaning = f"the values of {changes.keys:,} of {context.rows:,} keys changed between exports"
    if changes.keys:
        meaning += ", and past labels get the present ones; a dbt snapshot of the model keeps what was known when"
    yield MonitorValue(value=min(share, 1.0), meaning=meaning)
