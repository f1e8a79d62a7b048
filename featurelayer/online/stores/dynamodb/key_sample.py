"""Draw keys of a table by scanning parts of it that are chosen at random."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

from featurelayer.online.base import Spend

_MOST_SEGMENTS = 1_000_000
_UNIT = 4096


def scan_sample(
    scan: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    request: Mapping[str, Any],
    count: int,
    *,
    rows: int,
    random: Random,
    spend: Spend,
) -> list[str]:
    """Return up to `count` keys that parts of a DynamoDB table have, chosen at random.

    A table is scanned in as many segments as have about a page of wanted keys each; the hash of a key decides in which
    it is, so whole segments are a fair sample of entities.
    """
    segments = max(1, min(_MOST_SEGMENTS, math.ceil(rows / max(1, count)) * 4 if rows > count else 1))
    found: dict[str, None] = {}
    for segment in _shuffle_segments(segments, random):
        start: dict[str, Any] = {}
        while True:
            page = scan({**request, "TotalSegments": segments, "Segment": segment, **start})
            units = page.get("ConsumedCapacity", {}).get("CapacityUnits")
            spend(float(units) if units is not None else max(1.0, page.get("ScannedCount", 0) * 1024 / _UNIT))
            found |= dict.fromkeys(item["pk"]["S"] for item in page["Items"])
            if not page.get("LastEvaluatedKey") or len(found) >= count:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        if len(found) >= count:
            break
    keys = list(found)
    return keys if len(keys) <= count else random.sample(keys, count)


def _shuffle_segments(segments: int, random: Random) -> Iterator[int]:
    """Yield every segment once, in an order by chance."""
    if segments <= 10_000:
        order = list(range(segments))
        random.shuffle(order)
        yield from order
        return
    # A walk by a step that shares no factor with the number visits all of them, and needs no list.
    step = random.randrange(1, segments)
    while math.gcd(step, segments) != 1:
        step = random.randrange(1, segments)
    start = random.randrange(segments)
    yield from ((start + turn * step) % segments for turn in range(segments))
