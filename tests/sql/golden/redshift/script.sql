-- training set of service, mode known_at
-- Paste it whole: the last statement returns the rows, what the others create is temporary.

-- Times without a zone are UTC (rule 8).
SET timezone TO 'UTC';

-- The spine: every row numbered in its order, its time in UTC (rules 6 and 8).
CREATE TEMPORARY TABLE "__fl_labels" AS
SELECT
  ROW_NUMBER() OVER (ORDER BY
    "tailnum",
    "origin",
    "dest",
    "hour",
    "predicted_at") - 1 AS "__fl_id",
  "predicted_at" AT TIME ZONE 'UTC' AS "__fl_time",
  "tailnum",
  "origin",
  "dest",
  "hour",
  "predicted_at"
FROM "memory"."main"."labels";

-- plane_legs: the newest event at or before each label (rule 1), and the first of its rows
-- by flight_id, then the content; the greatest comes first, NULL last (rule 3).
-- __fl_rank 2 has expired by the label's time (rule 2).
CREATE TEMPORARY TABLE "plane_legs__rows" AS
WITH "plane_legs__timeline" AS (
  SELECT
    "f"."tailnum" AS "__fl_k0",
    "f"."landed_at" + INTERVAL '1 MINUTE' AS "__fl_at",
    "f"."landed_at" AS "__fl_event",
    0 AS "__fl_is_label",
    CAST(NULL AS BIGINT) AS "__fl_id"
  FROM "memory"."main"."plane_legs" AS "f"
  WHERE
    "f"."tailnum" IS NOT NULL
    AND "f"."landed_at" IS NOT NULL
    AND EXISTS(
      SELECT
        1
      FROM "__fl_labels" AS "l"
      WHERE
        "l"."tailnum" = "f"."tailnum"
    )
  UNION ALL
  SELECT
    "l"."tailnum" AS "__fl_k0",
    "l"."__fl_time" AS "__fl_at",
    CAST(NULL AS TIMESTAMP) AS "__fl_event",
    1 AS "__fl_is_label",
    "l"."__fl_id"
  FROM "__fl_labels" AS "l"
  WHERE
    "l"."__fl_time" IS NOT NULL AND "l"."tailnum" IS NOT NULL
), "plane_legs__match" AS (
  SELECT
    "m"."__fl_id",
    "m"."__fl_at",
    "m"."__fl_k0",
    "m"."__fl_event"
  FROM (
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
    FROM "plane_legs__timeline"
  ) AS "m"
  WHERE
    "m"."__fl_is_label" = 1 AND "m"."__fl_event" IS NOT NULL
), "plane_legs__found" AS (
  SELECT
    "m"."__fl_id",
    "m"."__fl_at" AS "__fl_time",
    "m"."__fl_event",
    ROW_NUMBER() OVER (
      PARTITION BY "m"."__fl_id"
      ORDER BY "f"."flight_id" DESC NULLS LAST, "f"."arr_delay" DESC NULLS LAST, CAST("f"."arr_delay" AS VARCHAR(MAX)) DESC NULLS LAST
    ) AS "__fl_place",
    DENSE_RANK() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."flight_id" DESC NULLS LAST) AS "__fl_level",
    DENSE_RANK() OVER (
      PARTITION BY "m"."__fl_id"
      ORDER BY "f"."flight_id" DESC NULLS LAST, "f"."arr_delay" DESC NULLS LAST, CAST("f"."arr_delay" AS VARCHAR(MAX)) DESC NULLS LAST
    ) AS "__fl_content",
    "f"."arr_delay"
  FROM "plane_legs__match" AS "m"
  INNER JOIN "memory"."main"."plane_legs" AS "f"
    ON "m"."__fl_k0" = "f"."tailnum" AND "f"."landed_at" = "m"."__fl_event"
)
SELECT
  "r"."__fl_id",
  CASE WHEN "r"."__fl_event" >= "r"."__fl_time" - INTERVAL '1 DAY' THEN 1 ELSE 2 END AS "__fl_rank",
  "r"."__fl_time",
  "r"."__fl_event",
  "r"."__fl_tied",
  "r"."arr_delay"
FROM (
  SELECT
    "r"."__fl_id",
    "r"."__fl_time",
    "r"."__fl_event",
    "r"."__fl_place",
    MAX(CASE WHEN "r"."__fl_level" = 1 AND "r"."__fl_content" > 1 THEN 1 ELSE 0 END) OVER (PARTITION BY "r"."__fl_id") AS "__fl_tied",
    "r"."arr_delay"
  FROM "plane_legs__found" AS "r"
) AS "r"
WHERE
  "r"."__fl_place" = 1;

-- Every label once, in its order, with the features of its rows.
SELECT
  "__fl_labels"."tailnum",
  "__fl_labels"."origin",
  "__fl_labels"."dest",
  "__fl_labels"."hour",
  "__fl_labels"."predicted_at",
  CASE
    WHEN "plane_legs"."__fl_id" IS NULL
    THEN CAST('0' AS DOUBLE PRECISION)
    ELSE "plane_legs"."arr_delay"
  END AS "plane_legs__arr_delay"
FROM "__fl_labels"
LEFT JOIN "plane_legs__rows" AS "plane_legs"
  ON "plane_legs"."__fl_id" = "__fl_labels"."__fl_id" AND "plane_legs"."__fl_rank" = 1
ORDER BY
  "__fl_labels"."__fl_id";
