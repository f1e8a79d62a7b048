"""The query that decides whether PostgreSQL looks a view's rows up label by label: by an index, for few labels."""

from __future__ import annotations

from typing import cast

from sqlglot import exp

from featurelayer.sql.ast import table
from featurelayer.sql.join_rules import LABELS
from featurelayer.sql.plan import AsofJoin

LABELS_PER_ROW = "0.3"
"""Up to so many labels per row of the view a look by index costs less than sorting both (benchmarks/postgres.py)."""

# An index can be read backwards to the newest event if the keys come first, in any order, and then the event time.
_QUESTION = """
SELECT EXISTS (
  SELECT 1
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
  CROSS JOIN LATERAL UNNEST(i.indkey) WITH ORDINALITY AS k(number, place)
  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
  WHERE i.indrelid = TO_REGCLASS(:relation) AND m.amname = 'btree' AND i.indisvalid AND i.indpred IS NULL
  GROUP BY i.indexrelid
  HAVING SUM(CASE WHEN k.place <= :keys AND CAST(a.attname AS TEXT) = ANY(:names) THEN 1 ELSE 0 END) = :keys
    AND SUM(CASE WHEN k.place = :keys + 1 AND CAST(a.attname AS TEXT) = :event THEN 1 ELSE 0 END) = 1
)
AND (SELECT COUNT(*) FROM :labels) <= :share * (
  SELECT CASE WHEN r.reltuples > 0 THEN r.reltuples ELSE PG_RELATION_SIZE(r.oid) / 100.0 END
  FROM pg_catalog.pg_class AS r
  WHERE r.oid = TO_REGCLASS(:relation)
)
"""


def probe(relation: str, join: AsofJoin) -> exp.Expression:
    """Return the probe, a query of one boolean; `relation` is the view's in SQL, and the spine must exist.

    A relation that was never analysed is assumed to have one row per 100 bytes.
    """
    assert join.event is not None, "a static view has no moments"
    question = cast("exp.Expression", exp.maybe_parse(_QUESTION, dialect="postgres"))
    return cast("exp.Expression", exp.replace_placeholders(
        question,
        relation=exp.Literal.string(relation),
        keys=exp.Literal.number(len(join.keys)),
        names=exp.Array(expressions=[exp.Literal.string(key.name) for key, _ in join.keys]),
        event=exp.Literal.string(join.event.name),
        labels=table(LABELS),
        share=exp.Literal.number(LABELS_PER_ROW),
    ))  # fmt: skip
