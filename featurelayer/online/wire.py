"""An item as boto3 takes and gives it, attribute by attribute, each with its type; and how large it may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featurelayer.errors import CodecError
from featurelayer.online.base import Item, Limits
from featurelayer.online.tables import PK_LIMIT, SK_LIMIT, is_too_long

LIMITS = Limits(item=400 * 1024, pk=PK_LIMIT)


def to_wire(item: Item) -> dict[str, Any]:
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


def from_wire(raw: Mapping[str, Any]) -> Item:
    """Return the item that DynamoDB has."""
    return Item(
        pk=raw["pk"]["S"],
        sk=raw["sk"]["S"],
        version=int(raw["_v"]["N"]),
        f=raw["f"]["S"],
        schema=raw["_s"]["S"] if "_s" in raw else "",
        as_of=int(raw["_t"]["N"]),
        event_time=number_in(raw, "_e"),
        valid_to=number_in(raw, "_u"),
        ttl=number_in(raw, "ttl"),
        deleted="_d" in raw,
        streamed="_w" in raw,
    )


def number_in(raw: Mapping[str, Any], name: str) -> int | None:
    """Return a number that need not be there."""
    return int(raw[name]["N"]) if name in raw else None


def check_sizes(items: Sequence[Item]) -> None:
    """Raise CodecError, naming items that are larger than DynamoDB allows or have longer keys."""
    problems = [
        f"{item.pk} of view {item.sk}: the item has about {item.size:,} bytes, DynamoDB allows {LIMITS.item:,}"
        for item in items if len(item.f) * 4 > LIMITS.item and item.size > LIMITS.item
    ]  # fmt: skip
    problems += [
        f"{item.pk[:80]}... of view {item.sk[:80]}: the key has more than the {PK_LIMIT} bytes that DynamoDB allows, "
        f"or the view's name more than {SK_LIMIT}"
        for item in items if is_too_long(item.key)
    ]  # fmt: skip
    if problems:
        shown = problems[:10] + ([f"... and {len(problems) - 10} more"] if len(problems) > 10 else [])
        fix = "  fix  split the view, or shorten its texts and arrays; nothing of this batch was sent"
        raise CodecError("\n".join([*shown, fix]))
