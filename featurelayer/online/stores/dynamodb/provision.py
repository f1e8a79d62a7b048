"""Making, checking and describing a store: what `featurelayer online` and the start of an export need.

Here are the calls to DynamoDB; what the table has to be like is in `featurelayer.online.stores.dynamodb.tables`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from featurelayer.callbacks import Notify
from featurelayer.errors import OnlineStoreError, StoreNotFound
from featurelayer.online.base import OnlineStore, foreign_store
from featurelayer.online.stores.dynamodb.tables import (
    OUR_TAG,
    TableSettings,
    find_differences,
    is_ttl_enabled,
    recovery_request,
    table_request,
    ttl_request,
)
from featurelayer.retry import Backoff, call_with_retry

_POLL_SECONDS, _PATIENCE_SECONDS = 1.0, 600.0
_USABLE = ("ACTIVE", "UPDATING")


class CreateResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `create` did: whether the store is new, and what an existing one has that was not asked for."""

    created: bool
    differs: tuple[str, ...] = ()


@runtime_checkable
class StoreProvisioner(Protocol):
    """A store that can be made, checked and described; all of ours can."""

    def create(self, settings: TableSettings | None = None, tell: Notify | None = None) -> CreateResult:
        """Make the store, or complete one of ours; safe to repeat. `tell` hears of what takes long.

        Raises:
            StoreNotFound: something else is at its address; says what differs.
        """

    def check(self) -> None:
        """Raise StoreNotFound unless an export may write here."""

    def describe(self) -> dict[str, Any]:
        """Return the store's own facts as JSON values; under `problems` what keeps it from being one of ours.

        Raises:
            StoreNotFound: there is no such store.
        """


@runtime_checkable
class PartitionedStore(Protocol):
    """A store that may keep views apart, and then has to be told which there are."""

    def provisioner(self, views: Collection[str]) -> StoreProvisioner:
        """Return what makes, checks and describes a store with these views (their `sk`)."""


@runtime_checkable
class CheckpointStore(Protocol):
    """A store of which a part may lie beside it until it is told that the writing is over."""

    def checkpoint(self) -> str:
        """Bring everything to its place, and return what is in the way, if anything is."""


