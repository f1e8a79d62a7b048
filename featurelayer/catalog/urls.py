"""Where each thing's page is. An address depends on the thing's own name alone, so that links to it stay."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from featurelayer.model import Feature, FeatureView

_SAFE = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
_LONGEST = 120
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def slug(name: str) -> str:
    """Return a name as part of an address; what is not lower case, or long, ends in a hash of all of it.

    No two names share one, also where a file system does not tell upper from lower case.
    """
    if _SAFE.fullmatch(name) and len(name) <= _LONGEST and not _RESERVED.fullmatch(name) and not name.endswith("."):
        return name
    readable = re.sub(r"[^a-z0-9_]+", "-", name.casefold()).strip("-")[:_LONGEST]
    return f"{readable or 'x'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def entity_path(name: str) -> str:
    """Return the address of an entity's page, from the site's root on."""
    return f"entity/{slug(name)}.html"


def view_path(view_id: str) -> str:
    """Return the address of a view's page."""
    return f"view/{slug(view_id)}.html"


def service_path(name: str) -> str:
    """Return the address of a service's page."""
    return f"service/{slug(name)}.html"


def owner_path(name: str) -> str:
    """Return the address of an owner's page."""
    return f"owner/{slug(name)}.html"


def tag_path(name: str) -> str:
    """Return the address of a tag's page."""
    return f"tag/{slug(name)}.html"


@dataclass(frozen=True, slots=True)
class FeaturePaths:
    """The addresses of all features: `feature/<view>__<feature>.html`.

    `a__b` of the view `c` and `b` of `c__a` would share theirs; both then get a hash behind it.
    """

    _paths: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def of(cls, views: Iterable[FeatureView]) -> FeaturePaths:
        """Return the addresses of all features of these views."""
        pairs = [(view.id, feature.name) for view in views for feature in view.features]
        taken: dict[str, int] = {}
        for view, feature in pairs:
            joined = slug(f"{view}__{feature}")
            taken[joined] = taken.get(joined, 0) + 1
        paths = {}
        for view, feature in pairs:
            joined = slug(f"{view}__{feature}")
            if taken[joined] > 1:
                joined = f"{joined}-{hashlib.sha256(f'{view}.{feature}'.encode()).hexdigest()[:8]}"
            paths[view, feature] = f"feature/{joined}.html"
        return cls(paths)

    def path(self, view: FeatureView, feature: Feature) -> str:
        """Return the address of a feature's page."""
        return self._paths[view.id, feature.name]

    def named(self, name: str) -> str | None:
        """Return the address of `view.feature`, or None if there is none."""
        view, _, feature = name.rpartition(".")
        return self._paths.get((view, feature))
