"""The search index of the browser: a row per object, with shared texts written once."""

from __future__ import annotations

import json
import re
from typing import Any

from featurelayer.catalog.markdown import first_sentence
from featurelayer.catalog.owners import group_owners, group_tags
from featurelayer.catalog.urls import FeaturePaths, entity_path, owner_path, service_path, tag_path, view_path
from featurelayer.registry import Registry

_ESCAPED = re.compile(r"\\.|'")
_UNESCAPED = {'\\"': '"', "'": "\\'"}


def build_search_index(registry: Registry, paths: FeaturePaths, services: dict[str, list[str]]) -> dict[str, Any]:
    """Build the index of views, features and other objects, as `search.js` and `browse.js` expect it.

    A feature is [name, position of its view, type, description, unit, tags, URL without the common parts, services,
    flags]; flag 1 means deprecated.
    """
    position = {view: number for number, view in enumerate(registry.views)}
    return {
        "views": [
            [
                view.id,
                list(view.entities),
                str(view.owner.name or view.owner.email),
                int(view.online),
                first_sentence(view.description),
                view_path(view.id),
                list(view.tags),
                view.update_frequency,
            ]
            for view in registry.views.values()
        ],
        "features": [
            [
                feature.name,
                position[view.id],
                str(feature.dtype),
                first_sentence(feature.description),
                feature.unit,
                list(feature.tags),
                paths.path(view, feature).removeprefix("feature/").removesuffix(".html"),
                services.get(f"{view.id}.{feature.name}", []),
                int(feature.deprecated is not None or view.deprecated is not None),
            ]
            for view in registry.views.values()
            for feature in view.features
        ],
        "others": [
            *(
                ["entity", entity.name, first_sentence(entity.description), entity_path(entity.name)]
                for entity in registry.entities.values()
            ),
            *(
                ["service", service.name, first_sentence(service.description), service_path(service.name)]
                for service in registry.services.values()
            ),
            *(["owner", owner, "", owner_path(owner)] for owner in group_owners(registry)),
            *(["tag", tag, "", tag_path(tag)] for tag in group_tags(registry)),
        ],
    }


def to_script(name: str, value: Any) -> str:
    """Return a script that sets `featurelayer.<name>` to a value.

    A page opened from a folder can load scripts but not JSON.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, str):  # SQL is full of double quotes: between single ones they need no escape
        text = "'" + _ESCAPED.sub(lambda found: _UNESCAPED.get(found[0], found[0]), text[1:-1]) + "'"
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f"(globalThis.featurelayer??={{}}).{name}={text};\n"
