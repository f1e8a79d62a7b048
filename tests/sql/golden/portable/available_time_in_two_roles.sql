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

WITH "origin_now__timeline" AS (
  SELECT
    "f"."airport" AS "__fl_k0",
    CASE
      WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
      THEN "f"."known_at"
      ELSE "f"."at" AT TIME ZONE 'UTC'
    END AS "__fl_at",
    "f"."at" AT TIME ZONE 'UTC' AS "__fl_event",
    0 AS "__fl_is_label",
    CAST(NULL AS BIGINT) AS "__fl_id"
  FROM "memory"."main"."weather" AS "f"
  WHERE
    "f"."airport" IS NOT NULL
    AND "f"."at" IS NOT NULL
    AND "f"."known_at" IS NOT NULL
    AND EXISTS(
      SELECT
        1
      FROM "__fl_labels" AS "l"
      WHERE
        "l"."origin" = "f"."airport"
    )
  UNION ALL
  SELECT
    "l"."origin" AS "__fl_k0",
    "l"."__fl_time" AS "__fl_at",
    CAST(NULL AS TIMESTAMP) AS "__fl_event",
    1 AS "__fl_is_label",
    "l"."__fl_id"
  FROM "__fl_labels" AS "l"
  WHERE
    "l"."__fl_time" IS NOT NULL AND "l"."origin" IS NOT NULL
), "origin_now__match" AS (
  SELECT
    "__fl_id",
    "__fl_at",
    "__fl_is_label",
    "__fl_k0",
    MAX("__fl_event") OVER (
      PARTITION BY "__fl_k0"
      ORDER BY "__fl_at", "__fl_is_label"
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "__fl_event"
  FROM "origin_now__timeline"
), "origin_now__rows" AS (
  SELECT
    "m"."__fl_id",
    ROW_NUMBER() OVER (
      PARTITION BY "m"."__fl_id"
      ORDER BY "f"."known_at" DESC NULLS LAST, "f"."wind" DESC NULLS LAST, CAST("f"."wind" AS TEXT) DESC NULLS LAST
    ) AS "__fl_rank",
    "m"."__fl_event",
    "f"."wind"
  FROM "origin_now__match" AS "m"
  INNER JOIN "memory"."main"."weather" AS "f"
    ON "m"."__fl_k0" = "f"."airport"
    AND "f"."at" AT TIME ZONE 'UTC' = "m"."__fl_event"
    AND CASE
      WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
      THEN "f"."known_at"
      ELSE "f"."at" AT TIME ZONE 'UTC'
    END <= "m"."__fl_at"
    AND "f"."known_at" IS NOT NULL
  WHERE
    "m"."__fl_is_label" = 1 AND "m"."__fl_event" >= "m"."__fl_at" - INTERVAL '3' HOUR
), "dest_now__timeline" AS (
  SELECT
    "f"."airport" AS "__fl_k0",
    CASE
      WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
      THEN "f"."known_at"
      ELSE "f"."at" AT TIME ZONE 'UTC'
    END AS "__fl_at",
    "f"."at" AT TIME ZONE 'UTC' AS "__fl_event",
    0 AS "__fl_is_label",
    CAST(NULL AS BIGINT) AS "__fl_id"
  FROM "memory"."main"."weather" AS "f"
  WHERE
    "f"."airport" IS NOT NULL
    AND "f"."at" IS NOT NULL
    AND "f"."known_at" IS NOT NULL
    AND EXISTS(
      SELECT
        1
      FROM "__fl_labels" AS "l"
      WHERE
        "l"."dest" = "f"."airport"
    )
  UNION ALL
  SELECT
    "l"."dest" AS "__fl_k0",
    "l"."__fl_time" AS "__fl_at",
    CAST(NULL AS TIMESTAMP) AS "__fl_event",
    1 AS "__fl_is_label",
    "l"."__fl_id"
  FROM "__fl_labels" AS "l"
  WHERE
    "l"."__fl_time" IS NOT NULL AND "l"."dest" IS NOT NULL
), "dest_now__match" AS (
  SELECT
    "__fl_id",
    "__fl_at",
    "__fl_is_label",
    "__fl_k0",
    MAX("__fl_event") OVER (
      PARTITION BY "__fl_k0"
      ORDER BY "__fl_at", "__fl_is_label"
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "__fl_event"
  FROM "dest_now__timeline"
), "dest_now__rows" AS (
  SELECT
    "m"."__fl_id",
    ROW_NUMBER() OVER (
      PARTITION BY "m"."__fl_id"
      ORDER BY "f"."known_at" DESC NULLS LAST, "f"."wind" DESC NULLS LAST, CAST("f"."wind" AS TEXT) DESC NULLS LAST
    ) AS "__fl_rank",
    "m"."__fl_event",
    "f"."wind"
  FROM "dest_now__match" AS "m"
  INNER JOIN "memory"."main"."weather" AS "f"
    ON "m"."__fl_k0" = "f"."airport"
    AND "f"."at" AT TIME ZONE 'UTC' = "m"."__fl_event"
    AND CASE
      WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
      THEN "f"."known_at"
      ELSE "f"."at" AT TIME ZONE 'UTC'
    END <= "m"."__fl_at"
    AND "f"."known_at" IS NOT NULL
  WHERE
    "m"."__fl_is_label" = 1 AND "m"."__fl_event" >= "m"."__fl_at" - INTERVAL '3' HOUR
)
SELECT
  "__fl_labels"."tailnum",
  "__fl_labels"."origin",
  "__fl_labels"."dest",
  "__fl_labels"."hour",
  "__fl_labels"."predicted_at",
  "origin_now"."wind" AS "origin_now__wind",
  "dest_now"."wind" AS "dest_now__wind"
FROM "__fl_labels"
LEFT JOIN "origin_now__rows" AS "origin_now"
  ON "origin_now"."__fl_id" = "__fl_labels"."__fl_id" AND "origin_now"."__fl_rank" = 1
LEFT JOIN "dest_now__rows" AS "dest_now"
  ON "dest_now"."__fl_id" = "__fl_labels"."__fl_id" AND "dest_now"."__fl_rank" = 1
ORDER BY
  "__fl_labels"."__fl_id";
