"""Print the explanation of one label: per view the candidates, the winner, and why the others lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from featurelayer.cli.output import echo, write_table

if TYPE_CHECKING:
    from featurelayer.training.explain import Candidate, Explanation, ViewExplanation


def print_explanation(explanation: Explanation) -> None:
    """Write an explanation to stdout."""
    from featurelayer.training.explain import format_moment

    others = "of 1 label" if explanation.labels == 1 else f"of {explanation.labels:,} labels"
    at = "" if explanation.time is None else f", time {format_moment(explanation.time)} UTC"
    echo(f"row {explanation.row} {others} (rows are counted from 0){at}, mode {explanation.mode}")
    for view in explanation.views:
        echo()
        _print_view(view)


def _print_view(view: ViewExplanation) -> None:
    for line in _heading(view):
        echo(line)
    if view.candidates:
        echo()
        _print_candidates(view)
    echo()
    write_table(
        ["feature", "value", "from"],
        [[feature.name, _format_value(feature.value), feature.origin] for feature in view.features],
    )


def _heading(view: ViewExplanation) -> Iterator[str]:
    from featurelayer.training.explain import format_moment

    role = "" if view.name == view.view else f" ({view.view})"
    yield f"{view.name}{role}: {view.result}"
    yield f"  key    {', '.join(f'{column} = {_format_value(value)}' for column, value in view.keys.items())}"
    yield f"  rules  {view.rules}"
    if view.served_until is not None:
        yield f"  served the export of {format_moment(view.served_until)}"


def _print_candidates(view: ViewExplanation) -> None:
    """Print one line per candidate; a column that no candidate has is left out."""
    first = view.candidates[0]
    timed = any(candidate.event_time is not None for candidate in view.candidates)
    named = list(dict.fromkeys((*first.order, *first.values)))
    heads = [*(("event time", "visible from") if timed else ()), "verdict", *named]
    write_table(heads, [_cells(candidate, named, timed=timed) for candidate in view.candidates])
    left_out = [
        f"{count:,} {which}"
        for count, which in ((view.newer_left_out, "newer"), (view.older_left_out, "older"))
        if count
    ]
    if left_out:
        echo(f"not shown: {' and '.join(left_out)} of {view.rows:,} rows with this key")


def _cells(candidate: Candidate, named: Sequence[str], *, timed: bool) -> list[str]:
    from featurelayer.training.explain import format_moment

    times = [candidate.event_time, candidate.visible_from] if timed else []
    values = {**candidate.order, **candidate.values}
    return [
        *("NULL" if time is None else format_moment(time) for time in times),
        candidate.verdict,
        *(_format_value(values[name]) for name in named),
    ]


def _format_value(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(str(value).split()) if isinstance(value, str) else str(value)
