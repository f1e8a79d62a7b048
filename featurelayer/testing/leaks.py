"""The no-leak property: rows that a label may not see never change what it gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from featurelayer.testing import oracle
from featurelayer.testing.builders import plain, rows_of
from featurelayer.testing.case import Case, Engine, differences

Evidence = tuple[Any, ...]


def evidence(case: Case) -> list[Evidence]:
    """Return for each label, in order, the rows that it may see in the case's mode, join by join.

    Two cases with the same labels must give a label the same features if its evidence is the same: whatever else was
    added, removed or changed is of other keys, or could not be known.
    """
    views = {view.id: view for view in case.views}
    rows = {name: rows_of(table) for name, table in case.rows.items()}
    time = case.service.label_timestamp
    found = []
    for label in rows_of(case.labels):
        at = oracle.utc(label[time]) if time else None
        seen = []
        for join in case.service.views:
            view, key = views[join.view], {column: label[request] for column, request in join.keys}
            until = oracle.knowledge_time(at, case.mode, case.exports.get(view.id, ()))
            mine = [row for row in rows[view.id] if oracle.may_see(view, row, key, until, case.mode)]
            seen.append(tuple(sorted(str(plain(row)) for row in mine)))
        found.append(tuple(seen))
    return found


def find_unaffected(before: Case, after: Case) -> list[int]:
    """Return the positions of the labels that may not notice the difference between two cases."""
    pairs = zip(evidence(before), evidence(after), strict=True)
    return [number for number, (old, new) in enumerate(pairs) if old == new]


def leaks(engine: Engine, before: Case, after: Case) -> list[str]:
    """Return what an engine let labels notice that they may not see, in sentences."""
    first, then = _run(engine, before), _run(engine, after)
    numbers = find_unaffected(before, after)
    return differences(
        [then[n] for n in numbers], [first[n] for n in numbers], where="of the labels that see no change"
    )


def _run(engine: Engine, case: Case) -> list[Mapping[str, Any]]:
    engine.use_zone(case.zone)
    for view in case.views:
        engine.load(view, case.rows[view.id])
    views = {view.id: view for view in case.views}
    found = engine.training_set(case.labels, case.service, views, mode=case.mode, exports=case.exports)
    return list(rows_of(found)) if isinstance(found, pa.Table) else list(found)
