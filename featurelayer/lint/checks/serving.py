"""FL5xx: views and services that lookups can't serve well."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.dbt.block import AT
from featurelayer.durations import format_duration
from featurelayer.lint.base import check
from featurelayer.lint.findings import feature_finding, service_finding, view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import Finding, Severity


@check(
    "FL501",
    Severity.WARNING,
    "An online view can't be served properly",
    why="A type that the store can't hold fails the export, a database view is recomputed by each export, and without "
    "a TTL the last value of a dead entity is served for ever.",
    fix="Materialize it as a table or incrementally, and set a `ttl`.",
    by_reader=True,
)
def online_view(project: LintProject) -> Iterator[Finding]:
    """Find online views that are database views, or have no TTL; the reader reports types as errors."""
    for view in project.views.values():
        if not view.online:
            continue
        if view.materialized in ("view", "ephemeral"):
            what = f"it is online and materialized as {view.materialized}, so each export recomputes it"
            fix = "Materialize it as a table or incrementally."
            yield view_finding(view, what, key="config.materialized", fix=fix)
        if view.ttl is None and not view.static and view.event_time:
            what = "it is online and has no `ttl`, so a value is served however old it is"
            yield view_finding(view, what, key=AT, fix="Add `ttl`, such as `ttl: 24 hours`.")


@check(
    "FL503",
    Severity.WARNING,
    "An online view has no freshness limits",
    why="When its model is no longer built, lookups silently keep returning old values.",
    fix="Add `freshness: {warn_after: ..., error_after: ...}`.",
)
def freshness(project: LintProject) -> Iterator[Finding]:
    """Find online views with times and without `freshness`."""
    for view in project.views.values():
        if view.online and not view.static and view.event_time:
            fresh = view.freshness
            if fresh is None or (fresh.warn_after is None and fresh.error_after is None):
                yield view_finding(view, "it is online and has no `freshness`", key=AT)


@check(
    "FL504",
    Severity.WARNING,
    "A service is only partly online",
    why="A service can be looked up only if all its views are online; this one can be used for training only.",
    fix="Set `online: true` on the views, or remove their features from the service.",
)
def partly_online(project: LintProject) -> Iterator[Finding]:
    """Find services that mix online and offline views."""
    for service in project.registry.services.values():
        views = [project.registry.views[join.view] for join in service.views]
        offline = sorted({view.id for view in views if not view.online})
        if offline and any(view.online for view in views):
            what = f"{', '.join(offline)} {'is' if len(offline) == 1 else 'are'} not online, but its other views are"
            yield service_finding(service, what, key=f"{AT}.features", others=tuple(offline))


@check(
    "FL505",
    Severity.WARNING,
    "Values expire before freshness reports them as old",
    why="Lookups return defaults while the freshness check still passes.",
    fix="Make `ttl` longer than `freshness.error_after`, or shorten the latter.",
)
def expires_unseen(project: LintProject) -> Iterator[Finding]:
    """Find TTLs shorter than the first freshness limit."""
    for view in project.views.values():
        fresh = view.freshness
        limits = [limit for limit in (fresh.warn_after, fresh.error_after) if limit] if fresh else []
        if view.ttl and limits and view.ttl < min(limits):
            first = min(limits)
            ttl, warned = format_duration(view.ttl), format_duration(first)
            what = f"its values expire after {ttl}, but freshness warns after {warned}"
            yield view_finding(view, what, key=f"{AT}.ttl")


@check(
    "FL506",
    Severity.WARNING,
    "A stale view falls back on defaults that some features lack",
    why="Once the view is stale, these features are NULL in every answer.",
    fix="Add a `default` to the column, or choose another `on_stale`.",
)
def missing_default(project: LintProject) -> Iterator[Finding]:
    """Find `on_stale: default` with features that have no `default`."""
    for view in project.views.values():
        if view.online and view.on_stale == "default":
            for feature in view.features:
                if not feature.has_default:
                    yield feature_finding(
                        view, feature, "the view sets `on_stale: default`, but the feature has no `default`", key=AT
                    )
