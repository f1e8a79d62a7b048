-- training set of service, mode known_at
-- Paste it whole: the last statement returns the rows, what the others create is temporary.

-- Times without a zone are UTC (rule 8).
SET TimeZone = 'UTC';

-- The spine: every row numbered in its order, its time in UTC (rules 6 and 8).
CREATE OR REPLACE TEMPORARY TABLE "__fl_labels" AS
SELECT
  ROW_NUMBER() OVER () - 1 AS "__fl_id",
  "predicted_at" AT TIME ZONE 'UTC' AS "__fl_time",
  "tailnum",
  "origin",
  "dest",
  "hour",
  "predicted_at"
FROM READ_PARQUET('labels.parquet');

WITH "hourly__timeline" AS (
  SELECT
    "f"."airport" AS "__fl_k0",
    "f"."hour" AS "__fl_k1",
    CAST("f"."day" AS TIMESTAMP) + INTERVAL '1' DAY AS "__fl_at",
    CAST("f"."day" AS TIMESTAMP) AS "__fl_event",
    0 AS "__fl_is_label",
    CAST(NULL AS BIGINT) AS "__fl_id"
  FROM "memory"."main"."hourly" AS "f"
  WHERE
    "f"."airport" IS NOT NULL
    AND "f"."hour" IS NOT NULL
    AND "f"."day" IS NOT NULL
    AND EXISTS(
      SELECT
        1
      FROM "__fl_labels" AS "l"
      WHERE
        "l"."origin" = "f"."airport" AND "l"."hour" = "f"."hour"
    )
  UNION ALL
  SELECT
    "l"."origin" AS "__fl_k0",
    "l"."hour" AS "__fl_k1",
    "l"."__fl_time" AS "__fl_at",
    CAST(NULL AS TIMESTAMP) AS "__fl_event",
    1 AS "__fl_is_label",
    "l"."__fl_id"
  FROM "__fl_labels" AS "l"
  WHERE
    "l"."__fl_time" IS NOT NULL
    AND "l"."origin" IS NOT NULL
    AND "l"."hour" IS NOT NULL
), "hourly__match" AS (
  SELECT
    "__fl_id",
    "__fl_at",
    "__fl_is_label",
    "__fl_k0",
    "__fl_k1",
    MAX("__fl_event") OVER (
      PARTITION BY "__fl_k0", "__fl_k1"
      ORDER BY "__fl_at", "__fl_is_label"
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "__fl_event"
  FROM "hourly__timeline"
), "hourly__rows" AS (
  SELECT
    "m"."__fl_id",
    ROW_NUMBER() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."n" DESC NULLS LAST) AS "__fl_rank",
    "m"."__fl_event",
    "f"."n"
  FROM "hourly__match" AS "m"
  INNER JOIN "memory"."main"."hourly" AS "f"
    ON "m"."__fl_k0" = "f"."airport"
    AND "m"."__fl_k1" = "f"."hour"
    AND CAST("f"."day" AS TIMESTAMP) = "m"."__fl_event"
  WHERE
    "m"."__fl_is_label" = 1
)
SELECT
  "__fl_labels"."tailnum",
  "__fl_labels"."origin",
  "__fl_labels"."dest",
  "__fl_labels"."hour",
  "__fl_labels"."predicted_at",
  "hourly"."n" AS "hourly__n"
FROM "__fl_labels"
LEFT JOIN "hourly__rows" AS "hourly"
  ON "hourly"."__fl_id" = "__fl_labels"."__fl_id" AND "hourly"."__fl_rank" = 1
ORDER BY
  "__fl_labels"."__fl_id";
