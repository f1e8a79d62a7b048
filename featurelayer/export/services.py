"""Publish the schemas and the definitions of services, which serving reads from the same store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from featurelayer.model import FeatureService, FeatureView
from featurelayer.online.base import OnlineStore, store_capabilities
from featurelayer.online.definitions import ServiceDefinition, service_definition, view_definition, view_schema
from featurelayer.retry import call_with_retry


def publish_services(
    store: OnlineStore, services: Iterable[FeatureService], views: Mapping[str, FeatureView], version: int
) -> tuple[ServiceDefinition, ...]:
    """Write the schemas and definitions that serving needs, and point each service's name at its definition.

    The write definition of every online view is published too. `views` are by id; `version` is the run's write
    version in microseconds: of two runs, the pointers of the greater version win.

    Raises:
        UnknownNameError: a service names a view or feature that `views` lacks.
        CodecError: a feature can't be stored, or a default does not fit its type; nothing has been written.
    """
    definitions = tuple(service_definition(service, views) for service in services)
    used = {joined.view for definition in definitions for joined in definition.views}
    writable = [view_definition(view) for view in views.values() if view.online]
    schemas = {view_schema(views[view]) for view in sorted(used)} | {each.schema for each in writable}
    # Write schemas before the definitions that refer to them.
    patience = store_capabilities(store).patience
    described = [schema.item() for schema in schemas]
    if described:
        call_with_retry(lambda: store.write(described), patience)
    items = [item for each in definitions for item in each.items(version)] + [each.item(version) for each in writable]
    if items:
        pointers = list({item.key: item for item in items}.values())
        call_with_retry(lambda: store.write(pointers), patience)
    return definitions
