"""Report a store's content by view: the newest committed export of each, and whether it is fresh enough."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from featurelayer.durations import microseconds
from featurelayer.errors import CorruptItem
from featurelayer.online.base import Item, OnlineStore, find_provisioner
from featurelayer.online.codec import from_microseconds, moment_at, to_microseconds
from featurelayer.online.definitions import VIEWS, ViewCommit, commit_key, view_sk

if TYPE_CHECKING:
    from featurelayer.model import FeatureView


class ViewStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The newest committed export of a view; None where there is none, or a static view has no such time.

    `age_seconds` is that of the view's newest row (`source_time`). `freshness` is the verdict on it by the view's own
    `freshness`: `pass`, `warn` or `error`; `none` without a policy, `not exported` without a commit, `corrupt` where
    the commit can't be read, and `not in project` for what the store holds and the project does not put online.
    """

    view: str
    freshness: str
    run: int | None = None
    schema: str = ""
    as_of: datetime | None = None
    source_time: datetime | None = None
    rows: int | None = None
    age_seconds: float | None = None


class StoreStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A store's own facts, and its views. A store with `problems` is not one of ours, and its views are not read."""

    store: dict[str, Any]
    views: tuple[ViewStatus, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(self.store.get("problems", ()))

    @property
    def missing(self) -> tuple[str, ...]:
        """Missing tables of views, where each view has its own."""
        return tuple(self.store.get("missing", ()))

    def to_dict(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        views = [msgspec.structs.asdict(view) for view in self.views]
        for view in views:
            view |= {name: value.isoformat() for name, value in view.items() if isinstance(value, datetime)}
        return {"store": self.store, "views": views}


def store_status(store: OnlineStore, views: Iterable[FeatureView], now: datetime) -> StoreStatus:
    """Return the status of a store; `views` are those that the project puts online.

    Raises:
        StoreNotFound: there is no such store.
    """
    known = {view_sk(view): view for view in views}
    place = find_provisioner(store, known)
    facts = place.describe() if place is not None else {"type": type(store).__name__}
    if facts.get("problems"):
        return StoreStatus(store=facts, views=())
    suffix = commit_key("")[1]
    committed = [name.removesuffix(suffix) for name in store.names(VIEWS) if name.endswith(suffix)]
    commits = store.read([commit_key(sk) for sk in committed], consistent=True)
    return StoreStatus(
        store=facts,
        views=tuple(
            _view_status(sk, known.get(sk), commits.get(commit_key(sk)), now) for sk in sorted({*known, *committed})
        ),
    )


def _view_status(sk: str, view: FeatureView | None, item: Item | None, now: datetime) -> ViewStatus:
    name = view.id if view is not None else sk
    if item is None:
        return ViewStatus(view=name, freshness="not exported")
    try:
        commit = ViewCommit.from_item(item)
    except CorruptItem:
        return ViewStatus(view=name, freshness="corrupt")
    source_time = commit.source_time
    return ViewStatus(
        view=name,
        freshness=_verdict(view, commit, to_microseconds(now)),
        run=commit.version,
        schema=commit.schema,
        as_of=from_microseconds(commit.as_of),
        source_time=moment_at(source_time) if source_time is not None else None,
        rows=commit.rows,
        age_seconds=(to_microseconds(now) - source_time) / 1_000_000 if source_time is not None else None,
    )


def _verdict(view: FeatureView | None, commit: ViewCommit, now: int) -> str:
    """Judge as serving does: exactly as old as allowed is fresh, and a view without event times has no age."""
    if view is None:
        return "not in project"
    limits = view.freshness
    if limits is None or commit.source_time is None:
        return "none"
    age = now - commit.source_time
    for verdict, limit in (("error", limits.error_after), ("warn", limits.warn_after)):
        if limit is not None and age > microseconds(limit):
            return verdict
    return "pass"
