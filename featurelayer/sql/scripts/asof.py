"""The materialized script with an engine's own as-of join in the place of the running maximum.

An as-of join takes any of several rows of one time, so it may never see a feature: it joins keys and times alone, where
rows of one time are alike, and the features are those of the rows that have the event it found.
"""

from __future__ import annotations

from sqlglot import exp

from featurelayer.sql.ast import all_of, col, key_alias, not_null, table, with_alias
from featurelayer.sql.plan import EVENT, ID, RESERVED, AsofJoin
from featurelayer.sql.scripts.materialized import AT, MaterializedScript

_ROW_EVENT = f"{RESERVED}of_row"


class AsofScript(MaterializedScript):
    """For a dialect that has `join_asof`."""

    def match(self, join: AsofJoin) -> list[tuple[str, exp.Query]]:
        rules = self.rules
        keys = [key_alias(position) for position in range(len(join.keys))]
        labels = (
            exp.select(col(ID, "l"), with_alias(rules.visible_until(join, "l"), AT), *rules.label_keys(join, "l"))
            .from_(rules.labels_of(join, "l"))
            .where(rules.is_label_known(join, "l"))
        )
        moments = f"{join.name}__moments"
        on: list[exp.Expression] = [exp.EQ(this=col(key, "l"), expression=col(key, "f")) for key in keys]
        at = exp.GTE(this=col(AT, "l"), expression=col(AT, "f"))
        select = exp.select(col(ID, "l"), col(AT, "l"), *(col(key, "l") for key in keys), col(EVENT, "f"))
        select = select.from_(labels.subquery("l"))
        select.append("joins", self.dialect.join_asof(table(moments, "f"), on, at))
        # Some engines keep labels without a match.
        return [(moments, self._moments(join)), (self.match_name(join), select.where(not_null(col(EVENT, "f"))))]

    def _moments(self, join: AsofJoin) -> exp.Select:
        """Return the view's keys, the time a row is first visible, and the newest event visible by then."""
        rules = self.rules
        times = [with_alias(rules.effective_time(join, "f"), AT), with_alias(rules.event_time(join, "f"), _ROW_EVENT)]
        rows = exp.select(*rules.view_keys(join, "f"), *times).from_(rules.relation(join, "f"))
        rows = rows.where(all_of(rules.is_usable(join, "f"), rules.has_label(join, "f")))
        keys = [col(key_alias(position), "r") for position in range(len(join.keys))]
        event: exp.Expression = col(_ROW_EVENT, "r")
        if join.available is not None:
            # Rows of one moment share the maximum, so the match may pick any of them.
            order = exp.Order(expressions=[exp.Ordered(this=col(AT, "r"))])
            event = exp.Window(this=exp.Max(this=event), partition_by=[key.copy() for key in keys], order=order)
        at = with_alias(self.dialect.as_non_null(col(AT, "r")), AT)
        return exp.select(*keys, at, with_alias(event, EVENT)).from_(rows.subquery("r"))
