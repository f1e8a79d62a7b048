"""The training sets of a project: `layer.training`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from featurelayer.callbacks import Progress
from featurelayer.training.mismatch_reasons import Reproduction
from featurelayer.training.reproduce import reproduce
from featurelayer.training.request import RequestOptions, TrainingSetRequest
from featurelayer.training.resolved_request import FindLedger
from featurelayer.workspace import Workspace


class TrainingOperations:
    """Requests, builds and reproduces training sets of one project."""

    def __init__(self, workspace: Workspace, find_ledger: FindLedger) -> None:
        self._workspace = workspace
        self._find_ledger = find_ledger

    def request(
        self, service: str | None = None, labels: Any = None, **options: Unpack[RequestOptions]
    ) -> TrainingSetRequest:
        """Return a request that can be built, planned, explained or shown as SQL, without resolving names yet.

        `TrainingSetRequest` documents the arguments.
        """
        return TrainingSetRequest(
            workspace=self._workspace, find_ledger=self._find_ledger, service=service, labels=labels, **options
        )

    def reproduce(
        self, lock: str | Path | Mapping[str, Any], labels: Any = None, *, progress: Progress | None = None
    ) -> Reproduction:
        """Rebuild a training set from its lock and report any difference; as `FeatureLayer.reproduce`."""
        return reproduce(self._workspace, self._find_ledger, lock, labels, progress=progress)
