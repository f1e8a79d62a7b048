"""Monitor the coverage of a view: entities without a valid row, which a lookup answers with a default or nothing."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor_records import MonitorValue, view_monitor
from featurelayer.terminal_text import format_share


@view_monitor(text="Share of the population that has a valid row (TTL, `valid_to`).", least=True)
def coverage(context: MonitorContext) -> Iterator[MonitorValue]:
    """Measure the share of the population that has a row in the snapshot."""
    measured = context.coverage
    if measured is None:
        return
    if not measured.population:
        yield MonitorValue(value=None, meaning=f"there is no key in {measured.of}")
        return
    share = measured.covered / measured.population
    keys = f"{measured.covered:,} of {measured.population:,} keys in {measured.of}"
    yield MonitorValue(value=share, meaning=f"{keys} ({format_share(share)}) have a valid row")
