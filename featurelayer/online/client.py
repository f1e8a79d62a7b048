"""The lookup client: one call to the store for all views of a service.

What a lookup needs besides the values rides along in that same call, and only when the copy at hand is older than
`refresh`: the pointer of an unpinned service, and the newest commit of views that have a freshness policy. So a lookup
is one call, a change is seen within `refresh`, and no small item becomes the hottest of the table. More calls happen
only at the first lookup (the definition and the schemas are read) and when the pointer or a schema has changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from featurelayer.errors import ConfigError, Problem, StoredSchemaMismatch, UnknownNameError
from featurelayer.online.base import Item, ItemKey, OnlineStore, open_store
from featurelayer.online.codec import RowCodec, to_microseconds
from featurelayer.online.definitions import (
    SCHEMAS,
    SERVICES,
    Schema,
    ServiceDefinition,
    ViewCommit,
    commit_key,
    service_key,
)
from featurelayer.online.serving import ServingPlan
from featurelayer.online.vector import FeatureVector

T = TypeVar("T")

_DEADLINE = timedelta(seconds=3)
_REFRESH = timedelta(seconds=10)


class FeatureClient:
    """Looks features up in an online store. Safe to share between threads; close it, or use it in a `with`.

    `pins` maps a service to the fingerprint it must be served with; `refresh` is how old the client's copy of a
    service's pointer and of a view's freshness may be.
    """

    def __init__(
        self, store: OnlineStore, *, pins: Mapping[str, str] | None = None, refresh: timedelta = _REFRESH
    ) -> None:
        self.store = store
        self._pins = dict(pins or {})
        self._refresh = refresh.total_seconds()
        # Each value is replaced whole, so threads see the old or the new and need no lock.
        self._plans: dict[str, _Known[ServingPlan]] = {}
        self._commits: dict[str, _Known[int | None]] = {}
        self._codecs: dict[str, RowCodec] = {}

    @classmethod
    def connect(cls, url: str, *, lock: str | Path | None = None, refresh: timedelta = _REFRESH) -> Self:
        """Return a client of the store at `url` (see `open_store`).

        `lock` is the lock file of a training set: its service is served with exactly the features, order and types the
        model was trained with.

        Raises:
            ConfigError: the address or the lock file is not understood.
            StoredSchemaMismatch: the store does not hold the service as the lock file has it.
        """
        pins = dict([_locked_service(Path(lock))]) if lock is not None else {}
        client = cls(open_store(url), pins=pins, refresh=refresh)
        try:
            for name in pins:
                client.service(name)
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
        deadline: timedelta | None = _DEADLINE,
    ) -> FeatureVector:
        """Return the features of one request: `lookup("late_arrival", {"tailnum": "N14228", "origin": "EWR"})`.

        `service` may be pinned, `late_arrival@<fingerprint>`. A key that is None, or that nothing is stored for, gives
        missing features and no error. `now` decides age and expiry (a naive time is UTC) and hides later events; the
        store keeps the newest row alone, so what came before it can't be looked up. `consistent` reads what was
        last written, at twice the price on DynamoDB.

        Raises:
            UnknownNameError: there is no such service in the store.
            PlanError: request keys are missing or unknown; all of them are listed.
            CodecError: a key's value is not of the key's type.
            StaleFeature: a view is stale and says `on_stale: raise`.
            DeadlineExceeded: not everything was read within `deadline`; nothing is silently left out.
        """
        return self.lookup_many(service, [request], now=now, consistent=consistent, deadline=deadline)[0]

    def lookup_many(
        self,
        service: str,
        requests: Sequence[Mapping[str, Any]],
        *,
        now: datetime | None = None,
        consistent: bool = False,
        deadline: timedelta | None = _DEADLINE,
    ) -> list[FeatureVector]:
        """Return one vector per request, in their order, from one call to the store; raises as `lookup` does."""
        until = monotonic() + deadline.total_seconds() if deadline is not None else None
        moment = to_microseconds(now if now is not None else datetime.now(UTC))
        name = self._pinned(service)
        plan = self._plan(name, until).value
        while True:
            keys = plan.item_keys(requests)
            wanted = {key for row in keys for key in row if key is not None}
            due = self._due(name, plan)
            items = self.store.read(wanted | due, consistent=consistent, deadline=until)
            newer = self._learn(name, plan, due, items)
            if newer is plan:
                break
            plan = newer
        self._learn_schemas(items, until)
        source_times = {sk: self._commits[sk].value for sk in plan.watched}
        stale = plan.stale_views(source_times, moment)
        # At a time that was asked for, later events have not happened. By its own clock a reader may be a little behind
        # the warehouse, and a value that is there has happened.
        horizon = moment if now is not None else None
        return [plan.vector(row, items, self._codecs, stale, moment, horizon) for row in keys]

    def service(self, name: str) -> ServiceDefinition:
        """Return the definition that lookups of `name` follow: request keys, views, features.

        Raises:
            UnknownNameError: there is no such service in the store.
            StoredSchemaMismatch: the store lacks the pinned fingerprint.
        """
        return self._plan(self._pinned(name), None).value.definition

    def services(self) -> list[str]:
        """Return the names of the services that the store can serve, sorted."""
        return [name for name in self.store.names(SERVICES) if "@" not in name]

    def close(self) -> None:
        """Release the store's connections."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pinned(self, service: str) -> str:
        """Return the name under which the store has the service, with the fingerprint if it is pinned."""
        name, _, fingerprint = service.partition("@")
        pin = self._pins.get(name)
        if pin is None:
            return service
        if fingerprint and fingerprint != pin:
            raise StoredSchemaMismatch(f"service {service} was asked for, but this client is pinned to {name}@{pin}")
        return f"{name}@{pin}"

    def _plan(self, name: str, until: float | None) -> _Known[ServingPlan]:
        known = self._plans.get(name)
        if known is None:
            key = service_key(name)
            item = self.store.read([key], deadline=until).get(key)
            if item is None:
                raise self._unknown_service(name)
            known = self._plans[name] = _Known(ServingPlan(ServiceDefinition.from_item(item)), item.version)
        return known

    def _unknown_service(self, name: str) -> Exception:
        stored = self.store.names(SERVICES)
        plain, _, fingerprint = name.partition("@")
        if fingerprint and plain in stored:
            others = [other for other in stored if other.startswith(f"{plain}@")]
            return StoredSchemaMismatch(
                f"the online store does not hold {name}\n  at   it holds {', '.join(others)}\n"
                "  fix  train again with the current definition, or export the one that the model was trained with"
            )
        return UnknownNameError("feature service", plain, [other for other in stored if "@" not in other],
                                where="the online store; `featurelayer export` writes services")  # fmt: skip

    def _due(self, name: str, plan: ServingPlan) -> set[ItemKey]:
        """Return what should be read again together with the values."""
        oldest = monotonic() - self._refresh
        due = {commit_key(sk) for sk in plan.watched if sk not in self._commits or self._commits[sk].read_at <= oldest}
        if self._plans[name].read_at <= oldest:
            due.add(service_key(name))
        return due

    def _learn(self, name: str, plan: ServingPlan, due: set[ItemKey], items: Mapping[ItemKey, Item]) -> ServingPlan:
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
                known = _Known(ServingPlan(definition), item.version)
        self._plans[name] = _Known(known.value, max(item.version, known.version))
        return self._plans[name].value

    def _newer_commit(self, sk: str, item: Item | None) -> _Known[int | None]:
        known = self._commits.get(sk)
        if item is not None and (known is None or item.version >= known.version):
            return _Known(ViewCommit.from_item(item).source_time, item.version)
        return _Known(known.value, known.version) if known is not None else _Known(None, 0)

    def _learn_schemas(self, items: Mapping[ItemKey, Item], until: float | None) -> None:
        named = {item.schema for item in items.values() if item.schema}
        unknown = named - self._codecs.keys()
        if not unknown:
            return
        found = self.store.read([(SCHEMAS, schema) for schema in sorted(unknown)], consistent=True, deadline=until)
        lacking = sorted(schema for schema in unknown if (SCHEMAS, schema) not in found)
        if lacking:
            raise StoredSchemaMismatch(
                f"the online store holds values that follow schema {', '.join(lacking)} but not the schema itself\n"
                "  fix  export the service's views again with --full"
            )
        for (_, schema), item in found.items():
            self._codecs[schema] = Schema.from_item(item).codec()


class _Known(Generic[T]):
    """A copy of something in the store, of which version it is and when it was read."""

    __slots__ = ("read_at", "value", "version")

    def __init__(self, value: T, version: int) -> None:
        self.value, self.version = value, version
        self.read_at = monotonic()


def _locked_service(path: Path) -> tuple[str, str]:
    """Return the service and fingerprint that a training set's lock file names."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _bad_lock(path, "there is no such lock file") from None
    except (ValueError, OSError) as error:
        raise _bad_lock(path, f"the lock file can't be read: {error}") from error
    service = content.get("service") if isinstance(content, dict) else None
    if not isinstance(service, dict) or not all(isinstance(service.get(key), str) for key in ("name", "fingerprint")):
        raise _bad_lock(path, "the lock file names no service and fingerprint")
    return service["name"], service["fingerprint"]


def _bad_lock(path: Path, what: str) -> ConfigError:
    fix = "give the .lock.json that `featurelayer build-training-set --service ...` wrote beside the training set"
    return ConfigError([Problem(what=what, where=str(path), fix=fix)])
