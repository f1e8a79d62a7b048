"""The states of the tables of exports, each a numbered generation, in a metastore without transactions.

A generation says which tables in the metastore the rows of each table of ours lie in: its parts. Parts never change
once they are written. A writer reads the newest generation, writes new parts next to the old ones, and
then makes the generation of the next number, under a name that can be made once: who comes second has lost, and
nothing of what it wrote counts. So no lock is held, and who dies leaves parts that no generation names.

- A generation is a view whose rows name the parts, as to make a view is the one thing that a metastore does whole or
  not at all.
- Readers take the greatest number. It is never removed, the last few before it neither: a number that is free again
  is so far back that a late writer that makes it finds itself overtaken and drops it. It is never read.
- Numbers alone say what is garbage, and no clock: a part is made for the number that its name has, and once that
  number is `_KEPT` back it is named by a generation or will never be. Only how long readers are left in peace is time.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import Protocol

from featurelayer.errors import WriteConflict

PREFIX = "featurelayer_log_"
_NAME = re.compile(rf"{PREFIX}(\d{{10}})(_\w+)?")
# How far back a number must be before it can be reused, and how long its parts are kept for readers.
_KEPT = 4
READERS = timedelta(hours=1)
_SWEPT_AT_ONCE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPart:
    """Rows of an export table, stored in a table of the metastore."""

    table: str
    name: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Which parts each table has; `token` is of the transaction that made it, number 0 is before the first."""

    number: int = 0
    parts: tuple[LogPart, ...] = ()
    committed: datetime | None = None
    token: str = ""

    def parts_of(self, table: str) -> tuple[LogPart, ...]:
        """Return the parts of a table; none if it does not exist."""
        return tuple(part for part in self.parts if part.table == table)


class Metastore(Protocol):
    """Stores generations and parts under their names."""

    def names(self) -> list[str]:
        """Return all names that begin with `PREFIX`."""

    def create(self, name: str, generation: Generation) -> bool:
        """Make a generation; False if the name is taken."""

    def read(self, name: str) -> Generation | None:
        """Return a generation, without its number; None if it does not exist."""

    def drop(self, name: str, *, generation: bool) -> None:
        """Remove a generation or a part if it exists."""


def name_of(number: int) -> str:
    """Return the name of a generation."""
    return f"{PREFIX}{number:010}"


def newest(metastore: Metastore) -> Generation:
    """Return the newest generation."""
    while True:
        number = max(_numbers(metastore.names()), default=0)
        if not number:
            return Generation()
        generation = metastore.read(name_of(number))
        if generation is not None:  # otherwise so many followed that it has been swept
            return Generation(
                number=number, parts=generation.parts, committed=generation.committed, token=generation.token
            )


class Transaction:
    """Changes of the newest generation, which become the next one or nothing; `parts` is how it is seen inside."""

    def __init__(self, metastore: Metastore, where: str) -> None:
        self._metastore, self._where = metastore, where
        self.base = newest(metastore)
        self.parts = self.base.parts
        self._token = uuid.uuid4().hex[:12]
        self._made: list[str] = []

    def parts_of(self, table: str) -> tuple[LogPart, ...]:
        """Return the parts of a table as seen by this transaction."""
        return tuple(part for part in self.parts if part.table == table)

    def new_part(self) -> str:
        """Return the name for a new part."""
        name = f"{name_of(self.base.number + 1)}_{self._token}_{len(self._made)}"
        self._made.append(name)
        return name

    def replace(self, old: Iterable[LogPart], new: Iterable[LogPart]) -> None:
        """Replace parts by others."""
        replaced = {part.name for part in old}
        self.parts = (*(part for part in self.parts if part.name not in replaced), *new)

    def commit(self, now: datetime) -> None:
        """Create the next generation if anything has changed.

        Raises:
            WriteConflict: another transaction made it first; nothing of this one counts.
        """
        if self.parts == self.base.parts:
            return
        name = name_of(self.base.number + 1)
        new = Generation(parts=self.parts, committed=now, token=self._token)
        if not self._metastore.create(name, new) and not self._is_ours(name):
            raise overtaken(self._where)
        if self.is_swept():
            # The number may be free only because it was swept; then the transaction is retried.
            self._metastore.drop(name, generation=True)
            raise overtaken(self._where)

    def is_swept(self) -> bool:
        """Test whether so many generations followed that parts of this transaction may have been swept."""
        return max(_numbers(self._metastore.names()), default=0) > self.base.number + _KEPT

    def _is_ours(self, name: str) -> bool:
        """Test whether the generation was created although the metastore did not confirm it."""
        generation = self._metastore.read(name)
        return generation is not None and generation.token == self._token

    def clear(self) -> None:
        """Remove unused parts; after a commit, those that a later statement replaced."""
        named = {part.name for part in newest(self._metastore).parts}
        for name in self._made:
            if name not in named:
                self._metastore.drop(name, generation=False)


def sweep(metastore: Metastore, now: datetime) -> None:
    """Remove generations that are no longer read, oldest first, and their parts."""
    names = metastore.names()
    numbers = sorted(_numbers(names))
    parts = {name: int(match[1]) for name in names if (match := _NAME.fullmatch(name)) and match[2]}
    for number, following in islice(pairwise(numbers), _SWEPT_AT_ONCE):
        after = metastore.read(name_of(following))
        if number > numbers[-1] - _KEPT or after is None or after.committed is None:
            return
        if now - after.committed < READERS:
            return
        named = {part.name for part in after.parts}
        # A part missing from one generation is missing from all later ones.
        for name in [name for name, made_for in parts.items() if made_for <= number and name not in named]:
            metastore.drop(name, generation=False)
            del parts[name]
        metastore.drop(name_of(number), generation=True)


def overtaken(where: str) -> WriteConflict:
    """Return the error of a transaction that lost to another one."""
    return WriteConflict(
        f"another command wrote to the tables of exports in {where} at the same time; nothing was written to them",
        fix="run it again",
    )


def _numbers(names: Iterable[str]) -> list[int]:
    return [int(match[1]) for name in names if (match := _NAME.fullmatch(name)) and not match[2]]
