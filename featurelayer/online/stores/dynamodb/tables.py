"""The DynamoDB table that features live in: its shape and its settings. No AWS call is made.

One definition, `table_request`, is what `create_table` sends and templates contain, so they can't differ. A table
is ours if its key is `pk` and `sk`, both text, and it carries the tag `created-by = featurelayer`. Many tables of other
programs have that very key, so the key alone proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from featurelayer.errors import ConfigError, Problem
from featurelayer.online.base import ItemKey

OUR_TAG = ("created-by", "featurelayer")
TTL_ATTRIBUTE = "ttl"
_KEY_SCHEMA = ({"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"})
_ATTRIBUTES = ({"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"})

PK_LIMIT, SK_LIMIT = 2048, 1024
_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
# Limits of DynamoDB; `aws:` is reserved by Amazon.
_TAG = re.compile(r"(?!aws:)[\w .:/=+@-]*", re.IGNORECASE)
_MOST_TAGS, _LONGEST_TAG, _LONGEST_TAG_VALUE = 50, 128, 256


class TableSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the table that a user may choose. The defaults cost nothing.

    `deletion_protection` is on: a table deleted by mistake takes every service down until the next full export.
    `point_in_time_recovery` is off, because an export restores everything except values streamed by `client.write`.
    """

    tags: Mapping[str, str] = {}
    point_in_time_recovery: bool = False
    deletion_protection: bool = True

    @property
    def all_tags(self) -> dict[str, str]:
        return {OUR_TAG[0]: OUR_TAG[1], **self.tags}


SETTINGS = TableSettings.__struct_fields__
"""The keys of a store's entry in featurelayer.yml that are the table's, not its address."""
BULK = "bulk"
"""The key of an entry that holds the place for the files of an import."""
CONFIGURED = (*SETTINGS, BULK)
"""All keys of an entry that are not the address's."""


def read_settings(entry: Mapping[str, Any], where: str) -> TableSettings:
    """Return the settings in a store's entry of featurelayer.yml; other keys are the address's.

    Raises:
        ConfigError: names everything that is wrong with them.
    """
    if entry.get("type", "dynamodb") != "dynamodb":
        return TableSettings()
    tags, problems = entry.get("tags") or {}, []
    if not isinstance(tags, Mapping):
        problems.append(Problem(what="`tags` is not a mapping", where=where, fix="write tags: {team: growth}"))
        tags = {}
    problems += [Problem(what=what, where=f"{where}.tags") for what in _tag_problems(tags)]
    chosen: dict[str, Any] = {"tags": {str(name): str(text) for name, text in tags.items()}}
    for name in SETTINGS[1:]:
        value = entry.get(name)
        # Jinja renders to text.
        flag = {"true": True, "false": False}.get(str(value).lower())
        if value is not None and flag is None:
            problems.append(Problem(what=f"`{name}` is {value!r}", where=where, fix="write true or false"))
        elif flag is not None:
            chosen[name] = flag
    if problems:
        raise ConfigError(problems)
    return TableSettings(**chosen)


def is_table_name(table: str) -> bool:
    """Return whether DynamoDB could have a table of that name."""
    return _NAME.fullmatch(table) is not None


def validate_table_name(table: str) -> None:
    """Raise ConfigError unless DynamoDB could have a table of that name."""
    if not is_table_name(table):
        # The text may be anything, a secret in the wrong place too, so only its readable part is repeated.
        shown = re.sub(r"[^A-Za-z0-9_.-].*", "...", table)[:80]
        fix = "use 3 to 255 letters, digits, '_', '-' and '.', and {view} for a table per view"
        raise ConfigError([Problem(what=f"'{shown}' is not a valid DynamoDB table name", fix=fix)])


def validate_endpoint(endpoint_url: str | None) -> None:
    """Raise ConfigError unless an address of a server is one, and holds no credentials."""
    if endpoint_url is None:
        return
    url = urlsplit(endpoint_url)
    fix = "write endpoint_url=https://host:port; credentials are boto3's own, never part of an address"
    if "@" in url.netloc:
        raise ConfigError([Problem(what="the endpoint_url holds a user or password", fix=fix)])
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        shown = f"{url.scheme}://{url.netloc}{url.path}"
        raise ConfigError([Problem(what=f"the endpoint_url {shown} is not the address of a server", fix=fix)])


