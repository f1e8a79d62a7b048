"""Create, check and describe a table.

These are the calls to DynamoDB; the table's shape is in `featurelayer.online.stores.dynamodb.tables`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from featurelayer.callbacks import Notify
from featurelayer.errors import OnlineStoreError, StoreNotFound
from featurelayer.online.base import CreateResult, foreign_store
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


class TableProvisioner:
    """The control calls of one table; `call` sends one to DynamoDB, with the patience of an export."""

    def __init__(self, call: Callable[[str, Mapping[str, Any]], dict[str, Any]], table: str) -> None:
        self._call, self._table = call, table

    def create(self, settings: TableSettings, notify: Notify) -> CreateResult:
        """Create the table and wait for it, or check an existing one; enable TTL."""
        return self.complete(settings, notify, created=self.begin(settings, notify))

    def begin(self, settings: TableSettings, notify: Notify) -> bool:
        """Create the table without waiting for it; return False if it exists."""
        return self._describe_table() is None and self._create_table(settings, notify)

    def complete(self, settings: TableSettings, notify: Notify, *, created: bool) -> CreateResult:
        """Wait for the table and apply settings that CreateTable lacks; one that was not `created` must be ours."""
        description = self._wait_until_active(notify)
        ttl = self._ttl()
        if not created:
            self._validate_ours(description, find_differences(description, self._tags(description), ttl))
        # A run that was stopped in between is completed here.
        self._complete(settings, ttl, notify)
        return CreateResult(
            created=created, differs=() if created else tuple(self._find_differences(description, settings))
        )

    def adopt(self, settings: TableSettings, notify: Notify) -> None:
        """Adopt a newly imported table: set tags, TTL and protection, which an import can't set."""
        description = self._wait_until_active(notify)
        tags = table_request(self._table, settings)["Tags"]
        self._ask("TagResource", ResourceArn=description["TableArn"], Tags=tags)
        self._complete(settings, self._ttl(), notify)
        # Last, because a table that is being changed may refuse other changes.
        if settings.deletion_protection:
            self._ask("UpdateTable", TableName=self._table, DeletionProtectionEnabled=True)

    def exists(self) -> bool:
        """Return whether a table of that name exists, featurelayer's or not."""
        return self._describe_table() is not None

    def check(self) -> None:
        """Raise unless the table exists and is ours."""
        description = self._ask("DescribeTable", TableName=self._table)["Table"]
        self._validate_ours(description, find_differences(description, self._tags(description), None))

    def describe(self) -> dict[str, Any]:
        """Return the table's facts; None for those that the role may not read or the server lacks."""
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

    def _create_table(self, settings: TableSettings, notify: Notify) -> bool:
        notify(f"creating the table {self._table}")
        try:
            self._ask("CreateTable", **table_request(self._table, settings))
        except OnlineStoreError as error:
            if error.code != "ResourceInUseException":  # another process was faster
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

    def _wait_until_active(self, notify: Notify) -> dict[str, Any]:
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
            notify(f"waiting for the table {self._table}: {state}")
            time.sleep(_POLL_SECONDS)

    def _complete(self, settings: TableSettings, ttl: Mapping[str, Any], notify: Notify) -> None:
        if not is_ttl_enabled(ttl):
            notify("switching TTL on")
            self._ask("UpdateTimeToLive", TableName=self._table, TimeToLiveSpecification=ttl_request())
        if settings.point_in_time_recovery and self._ask_optional(self._recovery) != "ENABLED":
            notify("switching point-in-time recovery on")
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
