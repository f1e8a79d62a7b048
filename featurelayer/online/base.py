"""What a store holds, the one rule by which it changes, and how to open one.

An item is one JSON text under two names: `pk`, the entity and its key, and `sk`, the view and its version.
Definitions travel in the same store under names that start with `#`, which no entity has, so that whoever knows the
address of a store can serve from it:

    pk                    sk                              f
    plane["N14228"]       plane_legs@0                    the features' values, a JSON array in schema order
    #schema               <fingerprint>                   names and types that such an array follows; never changes
    #service              late_arrival@<fingerprint>      a service; what it serves never changes
    #service              late_arrival                    the fingerprint that an unpinned lookup follows
    #view                 plane_legs@0#commit             the newest committed export of a view
    #view                 plane_legs#definition           how a client writes to a view
    #log#plane_legs@0#3   <time>-<random>                 a row that a client wrote and the warehouse has not yet

The values here are msgspec structs, not dataclasses: a dozen dataclasses cost more to import than the whole package
may, and an export makes one item per row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from time import monotonic
from typing import Annotated, Protocol, cast, runtime_checkable

import msgspec

from featurelayer.errors import ConfigError, DeadlineExceeded, MissingDependency, Problem, StoreNotFound, did_you_mean
from featurelayer.online.codec import FIRST, LAST

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Moment = Annotated[int, msgspec.Meta(ge=FIRST, le=LAST)]
"""Microseconds that a datetime can be."""
ItemKey = tuple[str, str]
"""The `pk` and `sk` of an item."""

_ENTRY_POINTS = "featurelayer.online_stores"


class Item(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One entry of a store. Times are microseconds since 1970 in UTC, except `ttl`: whole seconds.

    `version` (`_v`) belongs to the export that wrote it, `as_of` (`_t`) is that export's snapshot time, `event_time`
    (`_e`) says when the values became true; static views and definitions have none, and an export's tombstone has that
    of the row it removes. `valid_to` (`_u`) is when they stopped being true, `schema` (`_s`) names the schema of `f`,
    and `ttl` only collects garbage. `streamed` (`_w`) marks what `FeatureClient.write` wrote, at the time `version`,
    between exports.
    """

    pk: str
    sk: str
    version: Moment
    f: str = ""
    schema: str = ""
    as_of: Moment = 0
    event_time: Int64 | None = None
    valid_to: Int64 | None = None
    ttl: Int64 | None = None
    deleted: bool = False
    streamed: bool = False
    damage: str = ""

    @property
    def key(self) -> ItemKey:
        return self.pk, self.sk

    def same_content(self, other: Item) -> bool:
        """Whether a reader would see no difference."""
        return (
            self.f == other.f
            and self.event_time == other.event_time
            and self.schema == other.schema
            and self.valid_to == other.valid_to
            and self.deleted == other.deleted
        )

    def replaces(self, other: Item, *, rewind: bool = False) -> bool:
        """Whether this item may take the place of `other`: the newer-wins rule.

        Between two exports the greater version wins: the newest run is the truth, also where the newest row was deleted
        upstream and an older event is the newest again. As soon as one of the two was streamed, the greater
        `(event_time, version)` wins, so that an export leaves alone what was streamed and what it has not seen. Where
        either side has no event time, and for a write that may go back in time (`rewind`), the greater version alone
        decides. Equals never replace each other, so writing twice is writing once.
        """
        by_version = rewind or not (self.streamed or other.streamed)
        if by_version or self.event_time is None or other.event_time is None:
            return self.version > other.version
        return (self.event_time, self.version) > (other.event_time, other.version)

    @property
    def size(self) -> int:
        """Bytes as DynamoDB counts them, rounded up a little for numbers."""
        optional = (self.event_time, self.valid_to, self.ttl)
        numbers = 2 * 14 + sum(14 for number in optional if number is not None)
        return (
            12
            + _bytes(self.pk)
            + _bytes(self.sk)
            + _bytes(self.f)
            + len(self.schema)
            + numbers
            + 3 * (self.deleted + self.streamed)
        )


def corrupt_item(key: ItemKey, damage: str) -> Item:
    """Return what a store gives for an item whose attributes are not of their types; `damage` says what is wrong."""
    pk, sk = key
    return Item(pk=pk, sk=sk, version=-(2**63), damage=damage)


def live_key(pk: str, version: object, event_time: object) -> LiveKey:
    """Return a key that a store lists; a number of another type is taken as unknown, since the key is there anyhow."""
    return LiveKey(
        pk, version if type(version) is int else 0, event_time if type(event_time) is int else None,
    )  # fmt: skip


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the items of one `write`. `lost` were refused: somebody newer won, which is no failure."""

    written: int = 0
    unchanged: int = 0
    lost: tuple[ItemKey, ...] = ()
    bytes: int = 0

    @property
    def refused(self) -> int:
        """How many lost."""
        return len(self.lost)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The most bytes that a store takes: of an item with its key, and of `pk` alone."""

    item: int
    pk: int


