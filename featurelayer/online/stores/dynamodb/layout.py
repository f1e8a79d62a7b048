"""Find the DynamoDB table of an item: one for all, or one per view and one for what belongs to no view.

The text that an address has for a table decides: `features-prod` is one table, `features-prod-{view}` is a table for
each view, `features-prod-plane_legs`, and `features-prod-services` for the rest. A reader works out each name from the
key that it asks for, so the address is all it needs to know here, too.

A view's table has its values, the records of its exports, and its log: a lost table takes the record of what it held
with it, so the next export writes everything again. Services, schemas, which two views may
share, and how clients write to views are of no view.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from featurelayer.errors import ConfigError, Problem
from featurelayer.online.base import ItemKey
from featurelayer.online.definitions import VIEWS, definition_key, view_id
from featurelayer.online.stores.dynamodb.tables import is_table_name, validate_table_name
from featurelayer.online.streaming import LOG

SERVICES_TABLE = "services"
"""What stands in place of the view in the name of the table that is of no view."""
_VIEW = "{view}"
_DEFINITION, _LOG = definition_key("")[1], f"{LOG}#"


class Layout(Protocol):
    """Which table has what. `text` is the address's own, for messages; `home` has what is of no view.

    `has_table_per_view` is whether that is all that `home` has.
    """

    text: str
    home: str
    has_table_per_view: bool

    def table(self, pk: str, sk: str, /) -> str:
        """Return the table that an item of this key lies in."""

    def split(self, keys: Sequence[ItemKey]) -> dict[str, Sequence[ItemKey]]:
        """Return keys by their table."""

    def partition(self, pk: str, /) -> str | None:
        """Return the one table that has all items of a `pk`; None if any view's may have some."""

    def tables(self, views: Collection[str], /) -> dict[str, str]:
        """Return all tables of a store with these views (their `sk`), `home` first, each under a name for people.

        Raises:
            ConfigError: names of views make no names of tables, or the same one; all of them are named.
        """


class OneTable:
    """A `Layout` of one table."""

    has_table_per_view = False

    def __init__(self, name: str) -> None:
        validate_table_name(name)
        self.text = self.home = name

    def table(self, _pk: str, _sk: str, /) -> str:
        return self.home

    def split(self, keys: Sequence[ItemKey]) -> dict[str, Sequence[ItemKey]]:
        return {self.home: keys}

    def partition(self, _pk: str, /) -> str | None:
        return self.home

    def tables(self, _views: Collection[str], /) -> dict[str, str]:
        return {"": self.home}


class TablePerView:
    """A `Layout` of one table per view, and one more."""

    has_table_per_view = True

    def __init__(self, template: str) -> None:
        self.text, self.home = template, template.replace(_VIEW, SERVICES_TABLE)
        validate_table_name(self.home)
        self._of_view: dict[str, str] = {}

    def table(self, pk: str, sk: str, /) -> str:
        if pk == VIEWS and not sk.endswith(_DEFINITION):
            sk = sk.rpartition("#")[0]
        elif pk.startswith(_LOG):
            sk = pk[len(_LOG) :].rpartition("#")[0]
        elif pk.startswith("#"):
            return self.home
        known = self._of_view.get(sk)
        if known is None:
            known = self._name(sk)
            validate_table_name(known)
            self._of_view[sk] = known
        return known

    def split(self, keys: Sequence[ItemKey]) -> dict[str, Sequence[ItemKey]]:
        found: dict[str, list[ItemKey]] = {}
        for key in keys:
            found.setdefault(self.table(*key), []).append(key)
        return dict(found)

    def partition(self, pk: str, /) -> str | None:
        several = pk == VIEWS or not pk.startswith("#")
        return None if several else self.table(pk, "")

    def tables(self, views: Collection[str], /) -> dict[str, str]:
        found, owners = {SERVICES_TABLE: self.home}, {self.home: "the services"}
        problems = []
        for sk in sorted(views):
            view, name = view_id(sk), self._name(sk)
            if not is_table_name(name):
                fix = "the name has 3 to 255 letters, digits, '_', '-' and '.'; rename the view, or use one table"
                problems.append(Problem(what=f"view {view} can't have a DynamoDB table named '{name}'", fix=fix))
            elif name in owners:
                what = f"view {view} and {owners[name]} would both have the DynamoDB table '{name}'"
                problems.append(Problem(what=what, fix="rename the view, or use one table for all"))
            else:
                owners[name], found[view] = f"view {view}", name
        if problems:
            raise ConfigError(problems)
        return found

    def _name(self, sk: str) -> str:
        return self.text.replace(_VIEW, view_id(sk))


def parse_layout(text: str) -> Layout:
    """Return what the table of an address, or of a store's entry in featurelayer.yml, means.

    Raises:
        ConfigError: it is not a valid table name.
    """
    return TablePerView(text) if _VIEW in text else OneTable(text)
