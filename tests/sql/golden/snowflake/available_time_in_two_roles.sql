-- training set of service, mode known_at
-- Paste it whole: the last statement returns the rows, what the others create is temporary.

-- Times without a zone are UTC (rule 8).
ALTER SESSION SET TIMEZONE = 'UTC';

-- The spine: every row numbered in its order, its time in UTC (rules 6 and 8).
CREATE TEMPORARY TABLE "__fl_labels" AS
SELECT
  ROW_NUMBER() OVER (ORDER BY
    "tailnum",
    "origin",
    "dest",
    "hour",
    "predicted_at") - 1 AS "__fl_id",
  CAST(CONVERT_TIMEZONE('UTC', "predicted_at") AS TIMESTAMP_NTZ(6)) AS "__fl_time",
  "tailnum",
  "origin",
  "dest",
  "hour",
  "predicted_at"
FROM "memory"."main"."labels";

-- origin_now: the newest event at or before each label among the rows available by then (rule 1), and the first of its rows
-- by known_at, then the content; the greatest comes first, NULL last (rule 3).
-- __fl_rank 2 has expired by the label's time (rule 2).
CREATE TEMPORARY TABLE "origin_now__rows" AS
WITH "origin_now__moments" AS (
  SELECT
    "r"."__fl_k0",
    "r"."__fl_at",
    MAX("r"."__fl_of_row") OVER (PARTITION BY "r"."__fl_k0" ORDER BY "r"."__fl_at") AS "__fl_event"
  FROM (
    SELECT
      "f"."airport" AS "__fl_k0",
      CASE
        WHEN "f"."known_at" > CAST(CONVERT_TIMEZONE('UTC', "f"."at") AS TIMESTAMP_NTZ(6))
        THEN "f"."known_at"
        ELSE CAST(CONVERT_TIMEZONE('UTC', "f"."at") AS TIMESTAMP_NTZ(6))
      END AS "__fl_at",
      CAST(CONVERT_TIMEZONE('UTC', "f"."at") AS TIMESTAMP_NTZ(6)) AS "__fl_of_row"
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
  ) AS "r"
), "origin_now__match" AS (
  SELECT
    "l"."__fl_id",
    "l"."__fl_at",
    "l"."__fl_k0",
    "f"."__fl_event"
  FROM (
    SELECT
      "l"."__fl_id",
      "l"."__fl_time" AS "__fl_at",
      "l"."origin" AS "__fl_k0"
    FROM "__fl_labels" AS "l"
    WHERE
      "l"."__fl_time" IS NOT NULL AND "l"."origin" IS NOT NULL
  ) AS "l"
  ASOF JOIN "origin_now__moments" AS "f" MATCH_CONDITION ("l"."__fl_at" >= "f"."__fl_at")
    ON "l"."__fl_k0" = "f"."__fl_k0"
  WHERE
    "f"."__fl_event" IS NOT NULL
), "origin_now__found" AS (
  SELECT
    "m"."__fl_id",
    "m"."__fl_at" AS "__fl_time",
    "m"."__fl_event",
    ROW_NUMBER() OVER (
      PARTITION BY "m"."__fl_id"
      ORDER BY "f"."known_at" DESC NULLS LAST, "f"."wind" DESC NULLS LAST, CAST("f"."wind" AS VARCHAR) DESC NULLS LAST
    ) AS "__fl_place",
    DENSE_RANK() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."known_at" DESC NULLS LAST) AS "__fl_level",
    DENSE_RANK() OVER (
      PARTITION BY "m"."__fl_id"
      ORDER BY "f"."known_at" DESC NULLS LAST, "f"."wind" DESC NULLS LAST, CAST("f"."wind" AS VARCHAR) DESC NULLS LAST
    ) AS "__fl_content",
    "f"."wind"
  FROM "origin_now__match" AS "m"
  INNER JOIN "memory"."main"."weather" AS "f"
    ON "m"."__fl_k0" = "f"."airport"
    AND CAST(CONVERT_TIMEZONE('UTC', "f"."at") AS TIMESTAMP_NTZ(6)) = "m"."__fl_event"
    AND CASE
      WHEN "f"."known_at" > CAST(CONVERT_TIMEZONE('UTC', "f"."at") AS TIMESTAMP_NTZ(6))
      THEN "f"."known_at"
      ELSE CAST(CONVERT_TIMEZONE('UTC', "f"."at") AS TIMESTAMP_NTZ(6))
    END <= "m"."__fl_at"
    AND "f"."known_at" IS NOT NULL
)
SELECT
  "r"."__fl_id",
  CASE WHEN "r"."__fl_event" >= "r"."__fl_time" - INTERVAL '3 HOUR' THEN 1 ELSE 2 END AS "__fl_rank",
  "r"."__fl_time",
  "r"."__fl_event",
  "r"."__fl_tied",
  "r"."wind"
FROM (
  SELECT
    "r"."__fl_id",
    "r"."__fl_time",
    "r"."__fl_event",
    "r"."__fl_place",
    MAX(CASE WHEN "r"."__fl_level" = 1 AND "r"."__fl_content" > 1 THEN 1 ELSE 0 END) OVER (PARTITION BY "r"."__fl_id") AS "__fl_tied",
    "r"."wind"
  FROM "origin_now__found" AS "r"
) AS "r"
WHERE
  "r"."__fl_place" = 1;

