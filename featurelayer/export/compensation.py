"""Revert items that a run wrote after a newer one had committed.

The newer run wrote every key of the older run's recorded intent, so items of the older run remain in two cases only. If
the warehouse was rebuilt between the two, the newer run listed the keys of the store, and does not know the keys that
the older one wrote afterwards. And where the newer run was refused because of a streamed value, the older one may have
overwritten that value. Remaining items are recognised by their version. Each is replaced by the newer run's item for
the key, or by a tombstone if it has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from featurelayer.export.records import Intent
from featurelayer.online.base import Item, OnlineStore
from featurelayer.online.definitions import ViewCommit, commit_key, view_sk

Instead = Callable[[ViewCommit, Sequence[str]], Mapping[str, Item]]
"""Returns the items that the run which has committed has for keys, as far as the warehouse knows."""


def compensate(
    store: OnlineStore, intent: Intent, keys: Iterable[Sequence[str]], instead: Instead, grace_seconds: int
) -> int:
    """Replace items with the run's version among `keys`, given in batches; return how many were replaced."""
    sk, version = view_sk(intent.view), intent.row.version
    control = commit_key(sk)
    replaced = 0
    for batch in keys:
        items = store.read([(pk, sk) for pk in batch], consistent=True).values()
        overtaken = [item for item in items if item.version == version and not item.deleted and not item.streamed]
        if not overtaken:
            continue
        commit = ViewCommit.from_item(store.read([control], consistent=True)[control])
        newer = instead(commit, [item.pk for item in overtaken])
        # Newer than this run, but not newer than the one that overtook it: later writes are kept.
        replaced += store.write([
            newer.get(item.pk)
            or Item(pk=item.pk, sk=sk, version=version + 1, as_of=item.as_of, deleted=True,
                    ttl=math.ceil(version / 1_000_000) + grace_seconds)
            for item in overtaken
        ]).written  # fmt: skip
    return replaced
