"""The baseline as a dbt seed, so that a dbt test can compare with it where nothing of ours runs."""

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
    """Write the histograms and categories of every baseline of a run; return how many bins there are.

    Raises:
        PlanError: no view has a baseline, or the file can't be written.
    """
    rows = [
        (watched.view.id, feature, *bin_)
        for watched in report.watched
        for feature, seen in sorted(watched.baseline.seen.items())
        for bin_ in _bin_rows(seen)
    ]
    if not rows:
        what = "there is no baseline to write: " + "; ".join(each.baseline.why_not for each in report.watched)
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


def _bin_rows(seen: ColumnStats) -> Iterator[tuple[int, str, str, str, int]]:
    """The bins of a feature; an end that is open is empty, like the category of a number."""
    if seen.edges and sum(seen.counts):
        ends = ["", *(repr(edge) for edge in seen.edges), ""]
        for number, ((low, high), count) in enumerate(zip(itertools.pairwise(ends), seen.counts, strict=True)):
            yield number, low, high, "", count
    elif seen.top and seen.complete:
        for number, (value, count) in enumerate(seen.top):
            yield number, "", "", value, count
