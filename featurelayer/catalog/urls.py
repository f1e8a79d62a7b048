"""URLs of the pages. A URL depends on the object's name alone, so links to it stay valid."""

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
    """Return a name as part of a URL; a long name or one with upper case ends in a hash of the whole name.

    Slugs are unique even on a case-insensitive file system.
    """
    if _SAFE.fullmatch(name) and len(name) <= _LONGEST and not _RESERVED.fullmatch(name) and not name.endswith("."):
        return name
    readable = re.sub(r"[^a-z0-9_]+", "-", name.casefold()).strip("-")[:_LONGEST]
    return f"{readable or 'x'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def entity_path(name: str) -> str:
    """Return the URL of an entity's page, relative to the site's root."""
    return f"entity/{slug(name)}.html"


def view_path(view_id: str) -> str:
    """Return the URL of a view's page."""
    return f"view/{slug(view_id)}.html"


def service_path(name: str) -> str:
    """Return the URL of a service's page."""
    return f"service/{slug(name)}.html"


def owner_path(name: str) -> str:
    """Return the URL of an owner's page."""
    return f"owner/{slug(name)}.html"


def tag_path(name: str) -> str:
    """Return the URL of a tag's page."""
    return f"tag/{slug(name)}.html"


@dataclass(frozen=True, slots=True)
class FeaturePaths:
    """The URLs of all features: `feature/<view>__<feature>.html`.

    `a__b` of the view `c` and `b` of `c__a` would share a URL, so both end in a hash.
    """

    _paths: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def from_views(cls, views: Iterable[FeatureView]) -> FeaturePaths:
        """Return the URLs of all features of these views."""
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
        """Return the URL of a feature's page."""
        return self._paths[view.id, feature.name]

    def find(self, name: str) -> str | None:
        """Return the URL of `view.feature`, or None if there is no such feature."""
        view, _, feature = name.rpartition(".")
        return self._paths.get((view, feature))
