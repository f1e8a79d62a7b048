"""Services that are pinned to what a model was trained with: the lock file of a training set, and what must hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from featurelayer.errors import ConfigError, Problem, StoredSchemaMismatch
from featurelayer.online.definitions import ServiceDefinition


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """A service as a training set had it; `features` are its columns in order, where they are known."""

    service: str
    fingerprint: str
    features: tuple[str, ...] | None = None

    def check(self, definition: ServiceDefinition) -> None:
        """Hold a stored definition to the pin.

        Raises:
            StoredSchemaMismatch: it is another.
        """
        if definition.fingerprint != self.fingerprint:
            raise StoredSchemaMismatch(
                f"the online store holds {self.service}@{self.fingerprint}, but its content has the fingerprint "
                f"{definition.fingerprint}\n  fix  export with the release of featurelayer that serves, or a newer one"
            )
        if self.features is not None and self.features != definition.columns:
            raise StoredSchemaMismatch(
                f"the lock file's features of {self.service}@{self.fingerprint} are not those of the online store\n"
                f"  at   lock   {', '.join(self.features)}\n       store  {', '.join(definition.columns)}\n"
                "  fix  use the lock file as it was written beside the training set"
            )


def pins_of(pinned: Mapping[str, str]) -> dict[str, Pin]:
    """Return pins from fingerprints by service."""
    return {name: Pin(service=name, fingerprint=fingerprint) for name, fingerprint in pinned.items()}


def read_lock(path: str | Path) -> Pin:
    """Return what a training set's lock file pins.

    Raises:
        ConfigError: it is no lock file of a service.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _bad_lock(path, "there is no such lock file") from None
    except (ValueError, OSError) as error:
        raise _bad_lock(path, f"the lock file can't be read: {error}") from error
    service = content.get("service") if isinstance(content, dict) else None
    if not isinstance(service, dict) or not all(isinstance(service.get(key), str) for key in ("name", "fingerprint")):
        raise _bad_lock(path, "the lock file names no service and fingerprint")
    features = service.get("features")
    return Pin(
        service=service["name"],
        fingerprint=service["fingerprint"],
        features=tuple(map(str, features)) if isinstance(features, list) else None,
    )


def _bad_lock(path: Path, what: str) -> ConfigError:
    fix = "give the .lock.json that `featurelayer build-training-set --service ...` wrote beside the training set"
    return ConfigError([Problem(what=what, where=str(path), fix=fix)])