def is_key_too_long(key: ItemKey) -> bool:
    """Return whether a key is too long for DynamoDB, so that no item can have it."""
    pk, sk = key
    return (len(pk) * 4 > PK_LIMIT and len(pk.encode()) > PK_LIMIT) or (
        len(sk) * 4 > SK_LIMIT and len(sk.encode()) > SK_LIMIT
    )


def table_request(table: str, settings: TableSettings) -> dict[str, Any]:
    """Return the arguments of CreateTable: on demand, keyed by `pk` and `sk`."""
    return {
        "TableName": table,
        "KeySchema": [dict(each) for each in _KEY_SCHEMA],
        "AttributeDefinitions": [dict(each) for each in _ATTRIBUTES],
        "BillingMode": "PAY_PER_REQUEST",
        "DeletionProtectionEnabled": settings.deletion_protection,
        "Tags": [{"Key": name, "Value": text} for name, text in settings.all_tags.items()],
    }


def ttl_request() -> dict[str, Any]:
    """Return the `TimeToLiveSpecification` of the table."""
    return {"AttributeName": TTL_ATTRIBUTE, "Enabled": True}


def recovery_request(settings: TableSettings) -> dict[str, Any]:
    """Return the `PointInTimeRecoverySpecification` of the table."""
    return {"PointInTimeRecoveryEnabled": settings.point_in_time_recovery}


def find_differences(
    description: Mapping[str, Any], tags: Mapping[str, str] | None, ttl: Mapping[str, Any] | None
) -> list[str]:
    """Return the differences between a table, as DynamoDB describes it, and a featurelayer table.

    `tags` is None where the server keeps none (DynamoDB Local), `ttl` where it was not asked for.
    """
    types = {each["AttributeName"]: each["AttributeType"] for each in description["AttributeDefinitions"]}
    keys = [(each["AttributeName"], each["KeyType"]) for each in description["KeySchema"]]
    shape = ", ".join(f"{name} ({kind.lower()}, {types.get(name, '?')})" for name, kind in keys)
    found = []
    if keys != [("pk", "HASH"), ("sk", "RANGE")] or types.get("pk") != "S" or types.get("sk") != "S":
        found.append(f"its key is {shape}, not pk (hash, S), sk (range, S)")
    if tags is not None and tags.get(OUR_TAG[0]) != OUR_TAG[1]:
        has = f"has the tag {OUR_TAG[0]} = {tags[OUR_TAG[0]]}" if OUR_TAG[0] in tags else "is not tagged"
        found.append(f"it {has}, not {OUR_TAG[0]} = {OUR_TAG[1]}")
    attribute = (ttl or {}).get("AttributeName", TTL_ATTRIBUTE)
    if is_ttl_enabled(ttl) and attribute != TTL_ATTRIBUTE:
        found.append(f"its TTL attribute is {attribute}, not {TTL_ATTRIBUTE}")
    return found


def is_ttl_enabled(ttl: Mapping[str, Any] | None) -> bool:
    """Return whether expired items are, or will be, deleted according to a `TimeToLiveDescription`."""
    return (ttl or {}).get("TimeToLiveStatus") in ("ENABLED", "ENABLING")


def _tag_problems(tags: Mapping[Any, Any]) -> Iterator[str]:
    if len(tags) >= _MOST_TAGS:
        yield f"there are {len(tags)} tags; DynamoDB allows {_MOST_TAGS}, one of them ours"
    for name, text in tags.items():
        if not isinstance(name, str) or not name or len(name) > _LONGEST_TAG or not _TAG.fullmatch(name):
            yield f"{name!r} is not a tag: up to {_LONGEST_TAG} letters, digits, spaces, + - = . _ : / @, not aws:..."
        elif name == OUR_TAG[0] and text != OUR_TAG[1]:
            yield f"the tag {name} marks the table as ours; use another name"
        elif isinstance(text, (Mapping, list)) or text is None:
            yield f"the value of tag {name} is not a text"
        elif len(str(text)) > _LONGEST_TAG_VALUE or not _TAG.fullmatch(str(text)):
            yield f"the value of tag {name} has up to {_LONGEST_TAG_VALUE} letters, digits, spaces and + - = . _ : / @"
