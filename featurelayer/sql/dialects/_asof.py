"""The portable script with an engine's own as-of join in the place of the running maximum.

An as-of join takes any of several rows of one time, so it may never see a feature: it joins keys and times alone, where
rows of one time are alike, and the features are those of the rows that have the event it found.
"""

from __future__ import annotations

from abc import abstractmethod

from sqlglot import exp

from featurelayer.sql.ast import all_of, col, key_alias, not_null, table, with_alias
from featurelayer.sql.dialects._stepwise import Stepwise
from featurelayer.sql.dialects.base import AT
from featurelayer.sql.plan import EVENT, ID, RESERVED, AsofJoin

_OF_ROW = f"{RESERVED}of_row"


class Asof(Stepwise):
    """Subclasses say how the join is written."""

    @abstractmethod
    def join_asof(self, moments: exp.Expression, on: list[exp.Expression], at: exp.Expression) -> exp.Join:
        """The as-of join of the labels `l` with their moments `f`: `on` the keys, by the one inequality `at`."""

    def sure(self, at: exp.Expression) -> exp.Expression:
        """A time that is never NULL, where an engine has to be told."""
        return at

    def match(self, join: AsofJoin) -> list[tuple[str, exp.Query]]:
        keys = [key_alias(position) for position in range(len(join.keys))]
        labels = (
            exp.select(col(ID, "l"), with_alias(self.seen(join, "l"), AT), *self.label_keys(join, "l"))
            .from_(self.labels_of(join, "l"))
            .where(self.is_label_known(join, "l"))
        )
        moments = f"{join.name}__moments"
        on: list[exp.Expression] = [exp.EQ(this=col(key, "l"), expression=col(key, "f")) for key in keys]
        at = exp.GTE(this=col(AT, "l"), expression=col(AT, "f"))
        select = exp.select(col(ID, "l"), col(AT, "l"), *(col(key, "l") for key in keys), col(EVENT, "f"))
        select = select.from_(labels.subquery("l"))
        select.append("joins", self.join_asof(table(moments, "f"), on, at))
        # Some engines keep labels that find nothing.
        return [(moments, self.moments(join)), (self.match_name(join), select.where(not_null(col(EVENT, "f"))))]

    def moments(self, join: AsofJoin) -> exp.Select:
        """The view's keys, when a row is first seen, and the newest event that is seen by then."""
        times = [with_alias(self.effective(join, "f"), AT), with_alias(self.event(join, "f"), _OF_ROW)]
        rows = exp.select(*self.view_keys(join, "f"), *times).from_(self.relation(join, "f"))
        rows = rows.where(all_of(self.usable(join, "f"), self.has_label_key(join)))
        keys = [col(key_alias(position), "r") for position in range(len(join.keys))]
        event: exp.Expression = col(_OF_ROW, "r")
        if join.available is not None:
            # Peers of one moment share the maximum, so it does not matter which of them the match meets.
            order = exp.Order(expressions=[exp.Ordered(this=col(AT, "r"))])
            event = exp.Window(this=exp.Max(this=event), partition_by=[key.copy() for key in keys], order=order)
        at = with_alias(self.sure(col(AT, "r")), AT)
        return exp.select(*keys, at, with_alias(event, EVENT)).from_(rows.subquery("r"))
