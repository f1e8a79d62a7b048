"""The baseline as a dbt seed, for the dbt test `psi_below`, which runs without featurelayer."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path

from featurelayer.errors import PlanError, Problem
from featurelayer.monitor.result import MonitorReport
from featurelayer.monitor.statistics import ColumnStats

COLUMNS = ("view", "feature", "bin", "above", "up_to", "category", "row_count")


def write_seed(report: MonitorReport, path: Path) -> int:
    """Write the histograms and categories of every baseline of a run; return the number of bins.

    Raises:
        PlanError: no view has a baseline, or the file can't be written.
    """
    rows = [
        (context.view.id, feature, *bin_)
        for context in report.contexts
        for feature, stats in sorted(context.baseline.features.items())
        for bin_ in _bin_rows(stats)
    ]
    if not rows:
        what = "there is no baseline to write: " + "; ".join(each.baseline.why_not for each in report.contexts)
        raise PlanError([Problem(what=what, fix="choose a time with rows: --as-of, or `baseline` in the annotations")])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise PlanError(
            [Problem(what=f"{path} can't be written: {error.strerror}", fix="choose another path")]
        ) from error
    return len(rows)


def _bin_rows(stats: ColumnStats) -> Iterator[tuple[int, str, str, str, int]]:
    """Yield the bins of a feature; an open end is empty, like the category of a number."""
    if stats.edges and sum(stats.counts):
        ends = ["", *(repr(edge) for edge in stats.edges), ""]
        for number, ((low, high), count) in enumerate(zip(itertools.pairwise(ends), stats.counts, strict=True)):
            yield number, low, high, "", count
    elif stats.top and stats.complete:
        for number, (value, count) in enumerate(stats.top):
            yield number, "", "", value, count
