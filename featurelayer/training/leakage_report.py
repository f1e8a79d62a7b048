"""The leakage report: how much each feature differs between the modes, as Markdown or one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from featurelayer.errors import ConfigError, PlanError, Problem
from featurelayer.training.modes import ModeComparison
from featurelayer.training.report import Report

KINDS = (".md", ".html")
_TITLE = "Leakage gap"
_WORTH_A_LOOK = 0.01
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24;
  background: #fff }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid #d8dee4; vertical-align: top }
code { font: 13px ui-monospace, monospace }
meter { width: 8rem; vertical-align: middle }
.n { font-variant-numeric: tabular-nums; white-space: nowrap }
@media (prefers-color-scheme: dark) { body { background: #16191d; color: #e6e9ec } th, td { border-color: #3a4048 } }
"""


def render_leakage_report(report: Report, kind: str, title: str = "") -> str:
    """Return the page of a build that compared the modes; `kind` is `.md` or `.html`, `title` the training set's name.

    Raises:
        PlanError: the build did not compare the modes.
    """
    if report.modes is None:
        what = "the modes of this training set were not compared"
        raise PlanError([Problem(what=what, fix="build it with compare_modes=True (--compare-modes)")])
    heading = f"{_TITLE}: {title}" if title else _TITLE
    return (_render_html if kind == ".html" else _render_markdown)(report, report.modes.pairs, heading)


def write_leakage_report(report: Report, path: Path, title: str = "") -> None:
    """Write the page to a file whose name ends in .md or .html.

    Raises:
        ConfigError: the file can't be written.
        PlanError: as `gap_page`.
    """
    text = render_leakage_report(report, path.suffix.lower(), title)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem(what=f"{path} can't be written: {error.strerror}", fix="name another")]) from error


def _order_features(report: Report, pairs: Sequence[ModeComparison]) -> list[str]:
    """Order the features by how much they differ, most first."""
    worst = {feature.name: max((p.shares[feature.name] for p in pairs), default=0.0) for feature in report.features}
    return sorted(worst, key=lambda name: (-worst[name], name))


def _sentences(report: Report, pairs: Sequence[ModeComparison]) -> Iterator[str]:
    """Yield sentences on what the shares mean and how to fix them, view by view."""
    labels = "1 label" if report.rows == 1 else f"{report.rows:,} labels"
    yield f"The share of {labels} for which a feature has different values in two modes."
    for pair in pairs:
        yield f"{pair.one} / {pair.other}: {pair.meaning}."
    for view in report.views:
        prefix = f"{view.name}__"
        worst = {
            (pair.one, pair.other): max((s for name, s in pair.shares.items() if name.startswith(prefix)), default=0.0)
            for pair in pairs
        }
        for (one, other), share in worst.items():
            if share < _WORTH_A_LOOK:
                continue
            if (one, other) == ("known_at", "event_time"):
                yield (
                    f"{view.view}: up to {share:.1%} of its values would come from rows that were not known yet. "
                    f"What the view says of when they are known is needed; whether it says enough, "
                    f"featurelayer show {view.view} --lateness tells."
                )
            elif (one, other) == ("known_at", "as_served"):
                yield (
                    f"{view.view}: up to {share:.1%} of its values were known and not served yet. "
                    "Export it more often, or train in mode as_served."
                )
    yield from report.modes.unavailable if report.modes is not None else ()


def _render_markdown(report: Report, pairs: Sequence[ModeComparison], title: str) -> str:
    head = ["feature", *(f"{pair.one} / {pair.other}" for pair in pairs)]
    lines = [f"# {title}", "", *(f"- {sentence}" for sentence in _sentences(report, pairs)), ""]
    lines += [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * len(pairs)}"]
    for name in _order_features(report, pairs):
        shares = [f"{pair.shares[name]:.2%}" for pair in pairs]
        escaped = name.replace("|", "\\|")
        lines.append(f"| {' | '.join([f'`{escaped}`', *shares])} |")
    return "\n".join(lines) + "\n"


def _render_html(report: Report, pairs: Sequence[ModeComparison], title: str) -> str:
    head = "".join(f"<th>{escape(f'{pair.one} / {pair.other}')}</th>" for pair in pairs)
    rows = "\n".join(
        f"<tr><td><code>{escape(name)}</code></td>"
        + "".join(
            f'<td class="n"><meter value="{pair.shares[name]:.6f}"></meter> {pair.shares[name]:.2%}</td>'
            for pair in pairs
        )
        + "</tr>"
        for name in _order_features(report, pairs)
    )
    items = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in _sentences(report, pairs))
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n<h1>{escape(title)}</h1>\n<ul>\n{items}\n</ul>\n"
        f"<table>\n<thead><tr><th>feature</th>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</html>\n"
    )
