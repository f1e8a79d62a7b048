"""Reads exposures of `type: ml` as feature services."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from featurelayer.dbt.artifacts import Exposure, Manifest, is_misspelt
from featurelayer.dbt.block import AT
from featurelayer.dbt.contract import ServiceBlock, ServiceLine, format_location, validate_block
from featurelayer.dbt.views import parse_ignores
from featurelayer.errors import Problem, did_you_mean
from featurelayer.model import Entity, FeatureService, FeatureView, Owner
from featurelayer.registry import ALL, ServiceEntry, assemble_joins, find_view, reference_problem, split_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReader:
    """Reads one exposure against the views of the project. Adds what is wrong to `problems`.

    `broken` are the views that have problems of their own, so that none is reported twice.
    """

    exposure: Exposure
    manifest: Manifest
    views: Mapping[str, FeatureView]
    broken: frozenset[str]
    entities: Mapping[str, Entity]
    problems: list[Problem]

    def read(self) -> FeatureService | None:
        """Return the service, or None if the exposure is not a service or has problems."""
        before = len(self.problems)
        block = self._block()
        if block is None:
            return None
        entries = [entry for index, line in enumerate(block.features) for entry in self._entries(line, index)]
        self._check_depends_on(entries)
        self._check_labels(block.labels)
        assembly = assemble_joins(
            entries, views=self.views, entities=self.entities, label_timestamp=block.label_timestamp
        )
        self.problems.extend(assembly.problems)
        if len(self.problems) > before:
            return None
        exposure = self.exposure
        return FeatureService(
            name=exposure.name,
            unique_id=exposure.unique_id,
            views=assembly.views,
            request_keys=assembly.request_keys,
            aliases=assembly.aliases,
            label_timestamp=block.label_timestamp,
            labels=block.labels,
            description=(exposure.description or "").strip(),
            owner=parse_owner(exposure.owner),
            tags=tuple(sorted(exposure.tags)),
            maturity=exposure.maturity or "",
            yaml_path=exposure.original_file_path,
            ignore=parse_ignores(block.ignore),
        )

    def _block(self) -> ServiceBlock | None:
        exposure = self.exposure
        meta = (exposure.config or {}).get("meta") or {}
        for key in filter(is_misspelt, map(str, meta)):
            what = f"unknown block '{key}' (did you mean 'featurelayer'?)"
            self._add_problem(what, f"config.meta.{key}", "rename it to `featurelayer`", "FL102")
        if "featurelayer" not in meta:
            if "featurelayer" in (exposure.meta or {}):
                fix = f"move it to {AT}: dbt 2 drops `meta` outside of `config`"
                self._add_problem("the annotation is in `meta`, where it is not read", "meta", fix, "FL101")
            return None
        if exposure.type != "ml":
            what = f"an exposure of type '{exposure.type}' can't be a feature service"
            self._add_problem(what, "type", "set `type: ml`, or remove the featurelayer block", "FL109")
            return None
        return validate_block(
            ServiceBlock,
            meta["featurelayer"],
            file=exposure.original_file_path,
            resource=exposure.name,
            path=AT,
            problems=self.problems,
        )

    def _entries(self, line: ServiceLine, index: int) -> Iterator[ServiceEntry]:
        where = format_location(self.exposure.original_file_path, self.exposure.name, f"{AT}.features[{index}]")
        if line.reference is not None:
            parts = split_reference(line.reference)
            if parts is None:
                self.problems.append(reference_problem(line.reference, where))
                return
            entry = ServiceEntry(view=parts[0], features=(parts[1],), where=where)
        else:
            features = tuple(line.features or (ALL,))
            entry = ServiceEntry(view=line.view or "", features=features, role=line.role, keys=line.keys, where=where)
        if self._is_usable(entry):
            yield entry

    def _is_usable(self, entry: ServiceEntry) -> bool:
        """Whether an entry's view can be used; add a problem if more than its name is wrong."""
        if find_view(self.views, entry.view) is not None:
            return True
        if entry.view in self.broken:
            return False
        if entry.view in _names(self.manifest.disabled):
            fix = "enable the model, or remove the feature"
            self.problems.append(
                Problem(
                    what=f"feature view '{entry.view}' is disabled in dbt", where=entry.where, fix=fix, code="FL302"
                )
            )
            return False
        if entry.view in _names(self.manifest.unique_ids):
            what = f"dbt model '{entry.view}' is not a feature view"
            fix = f"annotate it: {AT}: {{entity: ...}}"
            self.problems.append(Problem(what=what, where=entry.where, fix=fix, code="FL302"))
            return False
        return True

    def _check_depends_on(self, entries: list[ServiceEntry]) -> None:
        parents = set(self.exposure.depends_on.nodes)
        used = {view.id: view for entry in entries if (view := find_view(self.views, entry.view))}
        for view in used.values():
            if view.unique_id not in parents:
                version = f", v={view.version}" if view.version is not None else ""
                fix = f"add `- ref('{view.name}'{version})` to depends_on, as a line of its own"
                what = f"it uses feature view '{view.id}', which its depends_on lacks"
                self._add_problem(what, "depends_on", fix, "FL108")

    def _check_labels(self, labels: str | None) -> None:
        known = _names(self.manifest.unique_ids)
        if labels is None or labels in known:
            return
        if labels in _names(self.manifest.disabled):
            what, fix = f"its labels' model '{labels}' is disabled in dbt", "Enable it, or name another."
        else:
            what = f"there is no dbt model '{labels}' for its labels{did_you_mean(labels, known)}"
            fix = "name a model, seed or snapshot of the project"
        self._add_problem(what, f"{AT}.labels", fix, "FL302")

    def _add_problem(self, what: str, path: str, fix: str, code: str) -> None:
        where = format_location(self.exposure.original_file_path, self.exposure.name, path)
        self.problems.append(Problem(what=f"{self.exposure.name}: {what}", where=where, fix=fix, code=code))


def parse_owner(owner: Mapping[str, object] | None) -> Owner:
    """Return dbt's owner; dbt allows several addresses."""
    if not owner:
        return Owner()
    email = owner.get("email") or ""
    return Owner(
        name=str(owner.get("name") or ""), email=", ".join(map(str, email)) if isinstance(email, list) else str(email)
    )


@functools.lru_cache(maxsize=8)
def _names(unique_ids: frozenset[str]) -> set[str]:
    """Return `orders` and `orders.v2` for each `model.project.orders.v2`."""
    names = set()
    for unique_id in unique_ids:
        kind, _, rest = unique_id.partition(".")
        if kind in ("model", "snapshot", "seed"):
            name = rest.partition(".")[2]
            names |= {name, name.partition(".")[0]}
    return names
