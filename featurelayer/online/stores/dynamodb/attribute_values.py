"""An item as boto3 takes and gives it, attribute by attribute, each with its type; and how large it may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from featurelayer.errors import CodecError
from featurelayer.online.base import Int64, Item, Limits, Moment, corrupt_item, foreign_store
from featurelayer.online.stores.dynamodb.tables import PK_LIMIT, SK_LIMIT, is_key_too_long

LIMITS = Limits(item=400 * 1024, pk=PK_LIMIT)


def encode_item(item: Item) -> dict[str, Any]:
    """Return an item as DynamoDB has it."""
    wire: dict[str, Any] = {
        "pk": {"S": item.pk}, "sk": {"S": item.sk}, "f": {"S": item.f},
        "_v": {"N": str(item.version)}, "_t": {"N": str(item.as_of)},
    }  # fmt: skip
    for name, number in (("_e", item.event_time), ("_u", item.valid_to), ("ttl", item.ttl)):
        if number is not None:
            wire[name] = {"N": str(number)}
    if item.schema:
        wire["_s"] = {"S": item.schema}
    if item.deleted:
        wire["_d"] = {"BOOL": True}
    if item.streamed:
        wire["_w"] = {"BOOL": True}
    return wire


class TextAttribute(msgspec.Struct, frozen=True, gc=False):
    """A text attribute."""

    S: str


class NumberAttribute(msgspec.Struct, frozen=True, gc=False):
    """A number, which is text in DynamoDB's JSON."""

    N: Int64


class MomentAttribute(msgspec.Struct, frozen=True, gc=False):
    """A number of microseconds that a datetime can be."""

    N: Moment


class BoolAttribute(msgspec.Struct, frozen=True, gc=False):
    """A truth value."""

    BOOL: bool


_RENAMED = {"version": "_v", "as_of": "_t", "event_time": "_e", "valid_to": "_u", "schema": "_s", "deleted": "_d",
            "streamed": "_w"}  # fmt: skip


class ItemAttributes(msgspec.Struct, frozen=True, rename=_RENAMED, gc=False):
    """An item as DynamoDB's JSON has it; to be read with `strict=False`, since its numbers are text."""

    pk: TextAttribute
    sk: TextAttribute
    f: TextAttribute
    version: MomentAttribute
    as_of: MomentAttribute
    event_time: NumberAttribute | None = None
    valid_to: NumberAttribute | None = None
    schema: TextAttribute | None = None
    ttl: NumberAttribute | None = None
    deleted: BoolAttribute | None = None
    streamed: BoolAttribute | None = None

    def item(self) -> Item:
        return Item(
            pk=self.pk.S,
            sk=self.sk.S,
            version=self.version.N,
            f=self.f.S,
            schema=self.schema.S if self.schema is not None else "",
            as_of=self.as_of.N,
            event_time=self.event_time.N if self.event_time is not None else None,
            valid_to=self.valid_to.N if self.valid_to is not None else None,
            ttl=self.ttl.N if self.ttl is not None else None,
            deleted=self.deleted is not None and self.deleted.BOOL,
            streamed=self.streamed is not None and self.streamed.BOOL,
        )


def decode_item(raw: Mapping[str, Any]) -> Item:
    """Return the item that DynamoDB has; a damaged one if attributes are not of their types.

    Raises:
        StoreNotFound: the item is of a table that featurelayer did not create.
    """
    try:
        return msgspec.convert(raw, ItemAttributes, strict=False).item()
    except msgspec.ValidationError as error:
        if not {"pk", "sk"} <= raw.keys() or raw.keys().isdisjoint({"f", "_v", "_t"}):
            raise foreign_store(
                "the DynamoDB table", "use another table", f"an item of it is not ours: {error}"
            ) from error
        return corrupt_item((raw["pk"]["S"], raw["sk"]["S"]), f"an attribute is not of its type: {error}")


def read_number(raw: Mapping[str, Any], name: str) -> int | None:
    """Return a number of an item; None if there is none."""
    try:
        return int(raw[name]["N"])
    except (KeyError, TypeError, ValueError):
        return None


def validate_sizes(items: Sequence[Item]) -> None:
    """Raise CodecError, naming items that are larger than DynamoDB allows or have longer keys."""
    problems = [
        f"{item.pk} of view {item.sk}: the item has about {item.size:,} bytes, DynamoDB allows {LIMITS.item:,}"
        for item in items if len(item.f) * 4 > LIMITS.item and item.size > LIMITS.item
    ]  # fmt: skip
    problems += [
        f"{item.pk[:80]}... of view {item.sk[:80]}: the key has more than the {PK_LIMIT} bytes that DynamoDB allows, "
        f"or the view's name more than {SK_LIMIT}"
        for item in items if is_key_too_long(item.key)
    ]  # fmt: skip
    if problems:
        shown = problems[:10] + ([f"... and {len(problems) - 10} more"] if len(problems) > 10 else [])
        fix = "split the view, or shorten its texts and arrays; nothing of this batch was sent"
        raise CodecError("\n".join(shown), fix=fix)
