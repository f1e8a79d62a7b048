"""The tables of a DynamoDB store that has one per view: made, checked and described together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from featurelayer.callbacks import Notify
from featurelayer.errors import Problem, StoreNotFound
from featurelayer.online.base import CreateResult
from featurelayer.online.stores.dynamodb.provision import TableProvisioner
from featurelayer.online.stores.dynamodb.tables import TableSettings

MISSING = "MISSING"
"""The state of a table that is not there."""


class TableSet:
    """`Provisioned` for the tables of one store; `text` is the address's name for them, the first has the services."""

    def __init__(self, text: str, tables: Sequence[str], calls: Callable[[str], TableProvisioner]) -> None:
        self._text, self._calls = text, {table: calls(table) for table in tables}

    def create(self, settings: TableSettings | None = None, notify: Notify | None = None) -> CreateResult:
        """Create the tables that are missing, all at once, and complete the others.

        Raises:
            StoreNotFound: some tables are not ours; names all of them, and nothing has been created.
        """
        settings, notify = settings or TableSettings(), notify or (lambda _line: None)
        _raise_foreign(self._problems()[1])
        begun = {table: calls.begin(settings, notify) for table, calls in self._calls.items()}
        done = {
            table: calls.complete(settings, partial(_prefix_table, notify, table), created=begun[table])
            for table, calls in self._calls.items()
        }
        differs = tuple(f"table {table}: {each}" for table, made in done.items() for each in made.differs)
        return CreateResult(created=any(begun.values()), differs=differs)

    def check(self) -> None:
        """Raise StoreNotFound, naming all that are missing or not ours, unless an export may write here."""
        missing, foreign = self._problems()
        if missing:
            names = ", ".join(f"'{table}'" for table in missing)
            what = f"there is no table {names}" if len(missing) == 1 else f"there are no tables {names}"
            foreign = [Problem(what=what, fix="create what is missing with `featurelayer online create`"), *foreign]
        _raise_foreign(foreign)

    def describe(self) -> dict[str, Any]:
        """Return the facts of all tables under `tables`, and their totals.

        Raises:
            StoreNotFound: the table of the services is missing; that of a view may be.
        """
        (home, *others), known = self._calls, dict[str, dict[str, Any]]()
        known[home] = self._calls[home].describe()
        for table in others:
            calls = self._calls[table]
            known[table] = calls.describe() if calls.exists() else {"table": table, "state": MISSING, "problems": []}
        return {
            "type": "dynamodb",
            "table": self._text,
            "items": _sum(known, "items"),
            "bytes": _sum(known, "bytes"),
            "missing": [table for table, facts in known.items() if facts["state"] == MISSING],
            "tables": [{name: value for name, value in facts.items() if name != "type"} for facts in known.values()],
            "problems": [f"table {table}: {each}" for table, facts in known.items() for each in facts["problems"]],
        }

    def _problems(self) -> tuple[list[str], list[Problem]]:
        """Return the missing tables, and the problems of those that featurelayer did not create."""
        missing, foreign = list[str](), list[Problem]()
        for table, calls in self._calls.items():
            if not calls.exists():
                missing.append(table)
                continue
            try:
                calls.check()
            except StoreNotFound as error:
                foreign += error.problems
        return missing, foreign


def _prefix_table(notify: Notify, table: str, line: str) -> None:
    notify(line if table in line else f"{table}: {line}")


def _raise_foreign(problems: Sequence[Problem]) -> None:
    if problems:
        raise StoreNotFound(problems)


def _sum(known: Mapping[str, Mapping[str, Any]], name: str) -> int:
    return sum(facts.get(name) or 0 for facts in known.values())