class WritePlan(msgspec.Struct, frozen=True):
    """The items of a `write`: those to be put, those that only make what is there newer, and those that lost."""

    put: list[Item]
    renew: list[Item]
    unchanged: int
    lost: list[ItemKey]


class LiveKey(msgspec.Struct, frozen=True):
    """An entity that a view has an item for."""

    pk: str
    version: int
    event_time: int | None


@runtime_checkable
class OnlineStore(Protocol):
    """What a store can do. A new one is a module `featurelayer/online/stores/<scheme>.py` with `connect(url)`.

    An export looks at `limits` before it sends anything; None if there are none. Every `deadline` is a reading of
    `time.monotonic()`, None for no limit. A call that can't end by then raises DeadlineExceeded.
    """

    limits: Limits | None

    def read(
        self,
        keys: Collection[ItemKey],
        *,
        consistent: bool = False,
        deadline: float | None = None,
        usage: Usage | None = None,
    ) -> dict[ItemKey, Item]:
        """Return the items that exist, tombstones included, in one call where the store's limits allow.

        `usage` is told what the read took.

        Raises:
            DeadlineExceeded: not every item was read in time. Never a silent gap.
            StoreNotFound: there is no such store.
        """

    def write(
        self,
        items: Sequence[Item],
        *,
        rewind: bool = False,
        rewrite: bool = False,
        new: bool = False,
        deadline: float | None = None,
    ) -> Written:
        """Put every item that `Item.replaces` what is there and differs from it; each key at most once per call.

        `rewind` lets a newer version bring back older events, `rewrite` puts what has not changed, too. `new` says that
        most likely none of the keys is there: what a store makes of that is speed.

        Raises:
            DeadlineExceeded: not every item is known to be written; writing the same items again finishes it.
        """

    def live(self, sk: str) -> Iterator[LiveKey]:
        """Yield the entities that a view has values for (no tombstones). Reads the view's whole content."""

    def names(self, pk: str, *, deadline: float | None = None) -> list[str]:
        """Return every `sk` under one `pk`, sorted."""

    def remove(self, keys: Collection[ItemKey], *, deadline: float | None = None) -> None:
        """Delete items without a trace. Only for what no export writes: a value that is gone needs a tombstone."""

    def warm_up(self, *, deadline: float | None = None) -> None:
        """Open what the first read would otherwise open inside its own deadline: files, sockets, credentials.

        Raises:
            DeadlineExceeded: the store was not ready in time.
            StoreNotFound: there is no such store.
        """

    def close(self) -> None:
        """Release connections and threads."""


