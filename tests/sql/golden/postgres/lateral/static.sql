-- training set of service, mode known_at
-- Paste it whole: the last statement returns the rows, what the others create is temporary.

-- Times without a zone are UTC (rule 8).
SET TimeZone = 'UTC';

-- The spine: every row numbered in its order, its time in UTC (rules 6 and 8).
CREATE TEMPORARY TABLE "__fl_labels" AS
SELECT
  ROW_NUMBER() OVER () - 1 AS "__fl_id",
  "tailnum",
  "origin",
  "dest",
  "hour",
  "predicted_at"
FROM "__fl_source_1";

ANALYZE "__fl_labels";

-- facts: static, joined on its keys alone (rule 9).
CREATE TEMPORARY TABLE "facts__rows" AS
SELECT
  "l"."__fl_id",
  "f"."seats"
FROM "__fl_labels" AS "l"
INNER JOIN "memory"."main"."facts" AS "f"
  ON "l"."tailnum" = "f"."tailnum";

ANALYZE "facts__rows";

-- Every label once, in its order, with the features of its rows.
SELECT
  "__fl_labels"."tailnum",
  "__fl_labels"."origin",
  "__fl_labels"."dest",
  "__fl_labels"."hour",
  "__fl_labels"."predicted_at",
  "facts"."seats" AS "facts__seats"
FROM "__fl_labels"
LEFT JOIN "facts__rows" AS "facts"
  ON "facts"."__fl_id" = "__fl_labels"."__fl_id"
ORDER BY
  "__fl_labels"."__fl_id";
