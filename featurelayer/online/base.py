"""The items of an online store, the one rule by which they change, and the protocol of a store.

An item is one JSON text under two names: `pk`, the entity and its key, and `sk`, the view and its version.
Definitions are in the same store under names that start with `#`, which no entity has, so a client needs only the
address of a store to serve from it:

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

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

import msgspec

from featurelayer.callbacks import Notify, Progress
from featurelayer.errors import ConfigError, Problem, StoreNotFound, did_you_mean
from featurelayer.online.budget import Usage
from featurelayer.online.codec import FIRST, LAST

if TYPE_CHECKING:
    from random import Random

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Moment = Annotated[int, msgspec.Meta(ge=FIRST, le=LAST)]
"""Microseconds that a datetime can be."""
ItemKey = tuple[str, str]
"""The `pk` and `sk` of an item."""

Spend = Callable[[float], None]
"""Called with the read units of a call before the next one is made; it may wait."""

_MOST_SEGMENTS = 1_000_000
_UNIT = 4096


class Item(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One entry of a store. Times are microseconds since 1970 in UTC, except `ttl`: whole seconds.

    `version` (`_v`) belongs to the export that wrote it, `as_of` (`_t`) is that export's snapshot time, `event_time`
    (`_e`) is when the values became true; static views and definitions have none, and an export's tombstone has that
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
        """Return whether a reader would see no difference."""
        return (
            self.f == other.f
            and self.event_time == other.event_time
            and self.schema == other.schema
            and self.valid_to == other.valid_to
            and self.deleted == other.deleted
        )

    def replaces(self, other: Item, *, rewind: bool = False) -> bool:
        """Return whether this item may take the place of `other`: the newer-wins rule.

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
    """Return the stand-in for an item whose attributes are not of their types; `damage` describes what is wrong."""
    pk, sk = key
    return Item(pk=pk, sk=sk, version=-(2**63), damage=damage)


def live_key(pk: str, version: object, event_time: object) -> LiveKey:
    """Return a key that a store lists; a number of another type is taken as unknown, since the key is there anyhow."""
    return LiveKey(
        pk, version if type(version) is int else 0, event_time if type(event_time) is int else None,
    )  # fmt: skip


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one `write`. The `lost` items were refused, because newer ones are stored: not a failure."""

    written: int = 0
    unchanged: int = 0
    lost: tuple[ItemKey, ...] = ()
    bytes: int = 0

    @property
    def refused(self) -> int:
        """The number of items that lost."""
        return len(self.lost)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The largest item with its key, and the largest `pk`, that a store takes, in bytes."""

    item: int
    pk: int


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a store declares about itself as `capabilities`; the defaults are those of a store on one machine.

    An export checks `limits` before it sends anything (None: there are none), and repeats a call that failed for a
    moment for `patience` seconds. `is_metered`: reads and writes are billed in DynamoDB's units, so exports are priced
    and `verify` keeps to its read units. `expires_items`: the store deletes items past their `ttl`.
    """

    limits: Limits | None = None
    patience: float = 0.0
    is_metered: bool = False
    expires_items: bool = False


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
    """The interface of every store; docs/stores.md shows how to add one.

    Every `deadline` is a reading of `time.monotonic()`, None for no limit. A call that can't end by then raises
    DeadlineExceeded. What a store can do beyond that, it declares by having the methods of `StoreProvisioner`,
    `PartitionedStore`, `CheckpointStore`, `CopyableStore`, `SamplingStore` or `BulkLoadStore`.
    """

    @property
    def capabilities(self) -> Capabilities:
        """Facts that the store declares about itself; a plain class attribute will do."""

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

        `rewind` lets a newer version bring back older events, `rewrite` puts unchanged items, too. `new` is a hint
        that probably none of the keys is stored yet, which only affects speed.

        Raises:
            DeadlineExceeded: not every item is known to be written; writing the same items again finishes it.
        """

    def live(self, sk: str) -> Iterator[LiveKey]:
        """Yield the entities that a view has values for (no tombstones). Reads the view's whole content."""

    def names(self, pk: str, *, deadline: float | None = None) -> list[str]:
        """Return every `sk` under one `pk`, sorted."""

    def remove(self, keys: Collection[ItemKey], *, deadline: float | None = None) -> None:
        """Delete items without a tombstone. Never for the values of views: a removed value needs one."""

    def warm_up(self, *, deadline: float | None = None) -> None:
        """Open what the first read would otherwise open inside its own deadline: files, sockets, credentials.

        Raises:
            DeadlineExceeded: the store was not ready in time.
            StoreNotFound: there is no such store.
        """

    def close(self) -> None:
        """Release connections and threads."""


class CreateResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `create`: whether the store is new, and how an existing one differs from the settings."""

    created: bool
    differs: tuple[str, ...] = ()


@runtime_checkable
class StoreProvisioner(Protocol):
    """A store that featurelayer can create, check and describe."""

    def create(self, settings: Any = None, notify: Notify | None = None) -> CreateResult:
        """Create the store, or complete an existing one; safe to repeat. `notify` is called with what takes long.

        `settings` are the `TableSettings` of DynamoDB; other stores ignore them.

        Raises:
            StoreNotFound: something else is at its address; the message lists what differs.
        """

    def check(self) -> None:
        """Raise StoreNotFound unless an export may write to it."""

    def describe(self) -> dict[str, Any]:
        """Return the store's own facts as JSON values; `problems` lists why it is not a featurelayer store.

        Raises:
            StoreNotFound: there is no such store.
        """


@runtime_checkable
class PartitionedStore(Protocol):
    """A store that may keep each view in a place of its own, so creating it takes the names of the views."""

    def provisioner(self, views: Collection[str]) -> StoreProvisioner:
        """Return the provisioner that creates, checks and describes a store with these views (their `sk`)."""


@runtime_checkable
class CheckpointStore(Protocol):
    """A store that may hold written values outside its file until they are checkpointed."""

    def checkpoint(self) -> str:
        """Move everything into the file; return what prevented it, or nothing."""


@runtime_checkable
class CopyableStore(Protocol):
    """A store in a file that can be copied while it is in use."""

    def backup(self, target: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
        """Write the whole store to one file; return the facts of the copy."""


@runtime_checkable
class SamplingStore(Protocol):
    """A store that can draw some keys without reading all of them."""

    def sample(self, sk: str, count: int, *, rows: int, random: Random, spend: Spend) -> list[str]:
        """Return up to `count` keys (`pk`) that a view has values for, all if there are no more.

        `rows` is about how many there are.
        """


@runtime_checkable
class BulkLoadStore(Protocol):
    """A store that can be created from all rows at once, as DynamoDB by an import from S3."""

    @property
    def has_table_per_view(self) -> bool:
        """True if each view has a table, and so an import, of its own."""

    def validate_import(self, views: Collection[str], new: Collection[str]) -> None:
        """Raise PlanError unless the views `new` can be imported into a store of `views`; both are their `sk`."""

    def load(
        self,
        sk: str,
        batches: Iterable[Sequence[Item]],
        place: Any,
        settings: Any,
        run: str,
        progress: Progress,
    ) -> Any:
        """Create the table of a view from items with distinct keys, and return the files sent.

        `place` and `settings` come from the store's entry in featurelayer.yml; `run` names the export.
        """


class StoreEntry(msgspec.Struct, frozen=True, kw_only=True):
    """How an entry of `online_store` in featurelayer.yml becomes an address; a store's module declares it as `entry`.

    `location` are the keys that may name the place, the usual one first, and `default` is the place without them. The
    key `path` is a file's path and starts from the project. `settings` are keys that are not part of the address; all
    others become its options. `command_timeout` is the least that the option `timeout` is for a command, in seconds.
    """

    location: tuple[str, ...] = ("name", "path", "table")
    default: str = ""
    settings: tuple[str, ...] = ()
    command_timeout: float | None = None


class StoreUrl(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a store's address: `scheme://location?name=value`. `location` keeps a leading slash of the path."""

    text: str
    scheme: str
    location: str
    options: dict[str, str]

    @property
    def display(self) -> str:
        """The address for messages: without its options and what precedes an `@`, which may be secret."""
        return redact_url(self.text)

    @property
    def path(self) -> Path:
        """The file that the address names: `x:///relative.db`, `x:////absolute.db`.

        Raises:
            ConfigError: it names none.
        """
        path = self.location.removeprefix("/")
        if not self.location.startswith("/") or not path:
            fix = f"write {self.scheme}:///relative/path.db or {self.scheme}:////absolute/path.db"
            raise ConfigError([Problem(what=f"'{self.display}' names no file", fix=fix)])
        return Path(path)

    def read_options(self, *known: str, configured: Collection[str] = ()) -> dict[str, str]:
        """Return the options.

        Raises:
            ConfigError: some are not `known`; names all of them. `configured` are further keys of featurelayer.yml.
        """
        unknown = [name for name in self.options if name not in known]
        if unknown:
            allowed = f"options of {self.scheme}: {', '.join(known)}" if known else f"{self.scheme} takes no options"
            if configured:
                allowed += f"; in featurelayer.yml also {', '.join(configured)}"
            raise ConfigError(
                Problem(
                    what=f"unknown option '{name}'{did_you_mean(name, [*known, *configured])}",
                    where=self.display,
                    fix=allowed,
                )
                for name in unknown
            )
        return self.options


def store_capabilities(store: OnlineStore) -> Capabilities:
    """Return the capabilities of a store, or the defaults."""
    return getattr(store, "capabilities", None) or Capabilities()


def find_provisioner(store: OnlineStore, views: Collection[str]) -> StoreProvisioner | None:
    """Return the provisioner of a store with these views; None if featurelayer can't create it."""
    if isinstance(store, PartitionedStore):
        return store.provisioner(views)
    return store if isinstance(store, StoreProvisioner) else None


def plan_write(items: Sequence[Item], stored: Mapping[ItemKey, Item], *, rewind: bool, rewrite: bool) -> WritePlan:
    """Plan a `write` given the stored items; the same in every store.

    An unchanged value of a newer run is to be renewed where that costs little: its version then holds against a run
    between the two that wakes up late. `rewrite` replaces every older version.
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


def redact_url(url: str) -> str:
    """Return the part of an address that no credentials can be in."""
    scheme, separator, rest = url.partition("?")[0].rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def foreign_store(what: str, fix: str, why: str = "") -> StoreNotFound:
    """Return the error for something that exists at the address but was not made by featurelayer."""
    return StoreNotFound(f"{what} is not a featurelayer store{why and ': '}{why}", fix=fix)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