@runtime_checkable
class CopyableStore(Protocol):
    """A store that is a file, and can be copied while it is in use."""

    def backup(self, target: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
        """Write the whole store to one file; return the facts of that."""


def find_provisioner(store: OnlineStore, views: Collection[str]) -> StoreProvisioner | None:
    """Return what makes, checks and describes a store with these views; None if it is not made from here."""
    if isinstance(store, PartitionedStore):
        return store.provisioner(views)
    return store if isinstance(store, StoreProvisioner) else None


class TableProvisioner:
    """The control calls of one table; `call` sends one to DynamoDB, with the patience of an export."""

    def __init__(self, call: Callable[[str, Mapping[str, Any]], dict[str, Any]], table: str) -> None:
        self._call, self._table = call, table

    def create(self, settings: TableSettings, tell: Notify) -> CreateResult:
        """Create the table and wait for it, or look whether the one that is there will do; switch TTL on."""
        return self.complete(settings, tell, created=self.begin(settings, tell))

    def begin(self, settings: TableSettings, tell: Notify) -> bool:
        """Create the table, without waiting for it; False if there is one."""
        return self._describe_table() is None and self._create_table(settings, tell)

    def complete(self, settings: TableSettings, tell: Notify, *, created: bool) -> CreateResult:
        """Wait for the table and give it what CreateTable can't be told; one that was not `created` must be ours."""
        description = self._wait_until_active(tell)
        ttl = self._ttl()
        if not created:
            self._validate_ours(description, find_differences(description, self._tags(description), ttl))
        # A run that was stopped in between is completed here.
        self._complete(settings, ttl, tell)
        return CreateResult(
            created=created, differs=() if created else tuple(self._find_differences(description, settings))
        )

    def adopt(self, settings: TableSettings, tell: Notify) -> None:
        """Make a table ours that has just been imported: tags, TTL and protection, which an import can't be told."""
        description = self._wait_until_active(tell)
        tags = table_request(self._table, settings)["Tags"]
        self._ask("TagResource", ResourceArn=description["TableArn"], Tags=tags)
        self._complete(settings, self._ttl(), tell)
        # Last, because a table that is being changed may refuse other changes.
        if settings.deletion_protection:
            self._ask("UpdateTable", TableName=self._table, DeletionProtectionEnabled=True)

    def exists(self) -> bool:
        """Return whether there is a table of that name, whoever's it is."""
        return self._describe_table() is not None

    def check(self) -> None:
        """Raise unless the table is there and ours."""
        description = self._ask("DescribeTable", TableName=self._table)["Table"]
        self._validate_ours(description, find_differences(description, self._tags(description), None))

    def describe(self) -> dict[str, Any]:
        """Return the table's facts. What the role may not see, or the server does not have, is None."""
        description = self._ask("DescribeTable", TableName=self._table)["Table"]
        tags = self._ask_optional(lambda: self._tags(description))
        ttl = self._ask_optional(self._ttl)
        recovery = self._ask_optional(self._recovery)
        billing = description.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
        types = {each["AttributeName"]: each["AttributeType"] for each in description["AttributeDefinitions"]}
        return {
            "type": "dynamodb",
            "table": self._table,
            "arn": description.get("TableArn"),
            "state": description["TableStatus"],
            "key": {each["AttributeName"]: types[each["AttributeName"]] for each in description["KeySchema"]},
            "billing": billing,
            "ttl": {"status": ttl["TimeToLiveStatus"], "attribute": ttl.get("AttributeName")} if ttl else None,
            "point_in_time_recovery": recovery,
            "deletion_protection": description.get("DeletionProtectionEnabled"),
            "tags": tags,
            "items": description.get("ItemCount"),
            "bytes": description.get("TableSizeBytes"),
            "problems": find_differences(description, tags, ttl),
        }

    def _create_table(self, settings: TableSettings, tell: Notify) -> bool:
        tell(f"creating the table {self._table}")
        try:
            self._ask("CreateTable", **table_request(self._table, settings))
        except OnlineStoreError as error:
            if error.code != "ResourceInUseException":  # somebody was faster
                raise
            return False
        return True

    def _describe_table(self) -> dict[str, Any] | None:
        try:
            description: dict[str, Any] = self._ask("DescribeTable", TableName=self._table)["Table"]
        except StoreNotFound as error:
            if error.code != "ResourceNotFoundException":
                raise
            return None
        return description

    def _wait_until_active(self, tell: Notify) -> dict[str, Any]:
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            description = self._describe_table()
            # Right after CreateTable, DescribeTable may not know the table yet.
            state = description["TableStatus"] if description else "CREATING"
            if description and state in _USABLE:
                return description
            if state != "CREATING" or time.monotonic() > until:
                raise OnlineStoreError(
                    f"the table '{self._table}' is {state}",
                    fix="wait, and run `featurelayer online create` again",
                    code=state,
                )
            tell(f"waiting for the table {self._table}: {state}")
            time.sleep(_POLL_SECONDS)

    def _complete(self, settings: TableSettings, ttl: Mapping[str, Any], tell: Notify) -> None:
        if not is_ttl_enabled(ttl):
            tell("switching TTL on")
            self._ask("UpdateTimeToLive", TableName=self._table, TimeToLiveSpecification=ttl_request())
        if settings.point_in_time_recovery and self._ask_optional(self._recovery) != "ENABLED":
            tell("switching point-in-time recovery on")
            self._recover(settings)

    def _recover(self, settings: TableSettings) -> None:
        """Switch backups on; a new table may refuse that for a while."""
        specification = recovery_request(settings)
        try:
            call_with_retry(
                lambda: self._ask(
                    "UpdateContinuousBackups", TableName=self._table, PointInTimeRecoverySpecification=specification
                ),
                _PATIENCE_SECONDS,
                is_transient=lambda error: getattr(error, "code", "") == "ContinuousBackupsUnavailableException",
                backoff=Backoff(_POLL_SECONDS, _POLL_SECONDS, jitter=False),
            )
        except OnlineStoreError as error:
            if error.code != "UnknownOperationException":
                raise
            what = "this server has no point-in-time recovery; the rest of the table is made"
            fix = "leave point_in_time_recovery out of the store's entry"
            raise OnlineStoreError(what, fix=fix, code=error.code) from error

    def _ttl(self) -> dict[str, Any]:
        answer = self._ask("DescribeTimeToLive", TableName=self._table)
        ttl: dict[str, Any] = answer["TimeToLiveDescription"]
        return ttl

    def _recovery(self) -> str:
        answer = self._ask("DescribeContinuousBackups", TableName=self._table)
        description = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
        return str(description.get("PointInTimeRecoveryStatus", "DISABLED"))

    def _tags(self, description: Mapping[str, Any]) -> dict[str, str] | None:
        """Return the tags; None where the server keeps none, as DynamoDB Local does."""
        tags: dict[str, str] = {}
        more: dict[str, Any] = {}
        while True:
            try:
                page = self._ask("ListTagsOfResource", ResourceArn=description["TableArn"], **more)
            except OnlineStoreError as error:
                if error.code != "UnknownOperationException":
                    raise
                return None
            tags |= {tag["Key"]: tag["Value"] for tag in page.get("Tags", ())}
            if not page.get("NextToken"):
                return tags
            more = {"NextToken": page["NextToken"]}

    def _find_differences(self, description: Mapping[str, Any], settings: TableSettings) -> Iterator[str]:
        protected = bool(description.get("DeletionProtectionEnabled"))
        if protected != settings.deletion_protection:
            yield f"deletion protection is {_on(protected)}, not {_on(settings.deletion_protection)}"
        tags = self._tags(description)
        for name, text in settings.all_tags.items() if tags is not None else ():
            if (tags or {}).get(name) != text:
                yield f"the tag {name} is {(tags or {}).get(name, 'not there')}, not {text}"

    def _validate_ours(self, description: Mapping[str, Any], found: list[str]) -> None:
        if found:
            tag = f"--resource-arn {description['TableArn']} --tags Key={OUR_TAG[0]},Value={OUR_TAG[1]}"
            fix = "use another name" + (f", or `aws dynamodb tag-resource {tag}`" if found[0].startswith("it ") else "")
            raise foreign_store(f"the table '{self._table}'", fix, "; ".join(found))

    def _ask_optional(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except OnlineStoreError as error:
            if error.code not in ("AccessDeniedException", "UnknownOperationException"):
                raise
            return None

    def _ask(self, operation: str, **request: Any) -> dict[str, Any]:
        return self._call(operation, request)


def _on(flag: bool) -> str:
    return "on" if flag else "off"
