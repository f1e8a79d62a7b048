"""Take back what a run wrote after a newer one had committed.

The newer run wrote every key that the warehouse knew this one to mean to write, so nothing of this run is left but in
two cases. If the warehouse was rebuilt between the two, the newer one has asked the store for its keys, and what this
run wrote afterwards is unknown. And where a streamed value kept the newer run out, this one may have been allowed
to write over that value. What this run left is recognised by its version. It gets what the newer run has for the key,
or a tombstone where that has nothing.
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
    """Replace what still bears the run's version among `keys`, given in batches; return how many were replaced."""
    sk, version = view_sk(intent.view), intent.row.version
    control = commit_key(sk)
    replaced = 0
    for batch in keys:
        found = store.read([(pk, sk) for pk in batch], consistent=True).values()
        left = [item for item in found if item.version == version and not item.deleted and not item.streamed]
        if not left:
            continue
        commit = ViewCommit.from_item(store.read([control], consistent=True)[control])
        newer = instead(commit, [item.pk for item in left])
        # Newer than this run, no newer than the one that overtook it: whatever later ones write stays.
        replaced += store.write([
            newer.get(item.pk)
            or Item(pk=item.pk, sk=sk, version=version + 1, as_of=item.as_of, deleted=True,
                    ttl=math.ceil(version / 1_000_000) + grace_seconds)
            for item in left
        ]).written  # fmt: skip
    return replaced
