"""The graph of the project: sources, models, feature views and the services that use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from featurelayer.catalog.urls import service_path, view_path
from featurelayer.catalog.values import CatalogInput


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectNode:
    """A relation or service. `kind` is source, seed, model, snapshot, view or service; `href` is its page, if any."""

    id: str
    name: str
    kind: str
    href: str = ""


@dataclass(frozen=True, kw_only=True)
class ProjectGraph:
    """The nodes up- and downstream of the feature views, and the edges from source to target."""

    nodes: Mapping[str, ProjectNode]
    edges: tuple[tuple[str, str], ...]

    @cached_property
    def parents(self) -> Mapping[str, tuple[str, ...]]:
        """The nodes that each node reads."""
        return _group_pairs((target, source) for source, target in self.edges)

    @cached_property
    def children(self) -> Mapping[str, tuple[str, ...]]:
        """The nodes that read each node."""
        return _group_pairs(self.edges)

    def sources(self, node: str) -> list[ProjectNode]:
        """Return the roots upstream of a node: nodes without parents."""
        seen, queue = {node}, [node]
        for current in queue:  # grows while it is walked
            for parent in self.parents.get(current, ()):
                if parent not in seen:
                    seen.add(parent)
                    queue.append(parent)
        return [self.nodes[each] for each in queue[1:] if each in self.nodes and not self.parents.get(each)]

    def to_json(self) -> dict[str, list[list[object]]]:
        """Return the graph for the browser: rows of name, kind, URL and id; edges by position."""
        places = {node: position for position, node in enumerate(self.nodes)}
        return {
            "nodes": [[node.name, node.kind, node.href, node.id] for node in self.nodes.values()],
            "edges": [[places[source], places[target]] for source, target in self.edges],
        }


def build_graph(given: CatalogInput) -> ProjectGraph:
    """Build the graph of a project, from the sources to the services."""
    registry = given.registry
    views = {view.unique_id: view for view in registry.views.values()}
    nodes: dict[str, ProjectNode] = {}
    edges: list[tuple[str, str]] = []
    queue = list(views)
    queued = set(queue)
    for unique_id in queue:  # grows while it is walked
        view, model = views.get(unique_id), given.models.get(unique_id)
        if view is not None:
            nodes[unique_id] = ProjectNode(id=unique_id, name=view.id, kind="view", href=view_path(view.id))
        else:
            kind = model.kind if model else unique_id.partition(".")[0]
            name = model.id if model else unique_id.rpartition(".")[2]
            nodes[unique_id] = ProjectNode(id=unique_id, name=name, kind=kind)
        parents = model.depends_on if model else view.depends_on if view else ()
        for parent in dict.fromkeys(parents):
            if parent.startswith(("model.", "snapshot.", "seed.", "source.")):
                edges.append((parent, unique_id))
                if parent not in queued:
                    queued.add(parent)
                    queue.append(parent)
    for service in registry.services.values():
        node = service.unique_id or f"service.{service.name}"
        nodes[node] = ProjectNode(id=node, name=service.name, kind="service", href=service_path(service.name))
        used = dict.fromkeys(registry.views[join.view].unique_id for join in service.views)
        edges.extend((view_id, node) for view_id in used)
    return ProjectGraph(nodes=nodes, edges=tuple(edges))


def _group_pairs(pairs: Iterator[tuple[str, str]] | tuple[tuple[str, str], ...]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in groups.items()}
