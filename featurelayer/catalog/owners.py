"""Group objects by owner and by tag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from featurelayer.model import Entity, Feature, FeatureService, FeatureView, Owner
from featurelayer.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedObjects:
    """The objects of one owner. Owners are identified by name, since they may have several addresses or none."""

    name: str
    emails: tuple[str, ...]
    entities: tuple[Entity, ...]
    views: tuple[FeatureView, ...]
    services: tuple[FeatureService, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedObjects:
    """The objects with one tag."""

    views: tuple[FeatureView, ...]
    features: tuple[tuple[FeatureView, Feature], ...]


def owner_name(owner: Owner) -> str:
    """Return the name of an owner, or the address; "" without an owner."""
    return owner.name or owner.email


def group_owners(registry: Registry) -> Mapping[str, OwnedObjects]:
    """Group entities, views and services by owner, sorted by name."""
    everything: list[Entity | FeatureView | FeatureService] = [
        *registry.entities.values(),
        *registry.views.values(),
        *registry.services.values(),
    ]
    names = sorted({owner_name(each.owner) for each in everything} - {""}, key=str.casefold)
    return {
        name: OwnedObjects(
            name=name,
            emails=_emails(name, everything),
            entities=tuple(each for each in registry.entities.values() if owner_name(each.owner) == name),
            views=tuple(each for each in registry.views.values() if owner_name(each.owner) == name),
            services=tuple(each for each in registry.services.values() if owner_name(each.owner) == name),
        )
        for name in names
    }


def _emails(name: str, everything: Iterable[Entity | FeatureView | FeatureService]) -> tuple[str, ...]:
    """Return the distinct addresses of a name."""
    return tuple(
        dict.fromkeys(each.owner.email for each in everything if owner_name(each.owner) == name and each.owner.email)
    )


def group_tags(registry: Registry) -> Mapping[str, TaggedObjects]:
    """Group views and features by tag, sorted by tag."""
    views: dict[str, list[FeatureView]] = {}
    features: dict[str, list[tuple[FeatureView, Feature]]] = {}
    for view in registry.views.values():
        for tag in dict.fromkeys(view.tags):
            views.setdefault(tag, []).append(view)
        for feature in view.features:
            for tag in dict.fromkeys(feature.tags):
                features.setdefault(tag, []).append((view, feature))
    return {
        tag: TaggedObjects(views=tuple(views.get(tag, ())), features=tuple(features.get(tag, ())))
        for tag in sorted(views.keys() | features.keys(), key=str.casefold)
    }
