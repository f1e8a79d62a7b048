-- training set of service, mode known_at
-- Paste it whole: the last statement returns the rows, what the others create is temporary.

-- Times without a zone are UTC (rule 8).
SET session_timezone = 'UTC';

-- A label without a row has NULL, not 0.
SET join_use_nulls = 1;

SET prefer_column_name_to_alias = 1;

-- The spine: every row numbered in its order, its time in UTC (rules 6 and 8).
CREATE TEMPORARY TABLE "__fl_labels" AS
SELECT
  ROW_NUMBER() OVER (ORDER BY
    "tailnum",
    "origin",
    "dest",
    "hour",
    "predicted_at") - 1 AS "__fl_id",
  toDateTime64("predicted_at", 6, 'UTC') AS "__fl_time",
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
WITH "plane_legs__moments" AS (
  SELECT
    "r"."__fl_k0" AS "__fl_k0",
    assumeNotNull("r"."__fl_at") AS "__fl_at",
    "r"."__fl_of_row" AS "__fl_event"
  FROM (
    SELECT
      "f"."tailnum" AS "__fl_k0",
      "f"."landed_at" + INTERVAL '1' MINUTE AS "__fl_at",
      "f"."landed_at" AS "__fl_of_row"
    FROM "memory"."main"."plane_legs" AS "f"
    WHERE
      "f"."tailnum" IS NOT NULL
      AND "f"."landed_at" IS NOT NULL
      AND "f"."tailnum" IN (
        SELECT
          "l"."tailnum" AS "tailnum"
        FROM "__fl_labels" AS "l"
      )
  ) AS "r"
), "plane_legs__match" AS (
  SELECT
    "l"."__fl_id" AS "__fl_id",
    "l"."__fl_at" AS "__fl_at",
    "l"."__fl_k0" AS "__fl_k0",
    "f"."__fl_event" AS "__fl_event"
  FROM (
    SELECT
      "l"."__fl_id" AS "__fl_id",
      "l"."__fl_time" AS "__fl_at",
      "l"."tailnum" AS "__fl_k0"
    FROM "__fl_labels" AS "l"
    WHERE
      "l"."__fl_time" IS NOT NULL AND "l"."tailnum" IS NOT NULL
  ) AS "l"
  ASOF JOIN "plane_legs__moments" AS "f"
    ON "l"."__fl_k0" = "f"."__fl_k0" AND "l"."__fl_at" >= "f"."__fl_at"
  WHERE
    "f"."__fl_event" IS NOT NULL
), "plane_legs__found" AS (
  SELECT
    "m"."__fl_id" AS "__fl_id",
    "m"."__fl_at" AS "__fl_time",
    "m"."__fl_event" AS "__fl_event",
    ROW_NUMBER() OVER (
      PARTITION BY "m"."__fl_id"
      ORDER BY
        "f"."flight_id" DESC NULLS LAST,
        CASE
          WHEN "f"."arr_delay" IS NOT NULL
          THEN CASE WHEN isNaN("f"."arr_delay") THEN 1 ELSE 0 END
        END DESC NULLS LAST,
        "f"."arr_delay" DESC NULLS LAST,
        CAST("f"."arr_delay" AS Nullable(String)) DESC NULLS LAST
    ) AS "__fl_place",
    DENSE_RANK() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."flight_id" DESC NULLS LAST) AS "__fl_level",
    DENSE_RANK() OVER (
      PARTITION BY "m"."__fl_id"
      ORDER BY
        "f"."flight_id" DESC NULLS LAST,
        CASE
          WHEN "f"."arr_delay" IS NOT NULL
          THEN CASE WHEN isNaN("f"."arr_delay") THEN 1 ELSE 0 END
        END DESC NULLS LAST,
        "f"."arr_delay" DESC NULLS LAST,
        CAST("f"."arr_delay" AS Nullable(String)) DESC NULLS LAST
    ) AS "__fl_content",
    "f"."arr_delay" AS "arr_delay"
  FROM "plane_legs__match" AS "m"
  INNER JOIN "memory"."main"."plane_legs" AS "f"
    ON "m"."__fl_k0" = "f"."tailnum" AND "f"."landed_at" = "m"."__fl_event"
)
SELECT
  "r"."__fl_id" AS "__fl_id",
  CASE WHEN "r"."__fl_event" >= "r"."__fl_time" - INTERVAL '1' DAY THEN 1 ELSE 2 END AS "__fl_rank",
  "r"."__fl_time" AS "__fl_time",
  "r"."__fl_event" AS "__fl_event",
  "r"."__fl_tied" AS "__fl_tied",
  "r"."arr_delay" AS "arr_delay"
FROM (
  SELECT
    "r"."__fl_id" AS "__fl_id",
    "r"."__fl_time" AS "__fl_time",
    "r"."__fl_event" AS "__fl_event",
    "r"."__fl_place" AS "__fl_place",
    MAX(CASE WHEN "r"."__fl_level" = 1 AND "r"."__fl_content" > 1 THEN 1 ELSE 0 END) OVER (PARTITION BY "r"."__fl_id") AS "__fl_tied",
    "r"."arr_delay" AS "arr_delay"
  FROM "plane_legs__found" AS "r"
) AS "r"
WHERE
  "r"."__fl_place" = 1;

-- Every label once, in its order, with the features of its rows.
SELECT
  "__fl_labels"."tailnum" AS "tailnum",
  "__fl_labels"."origin" AS "origin",
  "__fl_labels"."dest" AS "dest",
  "__fl_labels"."hour" AS "hour",
  "__fl_labels"."predicted_at" AS "predicted_at",
  CASE
    WHEN "plane_legs"."__fl_id" IS NULL
    THEN CAST('0' AS Nullable(Float64))
    ELSE "plane_legs"."arr_delay"
  END AS "plane_legs__arr_delay"
FROM "__fl_labels"
LEFT JOIN "plane_legs__rows" AS "plane_legs"
  ON "plane_legs"."__fl_id" = "__fl_labels"."__fl_id" AND "plane_legs"."__fl_rank" = 1
ORDER BY
  "__fl_labels"."__fl_id";
