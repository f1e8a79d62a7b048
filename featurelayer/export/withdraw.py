"""What a run takes back when a newer one has overtaken it.

The newer run wrote every key that the warehouse knew this one to mean to write, so nothing of this run is left. Not if
the warehouse was rebuilt between the two: then the newer one has asked the store for its keys, and what this run wrote
afterwards nobody knows of. It is recognised by its version and gets a tombstone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from featurelayer.export.records import Intent
from featurelayer.online.base import Item, OnlineStore
from featurelayer.online.definitions import view_sk


def withdraw(store: OnlineStore, intent: Intent, keys: Iterable[Sequence[str]], grace_seconds: int) -> int:
    """Remove what still bears the run's version among `keys`, given in batches; return how many were removed."""
    sk, version = view_sk(intent.view), intent.row.version
    removed = 0
    for batch in keys:
        found = store.read([(pk, sk) for pk in batch], consistent=True).values()
        # Newer than this run, older than the one that overtook it: whatever that one writes stays.
        removed += store.write([
            Item(pk=item.pk, sk=sk, version=version + 1, as_of=item.as_of, deleted=True,
                 ttl=math.ceil(version / 1_000_000) + grace_seconds)
            for item in found if item.version == version and not item.deleted and not item.streamed
        ]).written  # fmt: skip
    return removed
