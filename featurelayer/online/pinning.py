"""Services that are pinned to what a model was trained with: the lock file of a training set, and what must hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from featurelayer.errors import ConfigError, Problem, StoredSchemaMismatch
from featurelayer.online.codec import parse_dtype
from featurelayer.online.definitions import ServiceDefinition

if TYPE_CHECKING:
    from featurelayer.model import DType

# What is text in Python, and what is a whole number, whatever an engine calls it.
_FAMILIES = {"uint": "int", "uuid": "text", "json": "text"}
# As an integer of 128 bits comes out of a warehouse.
_WIDEST = 128


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """A service as a training set had it.

    `features` are its columns in order and `types` those of their values by column, where they are known.
    """

    service: str
    fingerprint: str
    features: tuple[str, ...] | None = None
    types: dict[str, str] = {}

    def check(self, definition: ServiceDefinition) -> None:
        """Hold a stored definition to the pin.

        Raises:
            StoredSchemaMismatch: it is another.
        """
        if definition.fingerprint != self.fingerprint:
            raise StoredSchemaMismatch(
                f"the online store holds {self.service}@{self.fingerprint}, but its content has the "
                f"fingerprint {definition.fingerprint}",
                fix="export with the release of featurelayer that serves, or a newer one",
            )
        if self.features is not None and self.features != definition.columns:
            raise StoredSchemaMismatch(
                f"the lock file's features of {self.service}@{self.fingerprint} are not those of the online store",
                where=f"lock   {', '.join(self.features)}\n       store  {', '.join(definition.columns)}",
                fix="use the lock file as it was written with the training set",
            )
        other = [
            f"{column}: trained on {self.types[column]}, served as {served}"
            for column, served in definition.types.items()
            if column in self.types and not _has_same_values(self.types[column], served)
        ]
        if other:
            raise StoredSchemaMismatch(
                f"{self.service}@{self.fingerprint} was trained on values of other types than it is served",
                where="\n       ".join(other),
                fix="build the training set again, which casts to the declared types, and train on it",
            )


def parse_pins(pinned: Mapping[str, str]) -> dict[str, Pin]:
    """Return pins from fingerprints by service."""
    return {name: Pin(service=name, fingerprint=fingerprint) for name, fingerprint in pinned.items()}


def read_pin(path: str | Path) -> Pin:
    """Return what a training set's lock file pins: the four facts that serving needs, of locks of every format.

    Raises:
        ConfigError: it is not the lock file of a service.
    """
    if not isinstance(path, (str, PathLike)):
        raise ConfigError([f"`lock` is {path!r}, not the path of a lock file"])
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _lock_error(path, "the lock file does not exist") from None
    except (ValueError, OSError) as error:
        raise _lock_error(path, f"the lock file can't be read: {error}") from error
    except RecursionError as error:
        raise _lock_error(path, "the lock file can't be read: it is nested too deeply") from error
    service = content.get("service") if isinstance(content, dict) else None
    if not isinstance(service, dict) or not all(isinstance(service.get(key), str) for key in ("name", "fingerprint")):
        raise _lock_error(path, "the lock file names no service and fingerprint")
    features = service.get("features")
    return Pin(
        service=service["name"],
        fingerprint=service["fingerprint"],
        features=tuple(map(str, features)) if isinstance(features, list) else None,
        types=_column_types(content),
    )


def _has_same_values(trained: str, served: str) -> bool:
    """Return whether values of the one type are the same values, of the same Python type, in the other.

    Sets that were built before types were compared have the warehouse's: a double that is served as a float has not
    all its digits, and a HUGEINT was a decimal.
    """
    one, other = parse_dtype(trained), parse_dtype(served)
    family, served_family = _family(one), _family(other)
    if family != served_family:
        return "unknown" in (family, served_family)
    if one.kind == "array" and one.element is not None and other.element is not None:
        return _has_same_values(str(one.element), str(other.element))
    return one.kind != "float" or (one.bits or 64) <= (other.bits or 64)


def _family(dtype: DType) -> str:
    if dtype.bits == _WIDEST:
        return "decimal"
    return _FAMILIES.get(dtype.kind, dtype.kind)


def _column_types(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the types of a lock's columns; none if the lock has another shape."""
    try:
        found = {name: column["type"] for join in content["joins"] for name, column in join["columns"].items()}
        for text in found.values():
            parse_dtype(text)
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}
    return found


def _lock_error(path: Path, what: str) -> ConfigError:
    fix = "pass the .lock.json that `featurelayer build-training-set --service ...` wrote"
    return ConfigError([Problem(what=what, where=str(path), fix=fix)])
