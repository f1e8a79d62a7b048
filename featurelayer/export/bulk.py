"""Use case: the first load of a table as one import, in place of an export's writes.

Intent, commit and ledger are those of an export. In between, all views together become files that AWS makes the table
from, so a run that dies in the middle leaves what any run leaves: an intent without an end, whose keys the next export
writes again, if the table is there by then. No lease is taken: it would be an item of a table that is not there, and
AWS makes a table once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from featurelayer.export.exporter import Exporter, SendResult, build_items
from featurelayer.export.files import read_batches
from featurelayer.export.records import Intent, ViewExport
from featurelayer.online.base import Item
from featurelayer.online.definitions import ViewRunStart, view_schema, view_sk
from featurelayer.sql.delta import REMOVED

Loader = Callable[[Iterator[Sequence[Item]], str], Any]
"""Makes the store from batches of items, by a run's id; it has every one of them when this returns."""


class BulkExporter(Exporter):
    """An exporter whose intents are loaded all at once into a store that does not exist yet."""

    def load(self, intents: Sequence[Intent], loader: Loader) -> tuple[ViewExport, ...]:
        """Have the store made from what was intended, commit, and tell the ledger.

        Raises:
            OnlineStoreError: the load failed; exporting again, without bulk if the table is there, finishes the work.
        """
        started = time.monotonic()
        sent = {intent.view.id: SendResult(refused_keys=Path()) for intent in intents}
        loader(self._batches(intents, sent), self._run)
        return tuple(self._settle(intent, sent[intent.view.id], started) for intent in intents)

    def _batches(self, intents: Sequence[Intent], sent: dict[str, SendResult]) -> Iterator[list[Item]]:
        """Yield everything that was intended, and what it needs; of each view one file is on this disk at a time."""
        schemas = {schema.item().key: schema.item() for schema in (view_schema(intent.view) for intent in intents)}
        yield list(schemas.values())
        for intent in intents:
            yield [ViewRunStart(version=intent.row.version, run=self._run).item(view_sk(intent.view))]
            with TemporaryDirectory(prefix="featurelayer-") as folder:
                for kind, path in self._fetch_files(intent, Path(folder), shuffled=True):
                    for batch in read_batches(path):
                        items = build_items(intent, batch)
                        yield items
                        self._count(intent, sent[intent.view.id], kind, items)

    def _count(self, intent: Intent, sent: SendResult, kind: str, items: list[Item]) -> None:
        if kind == REMOVED:
            sent.tombstones += len(items)
        else:
            sent.written += len(items)
        sent.bytes += sum(item.size for item in items)
        sent.items += len(items)
        if self._progress is not None:
            self._progress(f"{intent.view.id} to S3", sent.items, intent.to_write)

    def _settle(self, intent: Intent, sent: SendResult, started: float) -> ViewExport:
        # A newer export may have found the table before this line; it has then written all of these keys again.
        sent.superseded = not self._commit(intent)
        if not sent.superseded:
            self._remember(intent, sent)
        return replace(self._view_report(intent, sent, started), units=0)  # an import takes none
