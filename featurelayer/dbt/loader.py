"""Loads a registry from a manifest and featurelayer.yml, or raises every problem of the project at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from featurelayer.dbt.artifacts import Manifest, Node, catalog_types
from featurelayer.dbt.block import AT
from featurelayer.dbt.contract import ConfigBlock, EntityBlock, format_location, validate_block
from featurelayer.dbt.dtypes import dtype_of
from featurelayer.dbt.exposures import ServiceReader, parse_owner
from featurelayer.dbt.project import CONFIG_FILE, Project
from featurelayer.dbt.views import ViewReader
from featurelayer.errors import MetadataError, Problem, did_you_mean
from featurelayer.model import Entity, FeatureService, FeatureView, Key, Owner
from featurelayer.registry import Registry, view_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """The annotations of a project: the registry, all problems, and the views that have some.

    `doubtful` are views as far as they could be understood; none of them is in the registry.
    """

    registry: Registry
    problems: tuple[Problem, ...]
    doubtful: tuple[FeatureView, ...]


def registry_from(manifest: Manifest, project: Project) -> Registry:
    """Return the registry.

    Raises:
        MetadataError: with every problem of the annotations and of featurelayer.yml.
    """
    read = read_annotations(manifest, project)
    if read.problems:
        raise MetadataError(read.problems)
    return read.registry


def read_annotations(manifest: Manifest, project: Project) -> Annotations:
    """Read the annotations and collect their problems without raising."""
    problems: list[Problem] = []
    entities = _entities(project, manifest.adapter, problems)
    usable = {name: entity for name, entity in entities.items() if entity is not None}
    views, broken, doubtful = _views(manifest, entities, project, problems)
    services = _services(manifest, views, broken, usable, problems)
    _check_replacements(views, problems)
    registry = Registry(
        project=manifest.project_name or project.name,
        adapter=manifest.adapter,
        dbt_version=manifest.dbt_version,
        invocation_id=manifest.invocation_id,
        generated_at=manifest.generated_at,
        manifest_hash=manifest.sha256,
        entities=MappingProxyType(usable),
        views=MappingProxyType(dict(sorted(views.items()))),
        services=MappingProxyType(dict(sorted(services.items()))),
    )
    return Annotations(registry=registry, problems=tuple(problems), doubtful=tuple(doubtful))


def _entities(project: Project, adapter: str, problems: list[Problem]) -> dict[str, Entity | None]:
    """Return the declared entities; None for one with problems, so that its views are not reported."""
    config = project.config
    file = config.path.name if config.path else CONFIG_FILE
    declared = config.entities
    document = {**config.document, "entities": declared, "prices": config.prices, "monitors": config.monitors}
    block = validate_block(ConfigBlock, document, file=file, resource="", path="", problems=problems)
    if block is None:
        return dict.fromkeys(declared)
    return {name: _entity(name, entity, adapter, file, problems) for name, entity in block.entities.items()}


def _entity(name: str, block: EntityBlock, adapter: str, file: str, problems: list[Problem]) -> Entity | None:
    before = len(problems)
    if "." in name or not name.strip():
        fix = "choose a name without a dot: `entity.key` names a key"
        problems.append(
            Problem(what=f"'{name}' can't be an entity's name", where=f"{file} -> entities", fix=fix, code="FL102")
        )
    keys = []
    for key, text in block.keys.items():
        dtype = dtype_of(text, adapter)
        keys.append(Key(name=key, dtype=dtype))
        if not dtype.is_key:
            problems.append(
                Problem(
                    what=f"key '{key}' of entity '{name}' is {text}, which can't identify anything",
                    where=f"{file} -> entities.{name}.keys.{key}",
                    fix="use a text, whole number, date, timestamp or UUID type of your warehouse",
                    code="FL303",
                )
            )
    if len(problems) > before:
        return None
    owner = Owner(name=block.owner.name, email=block.owner.email)
    return Entity(name=name, keys=tuple(keys), description=block.description.strip(), owner=owner)


def _views(
    manifest: Manifest, entities: Mapping[str, Entity | None], project: Project, problems: list[Problem]
) -> tuple[dict[str, FeatureView], frozenset[str], list[FeatureView]]:
    """Return the views by id, the names of those with problems, and those as far as they can be read."""
    owners = _GroupOwners(manifest)
    untyped = frozenset(
        node.unique_id for node in manifest.nodes if not all(column.data_type for column in node.columns.values())
    )
    catalog = catalog_types(project.target_path, untyped) if untyped else {}
    views: dict[str, FeatureView] = {}
    broken: set[str] = set()
    doubtful: list[FeatureView] = []
    for node in manifest.nodes:
        before = len(problems)
        reader = ViewReader(
            node=node,
            adapter=manifest.adapter,
            entities=entities,
            catalog=catalog.get(node.unique_id, {}),
            owner=owners.owner_of,
            problems=problems,
        )
        view = reader.read()
        if view is not None and (other := views.get(view.id)) is not None:
            what = f"two feature views are named '{view.id}': {other.unique_id} and {view.unique_id}"
            where = format_location(view.yaml_path, view.id, AT)
            problems.append(Problem(what=what, where=where, fix="rename one of the models", code="FL603"))
        elif view is not None:
            views[view.id] = view
        if len(problems) > before or (view is None and reader.columns):
            broken |= {reader.label, node.name}
        if reader.doubtful is not None:
            doubtful.append(reader.doubtful)
    return views, frozenset(broken), doubtful


def _services(
    manifest: Manifest,
    views: Mapping[str, FeatureView],
    broken: frozenset[str],
    entities: Mapping[str, Entity],
    problems: list[Problem],
) -> dict[str, FeatureService]:
    services: dict[str, FeatureService] = {}
    for exposure in manifest.exposures:
        service = ServiceReader(
            exposure=exposure, manifest=manifest, views=views, broken=broken, entities=entities, problems=problems
        ).read()
        if service is not None and (other := services.get(service.name)) is not None:
            what = f"two feature services are named '{service.name}': {other.unique_id} and {service.unique_id}"
            where = format_location(service.yaml_path, service.name, AT)
            problems.append(Problem(what=what, where=where, fix="rename one of the exposures", code="FL603"))
        elif service is not None:
            services[service.name] = service
    return services


def _check_replacements(views: Mapping[str, FeatureView], problems: list[Problem]) -> None:
    names = set(view_names(views))
    features = {f"{view.id}.{feature.name}" for view in views.values() for feature in view.features}
    for view in views.values():
        if view.deprecated:
            where = format_location(view.yaml_path, view.id, f"{AT}.deprecated.replaced_by")
            problem = _replacement(
                f"deprecated feature view '{view.id}'", view.deprecated.replaced_by, view.id, names, where
            )
            problems += [problem] if problem else []
        for feature in view.features:
            if feature.deprecated:
                own = f"{view.id}.{feature.name}"
                replaced_by = feature.deprecated.replaced_by
                replacement = f"{view.id}.{replaced_by}" if replaced_by and "." not in replaced_by else replaced_by
                path = f"columns[{feature.name}].{AT}.deprecated.replaced_by"
                where = format_location(view.yaml_path, view.id, path)
                problem = _replacement(f"deprecated feature '{own}'", replacement, own, features, where)
                problems += [problem] if problem else []


def _replacement(what: str, replacement: str, own: str, known: set[str], where: str) -> Problem | None:
    """Return the problem of a `deprecated: {replaced_by: ...}`, if there is one."""
    if not replacement or (replacement in known and replacement != own):
        return None
    if replacement == own:
        return Problem(what=f"{what} is replaced by itself", where=where, fix="name what replaces it", code="FL102")
    suggestion = did_you_mean(replacement, known)
    message = f"{what} is replaced by '{replacement}', which does not exist{suggestion}"
    return Problem(what=message, where=where, fix="correct the name", code="FL102")


class _GroupOwners:
    """The owners of dbt's groups, by the group's package and name."""

    def __init__(self, manifest: Manifest) -> None:
        self._owners = {(group.package_name, group.name): parse_owner(group.owner) for group in manifest.groups}

    def owner_of(self, node: Node) -> Owner:
        """Return the owner of the node's group, or an empty owner."""
        name = node.config.get("group") or node.group
        return self._owners.get((node.package_name, str(name)), Owner()) if name else Owner()
