"""Monitor the number of rows: rows that did not arrive, or arrived twice."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor_records import MonitorValue, view_monitor


@view_monitor(
    text="Rows per period as a share of the baseline's; the inverse is the upper limit.",
    warn=0.5,
    error=0.1,
    least=True,
)
def volume(context: MonitorContext) -> Iterator[MonitorValue]:
    """Measure the rows by the baseline's per period; twice the expected rows is judged like half."""
    expected = context.baseline.per_period
    if not expected:
        if context.no_data_reason:
            yield MonitorValue(value=None, meaning=context.no_data_reason)
        return
    ratio = context.rows / expected
    meaning = f"{context.rows:,} rows in {context.when}, {expected:,.0f} in a period of the baseline ({ratio:.0%})"
    yield MonitorValue(value=min(ratio, 1 / ratio) if ratio else 0.0, meaning=meaning, baseline=context.baseline.name)
