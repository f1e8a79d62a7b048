"""featurelayer: the dbt project is the only definition of a feature.

`FeatureLayer` composes the use cases; `featurelayer.online` is all that a serving process needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featurelayer._version import __version__

if TYPE_CHECKING:
    from featurelayer.layer import FeatureLayer
    from featurelayer.registry import Registry
    from featurelayer.training import TrainingSet

__all__ = ["FeatureLayer", "Registry", "TrainingSet", "__version__"]

_HOMES = {
    "FeatureLayer": "featurelayer.layer",
    "Registry": "featurelayer.registry",
    "TrainingSet": "featurelayer.training",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: a serving process pays for nothing it does not use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'featurelayer' has no attribute '{name}'")
    import importlib

    try:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("featurelayer"):
            raise
        from featurelayer.errors import MissingDependency

        raise MissingDependency(error.name, "cli") from error
    globals()[name] = value
    return value
