WITH "__fl_labels" AS (
  /* The spine: every row numbered in its order, its time in UTC (rules 6 and 8). */
  SELECT
    ROW_NUMBER() OVER (ORDER BY
      "tailnum",
      "origin",
      "dest",
      "hour",
      "predicted_at") - 1 AS "__fl_id",
    "tailnum",
    "origin",
    "dest",
    "hour",
    "predicted_at"
  FROM "memory"."main"."labels"
), "facts__rows" AS (
  /* facts: static, joined on its keys alone (rule 9). */
  SELECT
    "l"."__fl_id",
    "f"."seats",
    CASE
      WHEN COUNT(*) OVER (PARTITION BY "l"."__fl_id") > 1
      THEN CAST('facts: a static view must have one row per key, and this one has several for tailnum =' || ' ' || CAST("f"."tailnum" AS VARCHAR) AS INTEGER)
      ELSE 1
    END AS "__fl_rank"
  FROM "__fl_labels" AS "l"
  INNER JOIN "memory"."main"."facts" AS "f"
    ON "l"."tailnum" = "f"."tailnum"
)
SELECT
  "__fl_labels"."tailnum",
  "__fl_labels"."origin",
  "__fl_labels"."dest",
  "__fl_labels"."hour",
  "__fl_labels"."predicted_at",
  "facts"."seats" AS "facts__seats"
FROM "__fl_labels"
LEFT JOIN "facts__rows" AS "facts"
  ON "facts"."__fl_id" = "__fl_labels"."__fl_id" AND "facts"."__fl_rank" = 1
