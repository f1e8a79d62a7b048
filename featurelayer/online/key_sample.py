"""Draw some of the entities that a store has values for."""

from __future__ import annotations

from random import Random

from featurelayer.errors import StoreNotFound
from featurelayer.online.base import OnlineStore, SamplingStore, Spend


def sample_keys(store: OnlineStore, sk: str, count: int, *, rows: int, random: Random, spend: Spend) -> list[str]:
    """Return up to `count` keys that a view has values for; of a store that can't draw, all are listed."""
    if isinstance(store, SamplingStore):
        return store.sample(sk, count, rows=rows, random=random, spend=spend)
    kept: list[str] = []
    try:
        for position, key in enumerate(store.live(sk)):
            if position < count:
                kept.append(key.pk)
            elif (place := random.randrange(position + 1)) < count:
                kept[place] = key.pk
    except StoreNotFound:
        return []
    return kept
