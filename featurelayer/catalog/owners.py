"""Who owns what, and what carries which tag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from featurelayer.model import Entity, Feature, FeatureService, FeatureView, Owner
from featurelayer.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedObjects:
    """What one owner answers for. Who has several addresses, or none, is known by name."""

    name: str
    emails: tuple[str, ...]
    entities: tuple[Entity, ...]
    views: tuple[FeatureView, ...]
    services: tuple[FeatureService, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedObjects:
    """What carries one tag."""

    views: tuple[FeatureView, ...]
    features: tuple[tuple[FeatureView, Feature], ...]


def owner_name(owner: Owner) -> str:
    """Return what an owner is called; "" if there is none."""
    return owner.name or owner.email


def group_owners(registry: Registry) -> Mapping[str, OwnedObjects]:
    """Return all owners by name, sorted."""
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
    """The addresses that a name has, each once."""
    return tuple(
        dict.fromkeys(each.owner.email for each in everything if owner_name(each.owner) == name and each.owner.email)
    )


def group_tags(registry: Registry) -> Mapping[str, TaggedObjects]:
    """Return all tags of views and features, sorted."""
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