class StoreUrl(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a store's address: `scheme://location?name=value`. `location` keeps a leading slash of the path."""

    text: str
    scheme: str
    location: str
    options: dict[str, str]

    @property
    def shown(self) -> str:
        """The address for messages: without its options and whatever precedes an `@`, which may be secret."""
        return redact_url(self.text)

    def only(self, *known: str, configured: Collection[str] = ()) -> dict[str, str]:
        """Return the options, or report all those that the store does not have.

        `configured` are what an entry of featurelayer.yml may say besides.
        """
        unknown = [name for name in self.options if name not in known]
        if unknown:
            allowed = f"options of {self.scheme}: {', '.join(known)}" if known else f"{self.scheme} takes no options"
            if configured:
                allowed += f"; in featurelayer.yml also {', '.join(configured)}"
            raise ConfigError(
                Problem(
                    what=f"unknown option '{name}'{did_you_mean(name, [*known, *configured])}",
                    where=self.shown,
                    fix=allowed,
                )
                for name in unknown
            )
        return self.options


class ReadBudget:
    """The time left for a call to a store. Shared by the threads of one call. `done` is what the call does to items."""

    __slots__ = ("done", "until")

    def __init__(self, until: float | None, done: str = "read") -> None:
        self.until, self.done = until, done

    def left(self) -> float | None:
        """Return the seconds left, or None for no limit.

        Raises:
            DeadlineExceeded: none are left.
        """
        if self.until is None:
            return None
        seconds = self.until - monotonic()
        if seconds <= 0:
            raise deadline_exceeded(self.done)
        return seconds

    def earliest(self, until: float) -> float:
        """Return `until`, or the end of the budget if that comes first; both are readings of `time.monotonic()`."""
        return until if self.until is None else min(until, self.until)

    def most(self, seconds: float) -> float:
        """Return so many seconds, or those that are left if they are fewer."""
        return seconds if self.until is None else max(0.0, min(seconds, self.until - monotonic()))


class Usage:
    """What reads took: calls to the store, bytes of their answers, attempts beyond the first. Threads may share it."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: list[tuple[int, int]] = []

    def add(self, *, bytes: int, retries: int = 0) -> None:
        """Count one call."""
        self._calls.append((bytes, retries))

    @property
    def calls(self) -> int:
        return len(self._calls)

    @property
    def bytes(self) -> int:
        return sum(size for size, _ in self._calls)

    @property
    def retries(self) -> int:
        return sum(retries for _, retries in self._calls)


def plan_write(items: Sequence[Item], stored: Mapping[ItemKey, Item], *, rewind: bool, rewrite: bool) -> WritePlan:
    """Return what a `write` is to put, given what is stored: the same in every store.

    An unchanged value of a newer run is to be renewed where that costs little: its version then holds against a run
    between the two that wakes up late. `rewrite` puts every older version anew.
    """
    put: list[Item] = []
    renew: list[Item] = []
    lost: list[ItemKey] = []
    unchanged = 0
    for item in items:
        there = stored.get(item.key)
        if there is not None and item.same_content(there) and not (rewrite and item.version > there.version):
            unchanged += 1
            if item.version > there.version:
                renew.append(item)
        elif there is not None and not item.replaces(there, rewind=rewind):
            lost.append(item.key)
        else:
            put.append(item)
    return WritePlan(put, renew, unchanged, lost)


def open_store(url: str) -> OnlineStore:
    """Return the store at an address; nothing is read or created yet.

    `sqlite:///features.db` (relative to the working directory), `sqlite:////var/lib/features.db`, `memory://name`
    (one instance per name and process), `dynamodb://table?region=eu-west-1&endpoint_url=http://127.0.0.1:8000`.

    Raises:
        ConfigError: the address is not understood.
    """
    parsed = parse_url(url)
    return _load_connector(parsed)(parsed)


def parse_url(url: str) -> StoreUrl:
    """Return the parts of a store's address; `%20` and the like are decoded."""
    from urllib.parse import parse_qsl, unquote

    if not isinstance(url, str):
        raise ConfigError([Problem(
            what=f"the address of the online store is a {type(url).__name__}, not text",
            fix="write sqlite:///path/to/file.db, dynamodb://table?region=... or memory://name",
        )])  # fmt: skip
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme:
        raise ConfigError([Problem(
            what=f"'{redact_url(url)}' is not the address of an online store",
            fix="write sqlite:///path/to/file.db, dynamodb://table?region=... or memory://name",
        )])  # fmt: skip
    location, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    return StoreUrl(text=url, scheme=scheme.lower(), location=unquote(location), options=options)


def store_schemes() -> tuple[str, ...]:
    """Return the kinds of store that come with featurelayer, sorted."""
    from pkgutil import iter_modules

    from featurelayer.online import stores

    return tuple(sorted(module.name for module in iter_modules(stores.__path__)))


def store_types() -> tuple[str, ...]:
    """Return all kinds of store that can be opened here, those of other packages too, sorted."""
    from importlib.metadata import entry_points

    return tuple(sorted({*store_schemes(), *(point.name for point in entry_points(group=_ENTRY_POINTS))}))


def _load_connector(url: StoreUrl) -> Callable[[StoreUrl], OnlineStore]:
    """Return `connect` of the module that serves the scheme: ours first, then entry points."""
    from importlib import import_module
    from importlib.metadata import entry_points

    known = store_schemes()
    if url.scheme in known:
        name = f"featurelayer.online.stores.{url.scheme}"
        try:
            return cast("Callable[[StoreUrl], OnlineStore]", import_module(name).connect)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("featurelayer"):
                raise
            raise MissingDependency(error.name, url.scheme) from error
    found = {point.name: point for point in entry_points(group=_ENTRY_POINTS)}
    if url.scheme in found:
        return cast("Callable[[StoreUrl], OnlineStore]", found[url.scheme].load().connect)
    schemes = store_types()
    raise ConfigError([Problem(
        what=f"there is no online store '{url.scheme}'{did_you_mean(url.scheme, schemes)}",
        where=url.shown, fix=f"known are {', '.join(schemes)}",
    )])  # fmt: skip


def redact_url(url: str) -> str:
    """Return the part of an address that no credentials can be in."""
    scheme, separator, rest = url.partition("?")[0].rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def deadline_exceeded(done: str = "read") -> DeadlineExceeded:
    """Return the error for a call that ran out of time before every item was `done`: read, written, removed."""
    return DeadlineExceeded(f"the deadline passed before every item was {done}; allow it more time")


def foreign_store(what: str, fix: str, why: str = "") -> StoreNotFound:
    """Return the error for something that exists at the address but was not made by featurelayer."""
    return StoreNotFound(f"{what} is not a featurelayer store{why and ': '}{why}", fix=fix)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
