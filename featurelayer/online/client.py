"""The lookup client: one call to the store for all views of a service.

What a lookup needs besides the values rides along in that same call, and only when the copy at hand is older than
`refresh`: the pointer of an unpinned service, and the newest commit of views that have a freshness policy. So a lookup
is one call, a change is seen within `refresh`, and no small item becomes the hottest of the table. More calls happen
only at the first lookup (the definition and the schemas are read) and when the pointer or a schema has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from featurelayer.errors import ConfigError, CorruptItem, PlanError, Problem, StoredSchemaMismatch, UnknownNameError
from featurelayer.online.arguments import read_rows, validate_duration, validate_moment, validate_name, validate_names
from featurelayer.online.base import Item, ItemKey, OnlineStore
from featurelayer.online.cache import ItemCache
from featurelayer.online.codec import to_microseconds
from featurelayer.online.definitions import (
    SCHEMAS,
    SERVICES,
    VIEWS,
    Schema,
    ServiceDefinition,
    ViewCommit,
    ViewDefinition,
    commit_key,
    definition_key,
    service_key,
)
from featurelayer.online.lookup_plan import LookupPlan
from featurelayer.online.metrics import OnLookup, Trace
from featurelayer.online.pinning import Pin, parse_pins, read_pin
from featurelayer.online.rows import RowCodec
from featurelayer.online.stores import open_store
from featurelayer.online.streaming import WriteResult, write_rows
from featurelayer.online.vector import FeatureVector
from featurelayer.terminal_text import printable

T = TypeVar("T")

DEADLINE = 3.0
# A process that starts has time, and what a first connection needs (names, TLS, credentials) takes it.
START_DEADLINE = 10.0
# A write is a read and two rounds of conditional writes, which DynamoDB throttles while a table grows. Most gateways
# give a request up after 30 seconds.
WRITE_DEADLINE = 10.0
_LONGEST = 365 * 86_400.0  # the largest timeout of sockets and locks
REFRESH = timedelta(seconds=10)
CACHE_ITEMS = 10_000
OnCorrupt = Literal["raise", "null"]


class FeatureClient:
    """Looks features up in an online store. Safe to share between threads and to use after a fork; close it at the end.

    `pins` maps a service to the fingerprint it must be served with; `refresh` is how old the client's copy of a
    service's pointer and of a view's freshness may be. `cache` keeps up to `cache_items` items in the process for that
    long; it is off unless given. `on_lookup` is called with the `LookupMetrics` of every lookup. `on_corrupt` decides
    what an item costs that can't be read: `raise` fails the lookup, `null` serves that view's features of that request
    as None with the status CORRUPT. A definition that can't be read always fails.
    """

    def __init__(
        self,
        store: OnlineStore,
        *,
        pins: Mapping[str, str] | None = None,
        refresh: timedelta = REFRESH,
        cache: timedelta | None = None,
        cache_items: int = CACHE_ITEMS,
        on_lookup: OnLookup | None = None,
        on_corrupt: OnCorrupt = "raise",
    ) -> None:
        if on_corrupt not in ("raise", "null"):
            raise ConfigError([f"on_corrupt is 'raise' or 'null', not {on_corrupt!r}"])
        validate_duration(refresh, "refresh")
        if cache is not None:
            validate_duration(cache, "cache")
        self.store = store
        self._pins = parse_pins(pins or {})
        self._refresh = refresh.total_seconds()
        self._cache = ItemCache(seconds=cache.total_seconds(), size=cache_items) if cache else None
        self._on_lookup = on_lookup
        self._on_corrupt = on_corrupt
        self._reported: set[str] = set()  # views with a corrupt item that was logged
        # Each value is replaced whole, so threads see the old or the new and need no lock.
        self._plans: dict[str, _Cached[LookupPlan]] = {}
        self._commits: dict[str, _Cached[ViewCommit | None]] = {}
        self._codecs: dict[str, RowCodec] = {}
        self._views: dict[str, _Cached[ViewDefinition]] = {}

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        lock: str | Path | None = None,
        refresh: timedelta = REFRESH,
        cache: timedelta | None = None,
        cache_items: int = CACHE_ITEMS,
        on_lookup: OnLookup | None = None,
        on_corrupt: OnCorrupt = "raise",
        deadline: float | timedelta | None = START_DEADLINE,
    ) -> Self:
        """Return a client of the store at `url` (see `open_store`).

        `lock` is the lock file of a training set: its service is served with exactly the features, order and types the
        model was trained with. Only then is the store read, within `deadline`.

        Raises:
            ConfigError: the address or the lock file is not understood.
            StoredSchemaMismatch: the store does not hold the service as the lock file has it.
            DeadlineExceeded: the service was not read within `deadline`.
        """
        until = parse_deadline(deadline)
        pin = read_pin(lock) if lock is not None else None
        client = cls(
            open_store(url), refresh=refresh, cache=cache, cache_items=cache_items, on_lookup=on_lookup,
            on_corrupt=on_corrupt,
        )  # fmt: skip
        if pin is not None:
            client._pins[pin.service] = pin
            try:
                client._plan(client._service_name(pin.service), _ReadContext(client.store, False, until, None))
            except BaseException:
                client.close()
                raise
        return client

    def lookup(
        self,
        service: str,
        request: Mapping[str, Any],
        *,
        now: datetime | None = None,
        consistent: bool = False,
        deadline: float | timedelta | None = DEADLINE,
    ) -> FeatureVector:
        """Return the features of one request: `lookup("late_arrival", {"tailnum": "N14228", "origin": "EWR"})`.

        `service` may be pinned, `late_arrival@<fingerprint>`. A key that is None (or NaN, pd.NA, pd.NaT), or that
        nothing is stored for, gives missing features and no error. `now` decides age and expiry (a naive time is UTC)
        and hides later events; the store keeps the newest row alone, so what came before it can't be looked up.
        `consistent` reads what was last written, past the cache, at twice the price on DynamoDB.
        `deadline` is seconds, or a timedelta.

        Raises:
            UnknownNameError: there is no such service in the store.
            PlanError: request keys are missing or unknown; all of them are listed.
            CodecError: a key's value is not of the key's type.
            StaleFeature: a view with `on_stale: raise` is stale.
            StoredSchemaMismatch: a pinned service is not, or no longer, what the store can serve.
            CorruptItem: a stored item can't be read; with `on_corrupt="null"` only a definition.
            DeadlineExceeded: not everything was read within `deadline`; nothing is silently left out.
            OnlineStoreError: the store failed: StoreThrottled, StoreUnavailable, StoreNotFound, or access was denied.
        """
        return self.lookup_many(service, [request], now=now, consistent=consistent, deadline=deadline)[0]

    def lookup_many(
        self,
        service: str,
        requests: Iterable[Mapping[str, Any]],
        *,
        now: datetime | None = None,
        consistent: bool = False,
        deadline: float | timedelta | None = DEADLINE,
    ) -> list[FeatureVector]:
        """Return one vector per request, in their order, from one call to the store; raises as `lookup` does.

        `requests` may be a pandas or polars DataFrame or an Arrow table as well, one request per row.
        """
        until = parse_deadline(deadline)
        requests = read_rows(requests, "request")
        if self._on_lookup is None:
            return self._lookup(service, requests, now, _ReadContext(self.store, consistent, until, None))
        trace, failure = Trace(), None
        try:
            return self._lookup(service, requests, now, _ReadContext(self.store, consistent, until, trace))
        except BaseException as error:
            failure = error
            raise
        finally:
            trace.report(self._on_lookup, service, len(requests), failure)

    def _lookup(
        self, service: str, requests: Sequence[Mapping[str, Any]], now: datetime | None, reading: _ReadContext
    ) -> list[FeatureVector]:
        moment = to_microseconds(datetime.now(UTC) if now is None else validate_moment(now))
        name = self._service_name(service)
        plan = self._plan(name, reading).value
        while True:
            keys = plan.item_keys(requests)
            due = self._due_keys(name, plan)
            items = reading.items({key for column in keys for key in column if key is not None}, due, self._cache)
            newer = self._apply_updates(name, plan, due, items)
            if newer is plan:
                break
            plan = newer
        self._load_schemas({item.schema for item in items.values() if item.schema}, reading)
        commits = {sk: self._commits[sk].value for sk in plan.watched}
        source_times = {sk: commit.source_time if commit is not None else None for sk, commit in commits.items()}
        stale = plan.stale_views(source_times, moment)
        # At a time that was asked for, later events have not happened. By its own clock a reader may be a little behind
        # the warehouse, and a value that is there has happened.
        horizon = moment if now is not None else None
        return plan.vectors(
            keys, items, self._codecs, stale, moment, horizon, reading.count_corrupt(self._handle_corrupt)
        )

    def _handle_corrupt(self, error: CorruptItem) -> None:
        """Raise the error, or log the first one of a view."""
        if self._on_corrupt == "raise":
            raise error
        if error.sk not in self._reported:
            self._reported.add(error.sk)
            import logging

            logging.getLogger(__name__).warning("%s", printable(str(error)))

    def write(
        self,
        view: str,
        rows: Iterable[Mapping[str, Any]],
        *,
        deadline: float | timedelta | None = WRITE_DEADLINE,
    ) -> WriteResult:
        """Put values of a view between exports: `write("plane_legs", [{"tailnum": "N14228", "arr_delay": 12.5}])`.

        Each row has the view's join keys and all its features (None is NULL), and may have its event time, by default
        now (a naive time is UTC). `rows` may be a data frame or an Arrow table as well; pd.NA and pd.NaT are None, NaN
        is a value of floats only. The row with the greater event time wins, here and against exports. Every row is also
        put into the store's log, first, from where `featurelayer online drain` brings it to the warehouse. Writing the
        same again after an error does no harm.

        Raises:
            UnknownNameError: the store knows of no such view; an export makes it known.
            PlanError: columns are missing or unknown, or an event time is in the future; all problems are named.
            CodecError: values are not of the declared types; all of them are named.
            DeadlineExceeded: not every row is known to be written within `deadline`.
            OnlineStoreError: the store failed. Rows may be in the log and not yet served, never the other way round.
        """
        reading = _ReadContext(self.store, True, parse_deadline(deadline), None)
        definition = self._view_definition(validate_name(view, "view"), reading)
        return write_rows(self.store, definition, read_rows(rows, "row"), deadline=reading.until)

    def warm_up(
        self, services: Sequence[str] | None = None, *, deadline: float | timedelta | None = START_DEADLINE
    ) -> None:
        """Open connections and read what lookups of `services` need, so that the first lookup is one call.

        By default these are the pinned services, and if none is pinned, all. Call it when a process starts; in a server
        that forks, in each worker.

        Raises:
            UnknownNameError: there is no such service in the store.
            StoredSchemaMismatch: the store lacks a pinned fingerprint, or its values no longer fit it.
            DeadlineExceeded: not everything was read within `deadline`.
        """
        reading = _ReadContext(self.store, False, parse_deadline(deadline), None)
        self.store.warm_up(deadline=reading.until)
        for service in (
            (self._pins or self._services(reading)) if services is None else validate_names(services, "service")
        ):
            name = self._service_name(service)
            plan = self._plan(name, reading).value
            commits = {commit_key(view.sk): view.sk for view in plan.views}
            found = reading.now(commits)
            for key, sk in commits.items():
                self._commits[sk] = self._newer_commit(sk, found.get(key))
            known = (self._commits[sk].value for sk in commits.values())
            self._load_schemas({commit.schema for commit in known if commit is not None}, reading)

    def service(self, name: str, *, deadline: float | timedelta | None = DEADLINE) -> ServiceDefinition:
        """Return the definition that lookups of `name` follow: request keys, views, features.

        Raises:
            UnknownNameError: there is no such service in the store.
            StoredSchemaMismatch: the store lacks the pinned fingerprint, or its values no longer fit it.
        """
        reading = _ReadContext(self.store, False, parse_deadline(deadline), None)
        return self._plan(self._service_name(name), reading).value.definition

    def services(self, *, deadline: float | timedelta | None = DEADLINE) -> list[str]:
        """Return the names of the services that the store can serve, sorted."""
        return self._services(_ReadContext(self.store, False, parse_deadline(deadline), None))

    def _services(self, reading: _ReadContext) -> list[str]:
        return [name for name in reading.names(SERVICES) if "@" not in name]

    def close(self) -> None:
        """Release the store's connections."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _service_name(self, service: str) -> str:
        """Return the name under which the store has the service, with the fingerprint if it is pinned."""
        if type(service) is not str:
            service = validate_name(service, "service")
        name, _, fingerprint = service.partition("@")
        pin = self._pins.get(name)
        if pin is None:
            return service
        if fingerprint and fingerprint != pin.fingerprint:
            raise StoredSchemaMismatch(
                f"service {service} was asked for, but this client is pinned to {name}@{pin.fingerprint}"
            )
        return f"{name}@{pin.fingerprint}"

    def _plan(self, name: str, reading: _ReadContext) -> _Cached[LookupPlan]:
        known = self._plans.get(name)
        if known is None:
            key = service_key(validate_name(name, "service"))
            item = reading.now([key]).get(key)
            if item is None:
                raise self._unknown_service(name, reading)
            known = _Cached(LookupPlan(ServiceDefinition.from_item(item)), item.version)
            plain, _, fingerprint = name.partition("@")
            if fingerprint:
                pin = self._pins.get(plain) or Pin(service=plain, fingerprint=fingerprint)
                self._validate_pin(pin, known.value, reading)
            self._plans[name] = known
        return known

    def _validate_pin(self, pin: Pin, plan: LookupPlan, reading: _ReadContext) -> None:
        """Hold what is stored by now to what is pinned: the definition, and what its views' exports hold."""
        pin.check(plan.definition)
        commits = reading.now([commit_key(view.sk) for view in plan.views])
        schemas = {sk.removesuffix("#commit"): ViewCommit.from_item(item).schema for (_, sk), item in commits.items()}
        lacking = self._load_schemas(set(schemas.values()), reading)
        if lacking:
            raise StoredSchemaMismatch(
                f"the online store holds exports that follow schema {', '.join(lacking)} but not the schema itself",
                fix="export the service's views again with --full",
            )
        problems = plan.mismatches({sk: self._codecs[schema] for sk, schema in schemas.items()})
        if problems:
            raise StoredSchemaMismatch(
                "\n".join(problems),
                where=f"{plan.label}, as a training set had it",
                fix="train again with the current definition, or give the changed view a new version",
            )

    def _unknown_service(self, name: str, reading: _ReadContext) -> Exception:
        stored = reading.names(SERVICES)
        plain, _, fingerprint = name.partition("@")
        if fingerprint and plain in stored:
            others = [other for other in stored if other.startswith(f"{plain}@")]
            return StoredSchemaMismatch(
                f"the online store does not hold {name}",
                where=f"it holds {', '.join(others)}",
                fix="train again with the current definition, or export the one that the model was trained with",
            )
        return UnknownNameError("feature service", plain, [other for other in stored if "@" not in other],
                                where="the online store; `featurelayer export` writes services")  # fmt: skip

    def _view_definition(self, name: str, reading: _ReadContext) -> ViewDefinition:
        known = self._views.get(name)
        if known is None or known.read_at <= monotonic() - self._refresh:
            key = definition_key(name)
            item = reading.now([key], consistent=True).get(key)
            if item is None:
                stored = (sk.removesuffix("#definition") for sk in reading.names(VIEWS) if sk.endswith("#definition"))
                raise UnknownNameError("feature view", name, stored,
                                       where="the online store; `featurelayer export` makes views known")  # fmt: skip
            known = self._views[name] = _Cached(ViewDefinition.from_item(item), item.version)
        return known.value

    def _due_keys(self, name: str, plan: LookupPlan) -> set[ItemKey]:
        """Return the keys to refresh together with the values."""
        oldest = monotonic() - self._refresh
        due = {commit_key(sk) for sk in plan.watched if sk not in self._commits or self._commits[sk].read_at <= oldest}
        if self._plans[name].read_at <= oldest:
            due.add(service_key(name))
        return due

    def _apply_updates(
        self, name: str, plan: LookupPlan, due: set[ItemKey], items: Mapping[ItemKey, Item]
    ) -> LookupPlan:
        """Keep what rode along; return the plan to serve with, another one if the definition has changed."""
        # An eventually consistent read may bring an older commit or pointer than the one at hand.
        for sk in plan.watched:
            if commit_key(sk) in due:
                self._commits[sk] = self._newer_commit(sk, items.get(commit_key(sk)))
        item = items.get(service_key(name))
        if item is None:
            return plan
        known = self._plans[name]
        if item.version > known.version:
            definition = ServiceDefinition.from_item(item)
            if definition != known.value.definition:
                known = _Cached(LookupPlan(definition), item.version)
        self._plans[name] = _Cached(known.value, max(item.version, known.version))
        return self._plans[name].value

    def _newer_commit(self, sk: str, item: Item | None) -> _Cached[ViewCommit | None]:
        known = self._commits.get(sk)
        if item is not None and (known is None or item.version >= known.version):
            return _Cached(ViewCommit.from_item(item), item.version)
        return _Cached(known.value, known.version) if known is not None else _Cached(None, 0)

    def _load_schemas(self, named: set[str], reading: _ReadContext) -> list[str]:
        """Read schemas that are not known yet; return those that the store does not hold."""
        unknown = named - self._codecs.keys()
        if not unknown:
            return []
        found = reading.now([(SCHEMAS, schema) for schema in sorted(unknown)], consistent=True)
        for (_, schema), item in found.items():
            self._codecs[schema] = Schema.from_item(item).codec()
        return sorted(unknown - self._codecs.keys())


