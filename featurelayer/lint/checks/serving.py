"""FL5xx: what a lookup in production meets."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.durations import format_duration
from featurelayer.lint.base import AT, Hit, check, feature_finding, service_finding, view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import Severity


@check(
    "FL501",
    Severity.WARNING,
    "An online view can't be served as it should be",
    why="A type that the store can't hold fails the export, a database view is computed anew for each, and without a "
    "TTL the last value of a dead entity is served for ever.",
    fix="Materialize it as a table or incrementally, and say a `ttl`.",
    by_reader=True,
)
def online_view(project: LintProject) -> Iterator[Hit]:
    """An online view that is a database view, or has no TTL; types are told by the reader, as errors."""
    for view in project.views.values():
        if not view.online:
            continue
        if view.materialized in ("view", "ephemeral"):
            what = f"it is online and materialized as {view.materialized}, so each export computes it anew"
            fix = "Materialize it as a table or incrementally."
            yield view_finding(view, what, key="config.materialized", fix=fix)
        if view.ttl is None and not view.static and view.event_time:
            what = "it is online and has no `ttl`, so a value is served however old it is"
            yield view_finding(view, what, key=AT, fix="Add `ttl: 24 hours`, or what is true.")


@check(
    "FL503",
    Severity.WARNING,
    "An online view has no freshness",
    why="When its model is no longer built, lookups go on with old values and nobody is told.",
    fix="Add `freshness: {warn_after: ..., error_after: ...}`.",
)
def freshness(project: LintProject) -> Iterator[Hit]:
    """An online view with times and without `freshness`."""
    for view in project.views.values():
        if view.online and not view.static and view.event_time:
            fresh = view.freshness
            if fresh is None or (fresh.warn_after is None and fresh.error_after is None):
                yield view_finding(view, "it is online and has no `freshness`", key=AT)


@check(
    "FL504",
    Severity.WARNING,
    "A service can only be looked up in part",
    why="A service is served only if all its views are online; this one can be trained and not looked up.",
    fix="Say `online: true` of the views, or leave their features out of the service.",
)
def partly_online(project: LintProject) -> Iterator[Hit]:
    """A service of which some views are online and some are not."""
    for service in project.registry.services.values():
        views = [project.registry.views[join.view] for join in service.views]
        offline = sorted({view.id for view in views if not view.online})
        if offline and any(view.online for view in views):
            yield service_finding(service, f"of its views {', '.join(offline)} are not online, the others are",
                             key=f"{AT}.features", others=tuple(offline))  # fmt: skip


@check(
    "FL505",
    Severity.WARNING,
    "Values expire before anybody is told that they are old",
    why="Lookups answer with defaults while freshness still says that all is well.",
    fix="Make the `ttl` longer than `freshness.error_after`, or the latter shorter.",
)
def expires_unseen(project: LintProject) -> Iterator[Hit]:
    """A TTL shorter than the first limit of freshness."""
    for view in project.views.values():
        fresh = view.freshness
        limits = [limit for limit in (fresh.warn_after, fresh.error_after) if limit] if fresh else []
        if view.ttl and limits and view.ttl < min(limits):
            first = min(limits)
            what = (
                f"its values expire after {format_duration(view.ttl)}, freshness warns after {format_duration(first)}"
            )
            yield view_finding(view, what, key=f"{AT}.ttl")


@check(
    "FL506",
    Severity.WARNING,
    "A stale view falls back on defaults that some features lack",
    why="Once the view is stale, these features are NULL in every answer.",
    fix="Add a `default` to the column, or choose another `on_stale`.",
)
def missing_default(project: LintProject) -> Iterator[Hit]:
    """`on_stale: default` and a feature without `default`."""
    for view in project.views.values():
        if view.online and view.on_stale == "default":
            for feature in view.features:
                if not feature.has_default:
                    yield feature_finding(
                        view, feature, "the view says `on_stale: default`, and it has no `default`", key=AT
                    )