-- dest_now: the newest event at or before each label among the rows available by then (rule 1), and the first of its rows
-- by known_at, then the content; the greatest comes first, NULL last (rule 3).
-- __fl_rank 2 has expired by the label's time (rule 2).
CREATE TEMPORARY TABLE "dest_now__rows" AS
WITH "dest_now__moments" AS (
  SELECT
    "r"."__fl_k0",
    "r"."__fl_at",
    MAX("r"."__fl_of_row") OVER (PARTITION BY "r"."__fl_k0" ORDER BY "r"."__fl_at") AS "__fl_event"
  FROM (
    SELECT
      "f"."airport" AS "__fl_k0",
      CASE
        WHEN "f"."known_at" > CAST(CONVERT_TIMEZONE('UTC', "f"."at") AS TIMESTAMP_NTZ(6))
        THEN "f"."known_at"
        ELSE CAST(CONVERT_TIMEZONE('UTC', "f"."at") AS TIMESTAMP_NTZ(6))
      END AS "__fl_at",
      CAST(CONVERT_TIMEZONE('UTC', "f"."at") AS TIMESTAMP_NTZ(6)) AS "__fl_of_row"
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
  ) AS "r"
), "dest_now__match" AS (
  SELECT
    "l"."__fl_id",
    "l"."__fl_at",
    "l"."__fl_k0",
    "f"."__fl_event"
  FROM (
    SELECT
      "l"."__fl_id",
      "l"."__fl_time" AS "__fl_at",
      "l"."dest" AS "__fl_k0"
    FROM "__fl_labels" AS "l"
    WHERE
      "l"."__fl_time" IS NOT NULL AND "l"."dest" IS NOT NULL
  ) AS "l"
  ASOF JOIN "dest_now__moments" AS "f" MATCH_CONDITION ("l"."__fl_at" >= "f"."__fl_at")
    ON "l"."__fl_k0" = "f"."__fl_k0"
  WHERE
    "f"."__fl_event" IS NOT NULL
), "dest_now__found" AS (
  SELECT
    "m"."__fl_id",
    "m"."__fl_at" AS "__fl_time",
    "m"."__fl_event",
    ROW_NUMBER() OVER (
      PARTITION BY "m"."__fl_id"
      ORDER BY "f"."known_at" DESC NULLS LAST, "f"."wind" DESC NULLS LAST, CAST("f"."wind" AS VARCHAR) DESC NULLS LAST
    ) AS "__fl_place",
    DENSE_RANK() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."known_at" DESC NULLS LAST) AS "__fl_level",
    DENSE_RANK() OVER (
      PARTITION BY "m"."__fl_id"
      ORDER BY "f"."known_at" DESC NULLS LAST, "f"."wind" DESC NULLS LAST, CAST("f"."wind" AS VARCHAR) DESC NULLS LAST
    ) AS "__fl_content",
    "f"."wind"
  FROM "dest_now__match" AS "m"
  INNER JOIN "memory"."main"."weather" AS "f"
    ON "m"."__fl_k0" = "f"."airport"
    AND CAST(CONVERT_TIMEZONE('UTC', "f"."at") AS TIMESTAMP_NTZ(6)) = "m"."__fl_event"
    AND CASE
      WHEN "f"."known_at" > CAST(CONVERT_TIMEZONE('UTC', "f"."at") AS TIMESTAMP_NTZ(6))
      THEN "f"."known_at"
      ELSE CAST(CONVERT_TIMEZONE('UTC', "f"."at") AS TIMESTAMP_NTZ(6))
    END <= "m"."__fl_at"
    AND "f"."known_at" IS NOT NULL
)
SELECT
  "r"."__fl_id",
  CASE WHEN "r"."__fl_event" >= "r"."__fl_time" - INTERVAL '3 HOUR' THEN 1 ELSE 2 END AS "__fl_rank",
  "r"."__fl_time",
  "r"."__fl_event",
  "r"."__fl_tied",
  "r"."wind"
FROM (
  SELECT
    "r"."__fl_id",
    "r"."__fl_time",
    "r"."__fl_event",
    "r"."__fl_place",
    MAX(CASE WHEN "r"."__fl_level" = 1 AND "r"."__fl_content" > 1 THEN 1 ELSE 0 END) OVER (PARTITION BY "r"."__fl_id") AS "__fl_tied",
    "r"."wind"
  FROM "dest_now__found" AS "r"
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
  "origin_now"."wind" AS "origin_now__wind",
  "dest_now"."wind" AS "dest_now__wind"
FROM "__fl_labels"
LEFT JOIN "origin_now__rows" AS "origin_now"
  ON "origin_now"."__fl_id" = "__fl_labels"."__fl_id" AND "origin_now"."__fl_rank" = 1
LEFT JOIN "dest_now__rows" AS "dest_now"
  ON "dest_now"."__fl_id" = "__fl_labels"."__fl_id" AND "dest_now"."__fl_rank" = 1
ORDER BY
  "__fl_labels"."__fl_id";
