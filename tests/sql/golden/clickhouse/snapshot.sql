-- snapshot of weather at 2013-12-01T12:00:00+00:00
-- Paste it whole: the last statement returns the rows, what the others create is temporary.

-- Times without a zone are UTC (rule 8).
SET session_timezone = 'UTC';

-- A label without a row has NULL, not 0.
SET join_use_nulls = 1;

SET prefer_column_name_to_alias = 1;

-- The spine: every row numbered in its order, its time in UTC (rules 6 and 8).
CREATE TEMPORARY TABLE "__fl_labels" AS
SELECT
  ROW_NUMBER() OVER (ORDER BY "__fl_k0") - 1 AS "__fl_id",
  CAST('2013-12-01 12:00:00.000000' AS Nullable(DateTime64(6, 'UTC'))) AS "__fl_time",
  "__fl_k0"
FROM (
  SELECT DISTINCT
    "f"."airport" AS "__fl_k0"
  FROM "memory"."main"."weather" AS "f"
  WHERE
    "f"."airport" IS NOT NULL
) AS "entities";

-- weather: the newest event at or before each label among the rows available by then (rule 1), and the first of its rows
-- by known_at, then the content; the greatest comes first, NULL last (rule 3).
CREATE TEMPORARY TABLE "weather__rows" AS
WITH "weather__moments" AS (
  SELECT
    "r"."__fl_k0" AS "__fl_k0",
    assumeNotNull("r"."__fl_at") AS "__fl_at",
    MAX("r"."__fl_of_row") OVER (PARTITION BY "r"."__fl_k0" ORDER BY "r"."__fl_at") AS "__fl_event"
  FROM (
    SELECT
      "f"."airport" AS "__fl_k0",
      CASE
        WHEN "f"."known_at" > toDateTime64("f"."at", 6, 'UTC')
        THEN "f"."known_at"
        ELSE toDateTime64("f"."at", 6, 'UTC')
      END AS "__fl_at",
      toDateTime64("f"."at", 6, 'UTC') AS "__fl_of_row"
    FROM "memory"."main"."weather" AS "f"
    WHERE
      "f"."airport" IS NOT NULL
      AND "f"."at" IS NOT NULL
      AND "f"."known_at" IS NOT NULL
      AND "f"."airport" IN (
        SELECT
          "l"."__fl_k0" AS "__fl_k0"
        FROM "__fl_labels" AS "l"
      )
  ) AS "r"
), "weather__match" AS (
  SELECT
    "l"."__fl_id" AS "__fl_id",
    "l"."__fl_at" AS "__fl_at",
    "l"."__fl_k0" AS "__fl_k0",
    "f"."__fl_event" AS "__fl_event"
  FROM (
    SELECT
      "l"."__fl_id" AS "__fl_id",
      "l"."__fl_time" AS "__fl_at",
      "l"."__fl_k0" AS "__fl_k0"
    FROM "__fl_labels" AS "l"
    WHERE
      "l"."__fl_time" IS NOT NULL AND "l"."__fl_k0" IS NOT NULL
  ) AS "l"
  ASOF JOIN "weather__moments" AS "f"
    ON "l"."__fl_k0" = "f"."__fl_k0" AND "l"."__fl_at" >= "f"."__fl_at"
  WHERE
    "f"."__fl_event" IS NOT NULL
), "weather__found" AS (
  SELECT
    "m"."__fl_id" AS "__fl_id",
    "m"."__fl_at" AS "__fl_time",
    "m"."__fl_event" AS "__fl_event",
    ROW_NUMBER() OVER (
      PARTITION BY "m"."__fl_id"
      ORDER BY
        "f"."known_at" DESC NULLS LAST,
        CASE
          WHEN "f"."wind" IS NOT NULL
          THEN CASE WHEN isNaN("f"."wind") THEN 1 ELSE 0 END
        END DESC NULLS LAST,
        "f"."wind" DESC NULLS LAST,
        CAST("f"."wind" AS Nullable(String)) DESC NULLS LAST
    ) AS "__fl_place",
    DENSE_RANK() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."known_at" DESC NULLS LAST) AS "__fl_level",
    DENSE_RANK() OVER (
      PARTITION BY "m"."__fl_id"
      ORDER BY
        "f"."known_at" DESC NULLS LAST,
        CASE
          WHEN "f"."wind" IS NOT NULL
          THEN CASE WHEN isNaN("f"."wind") THEN 1 ELSE 0 END
        END DESC NULLS LAST,
        "f"."wind" DESC NULLS LAST,
        CAST("f"."wind" AS Nullable(String)) DESC NULLS LAST
    ) AS "__fl_content",
    "f"."wind" AS "wind"
  FROM "weather__match" AS "m"
  INNER JOIN "memory"."main"."weather" AS "f"
    ON "m"."__fl_k0" = "f"."airport"
    AND toDateTime64("f"."at", 6, 'UTC') = "m"."__fl_event"
    AND CASE
      WHEN "f"."known_at" > toDateTime64("f"."at", 6, 'UTC')
      THEN "f"."known_at"
      ELSE toDateTime64("f"."at", 6, 'UTC')
    END <= "m"."__fl_at"
    AND "f"."known_at" IS NOT NULL
)
SELECT
  "r"."__fl_id" AS "__fl_id",
  1 AS "__fl_rank",
  "r"."__fl_time" AS "__fl_time",
  "r"."__fl_event" AS "__fl_event",
  "r"."__fl_tied" AS "__fl_tied",
  "r"."wind" AS "wind"
FROM (
  SELECT
    "r"."__fl_id" AS "__fl_id",
    "r"."__fl_time" AS "__fl_time",
    "r"."__fl_event" AS "__fl_event",
    "r"."__fl_place" AS "__fl_place",
    MAX(CASE WHEN "r"."__fl_level" = 1 AND "r"."__fl_content" > 1 THEN 1 ELSE 0 END) OVER (PARTITION BY "r"."__fl_id") AS "__fl_tied",
    "r"."wind" AS "wind"
  FROM "weather__found" AS "r"
) AS "r"
WHERE
  "r"."__fl_place" = 1;

-- Every label once, in its order, with the features of its rows.
SELECT
  "__fl_labels"."__fl_k0" AS "airport",
  toUnixTimestamp64Micro("weather"."__fl_event") AS "__fl_event_time",
  CAST(NULL AS Nullable(Int64)) AS "__fl_valid_to",
  "weather"."wind" AS "wind"
FROM "__fl_labels"
INNER JOIN "weather__rows" AS "weather"
  ON "weather"."__fl_id" = "__fl_labels"."__fl_id" AND "weather"."__fl_rank" = 1
ORDER BY
  "__fl_labels"."__fl_id";