class _Cached(Generic[T]):
    """A copy of something in the store, of which version it is and when it was read."""

    __slots__ = ("read_at", "value", "version")

    def __init__(self, value: T, version: int) -> None:
        self.value, self.version = value, version
        self.read_at = monotonic()


class _ReadContext:
    """How one call of the client reads: consistently or not, until when, and counted or not."""

    __slots__ = ("_consistent", "_store", "_trace", "until")

    def __init__(self, store: OnlineStore, consistent: bool, until: float | None, trace: Trace | None) -> None:
        self._store, self._consistent, self.until, self._trace = store, consistent, until, trace

    def now(self, keys: Collection[ItemKey], *, consistent: bool = False) -> dict[ItemKey, Item]:
        """Return the stored items of the keys."""
        usage = self._trace.usage if self._trace is not None else None
        return self._store.read(keys, consistent=consistent, deadline=self.until, usage=usage)

    def names(self, pk: str) -> list[str]:
        """Return the names that the store has under one `pk`."""
        return self._store.names(pk, deadline=self.until)

    def count_corrupt(self, corrupt: Callable[[CorruptItem], None]) -> Callable[[CorruptItem], None]:
        """Return a callback for corrupt items that counts them, then calls `corrupt`."""
        trace = self._trace
        if trace is None:
            return corrupt

        def count(error: CorruptItem) -> None:
            trace.corrupt += 1
            corrupt(error)

        return count

    def items(self, wanted: set[ItemKey], due: set[ItemKey], cache: ItemCache | None) -> dict[ItemKey, Item]:
        """Return the wanted items, as far as may be from the cache, and what else is due."""
        if self._trace is not None:
            self._trace.items = len(wanted)
        if cache is None:
            return self.now(wanted | due, consistent=self._consistent)
        known, unknown = cache.find(wanted) if not self._consistent else ({}, wanted)
        if self._trace is not None:
            self._trace.cached = len(wanted) - len(unknown)
        if unknown or due:
            began = monotonic()
            read = self.now(unknown | due, consistent=self._consistent)
            cache.keep(unknown, read, began)
            known |= read
        return known


def parse_deadline(deadline: float | timedelta | None) -> float | None:
    """Return the reading of `time.monotonic()` at which a deadline (seconds from now) is over.

    Raises:
        PlanError: it is not a length of time.
    """
    if deadline is None:
        return None
    seconds = deadline.total_seconds() if isinstance(deadline, timedelta) else deadline
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        fix = "pass seconds as a number that is not negative, a timedelta, or None for no limit"
        raise PlanError([Problem(what=f"`deadline` is {deadline!r}", fix=fix)])
    return monotonic() + min(seconds, _LONGEST)
