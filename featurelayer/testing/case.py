"""A named case, and what is said of an engine that does it otherwise."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from featurelayer.errors import FeatureLayerError
from featurelayer.model import FeatureService, FeatureView
from featurelayer.testing import oracle
from featurelayer.testing.builders import plain, rows_of

ZONES = ("UTC", "Asia/Tokyo", "America/New_York")
"""Session time zones that may not matter: none, one without and one with daylight saving time."""

_MANY = 5


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that a point-in-time join has to get right: what goes in, and the rows or the error that come out.

    `why` says in a sentence what is asked and what usually goes wrong. `rows` are the views' tables by view id, `zone`
    is the time zone of the session. `features` are the expected feature columns, written out; None leaves them to the
    oracle. If `error` is set, there are no rows: the request must be refused with an error of that type that says each
    of `messages`. `exports` are the runs that mode `as_served` goes by (`oracle.Run`, by view id). `needs` are
    abilities that not every engine has, beside those that its types and its mode ask for.
    """

    name: str
    why: str
    views: tuple[FeatureView, ...]
    rows: Mapping[str, pa.Table]
    labels: pa.Table
    service: FeatureService
    mode: str = "known_at"
    zone: str = "UTC"
    exports: Mapping[str, Sequence[oracle.Run]] = field(default_factory=_empty)
    features: Mapping[str, Sequence[Any]] | None = None
    error: type[FeatureLayerError] | None = None
    messages: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()

    def correct_rows(self) -> list[dict[str, Any]]:
        """Return the rows that must come out: the labels with `features`, or what the oracle says."""
        if self.features is None:
            return self.from_oracle()
        labels = rows_of(self.labels)
        columns = zip(*self.features.values(), strict=True)
        return [
            label | dict(zip(self.features, values, strict=True)) for label, values in zip(labels, columns, strict=True)
        ]

    def from_oracle(self) -> list[dict[str, Any]]:
        """Return the rows that the oracle gives."""
        return oracle.training_set(
            rows_of(self.labels),
            self.service,
            {view.id: view for view in self.views},
            {name: rows_of(table) for name, table in self.rows.items()},
            mode=self.mode,
            exports=self.exports,
        )

    def reordered(self, seed: int | None = None) -> Case:
        """Return the case with the views' rows the other way round, or shuffled by a seed: nothing else may change."""

        def order(table: pa.Table) -> pa.Table:
            positions = list(range(table.num_rows))
            mixed = positions[::-1] if seed is None else random.Random(seed).sample(positions, len(positions))  # noqa: S311
            return table.take(pa.array(mixed, pa.int64()))

        return replace(self, rows={name: order(table) for name, table in self.rows.items()})


class Engine(Protocol):
    """What the kit needs of a point-in-time join to try it."""

    @property
    def lacks(self) -> Collection[str]:
        """Abilities that the engine does not have; cases that need one of them are left out (`ABILITIES`)."""

    def use_zone(self, zone: str) -> None:
        """Give the session a time zone; an engine without one does nothing."""

    def load(self, view: FeatureView, rows: pa.Table) -> None:
        """Put rows where the engine will find the view, in place of what was there."""

    def training_set(
        self,
        labels: pa.Table,
        service: FeatureService,
        views: Mapping[str, FeatureView],
        *,
        mode: str,
        exports: Mapping[str, Sequence[oracle.Run]],
    ) -> pa.Table | Sequence[Mapping[str, Any]]:
        """Return the labels with the features of the views (by id), or raise what the contract calls for."""


ABILITIES = {
    "arrays": "columns that hold lists",
    "nested arrays": "columns that hold lists of lists",
    "structs": "columns that hold records",
    "nanoseconds": "timestamp types finer than a microsecond",
    "unsigned": "unsigned integers",
    "zero characters": "text with U+0000 in it",
    "twins": "label columns whose names differ in case alone",
    "signed zeros": "telling 0.0 from -0.0",
    "as_served": "the mode as_served",
    "event_time": "the mode event_time",
    "refusals": "refusing what can't be joined",
}
"""What a case may need beyond the plain join, and an engine may lack."""


def abilities(case: Case) -> frozenset[str]:
    """Return what an engine must be able to do for a case: what it says itself, its types and texts, its mode."""
    found = set(case.needs)
    for table in (case.labels, *case.rows.values()):
        for column in table.schema:
            found |= {ability for ability, test in _TYPES.items() if test(column.type)}
            if pa.types.is_string(column.type) and pc.any(pc.match_substring(table[column.name], "\0")).as_py():
                found.add("zero characters")
    found |= {case.mode} & ABILITIES.keys()
    if case.error is not None:
        found.add("refusals")
    return frozenset(found)


_TYPES = {
    "arrays": pa.types.is_list,
    "nested arrays": lambda kind: pa.types.is_list(kind) and pa.types.is_list(kind.value_type),
    "structs": pa.types.is_struct,
    "unsigned": pa.types.is_unsigned_integer,
    "nanoseconds": lambda kind: pa.types.is_timestamp(kind) and kind.unit == "ns",
}


def applies(engine: Engine, case: Case) -> bool:
    """Return whether an engine has what a case needs."""
    return not abilities(case) & set(engine.lacks)


def check(engine: Engine, case: Case) -> list[str]:
    """Return what an engine does otherwise than a case says, in sentences; nothing if all is right."""
    engine.use_zone(case.zone)
    for view in case.views:
        engine.load(view, case.rows[view.id])
    views = {view.id: view for view in case.views}
    try:
        found = engine.training_set(case.labels, case.service, views, mode=case.mode, exports=case.exports)
    except FeatureLayerError as error:
        return _check_refusal(case, error)
    if case.error is not None:
        return [f"{case.name}: expected {case.error.__name__}, but rows came out"]
    rows = rows_of(found) if isinstance(found, pa.Table) else found
    return differences(rows, case.correct_rows(), where=case.name)


def _check_refusal(case: Case, error: FeatureLayerError) -> list[str]:
    if case.error is None:
        return [f"{case.name}: refused with {type(error).__name__}: {error}"]
    if not isinstance(error, case.error):
        return [f"{case.name}: expected {case.error.__name__}, got {type(error).__name__}: {error}"]
    missing = [message for message in case.messages if message not in str(error)]
    return [f"{case.name}: the error does not say '{message}'; it says: {error}" for message in missing]


def differences(
    found: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]], *, where: str = ""
) -> list[str]:
    """Return in which rows and columns two results differ, in sentences; order counts, of rows and of columns."""
    start = f"{where}: " if where else ""
    said = []
    if len(found) != len(expected):
        said.append(f"{start}{len(found)} rows came out, {len(expected)} were expected")
    for number, (got, right) in enumerate(zip_longest(found, expected)):
        if got is None or right is None:
            break
        if list(got) != list(right):
            said.append(f"{start}columns are {', '.join(got)}; expected {', '.join(right)}")
            break
        ours, theirs = plain(got), plain(right)
        said += [
            f"{start}row {number}, {name}: got {ours[name]}, expected {theirs[name]}"
            for name in theirs
            if ours[name] != theirs[name]
        ]
    return said if len(said) <= _MANY else [*said[:_MANY], f"{start}and {len(said) - _MANY} more differences"]
