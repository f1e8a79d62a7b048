-- training set of service, mode known_at
-- Paste it whole: the last statement returns the rows, what the others create is temporary.

-- Times without a zone are UTC (rule 8).
SET TimeZone = 'UTC';

-- The spine: every row numbered in its order, its time in UTC (rules 6 and 8).
CREATE TEMPORARY TABLE "__fl_labels" AS
SELECT
  ROW_NUMBER() OVER () - 1 AS "__fl_id",
  "predicted_at" AT TIME ZONE 'UTC' AS "__fl_time",
  "tailnum",
  "origin",
  "dest",
  "hour",
  "predicted_at"
FROM "memory"."main"."labels";

ANALYZE "__fl_labels";

-- plane_legs: match the newest event time at or before each label (rule 1).
CREATE TEMPORARY TABLE "plane_legs__match" AS
SELECT
  "m"."__fl_id",
  "m"."__fl_time",
  "m"."__fl_k0",
  "m"."__fl_event"
FROM (
  SELECT
    "t"."__fl_id",
    "t"."__fl_time",
    "t"."__fl_k0",
    "t"."__fl_is_label",
    MAX("t"."__fl_event") OVER (
      PARTITION BY "t"."__fl_k0"
      ORDER BY "t"."__fl_at", "t"."__fl_is_label"
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "__fl_event"
  FROM (
    SELECT
      CAST(NULL AS BIGINT) AS "__fl_id",
      CAST(NULL AS TIMESTAMP) AS "__fl_time",
      "f"."tailnum" AS "__fl_k0",
      "f"."landed_at" AS "__fl_at",
      0 AS "__fl_is_label",
      "f"."landed_at" AS "__fl_event"
    FROM "memory"."main"."plane_legs" AS "f"
    WHERE
      "f"."tailnum" IS NOT NULL
      AND "f"."landed_at" IS NOT NULL
      AND "f"."landed_at" <= (
        SELECT
          MAX("__fl_time")
        FROM "__fl_labels"
      )
      AND "f"."landed_at" >= (
        SELECT
          MIN("__fl_time")
        FROM "__fl_labels"
      ) - INTERVAL '1 DAY'
      AND EXISTS(
        SELECT
          1
        FROM "__fl_labels" AS "k"
        WHERE
          "k"."tailnum" = "f"."tailnum"
      )
    UNION ALL
    SELECT
      "l"."__fl_id",
      "l"."__fl_time",
      "l"."tailnum" AS "__fl_k0",
      "l"."__fl_time" - INTERVAL '1 MINUTE' AS "__fl_at",
      1 AS "__fl_is_label",
      CAST(NULL AS TIMESTAMP) AS "__fl_event"
    FROM "__fl_labels" AS "l"
    WHERE
      "l"."__fl_time" IS NOT NULL AND "l"."tailnum" IS NOT NULL
  ) AS "t"
) AS "m"
WHERE
  "m"."__fl_is_label" = 1 AND "m"."__fl_event" IS NOT NULL;

ANALYZE "plane_legs__match";

-- plane_legs: fetch the rows of that event time, unless expired (rule 2).
CREATE TEMPORARY TABLE "plane_legs__rows" AS
SELECT
  "m"."__fl_id",
  "f"."arr_delay"
FROM "plane_legs__match" AS "m"
INNER JOIN "memory"."main"."plane_legs" AS "f"
  ON "m"."__fl_k0" = "f"."tailnum" AND "m"."__fl_event" = "f"."landed_at"
WHERE
  "m"."__fl_event" >= "m"."__fl_time" - INTERVAL '1 DAY';

ANALYZE "plane_legs__rows";

-- plane_legs: resolve ties, where there are any (rule 3).
CREATE TEMPORARY TABLE "plane_legs__tied" AS
SELECT
  "__fl_id"
FROM "plane_legs__rows"
WHERE
  (
    SELECT
      COUNT(*)
    FROM "plane_legs__rows"
  ) <> (
    SELECT
      COUNT(*)
    FROM "plane_legs__match" AS "m"
    WHERE
      "m"."__fl_event" >= "m"."__fl_time" - INTERVAL '1 DAY'
  )
GROUP BY
  "__fl_id"
HAVING
  COUNT(*) > 1;

ANALYZE "plane_legs__tied";

-- plane_legs: rank the tied rows by flight_id, then the content; the greatest comes first, NULL last.
-- __fl_level and __fl_content tell the report which ties the content alone has broken.
CREATE TEMPORARY TABLE "plane_legs__ranked" AS
SELECT
  "m"."__fl_id",
  ROW_NUMBER() OVER (
    PARTITION BY "m"."__fl_id"
    ORDER BY "f"."flight_id" DESC NULLS LAST, "f"."arr_delay" DESC NULLS LAST, CAST("f"."arr_delay" AS TEXT) COLLATE "C" DESC NULLS LAST
  ) AS "__fl_rank",
  DENSE_RANK() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."flight_id" DESC NULLS LAST) AS "__fl_level",
  DENSE_RANK() OVER (
    PARTITION BY "m"."__fl_id"
    ORDER BY "f"."flight_id" DESC NULLS LAST, "f"."arr_delay" DESC NULLS LAST, CAST("f"."arr_delay" AS TEXT) COLLATE "C" DESC NULLS LAST
  ) AS "__fl_content",
  "f"."arr_delay"
FROM "plane_legs__match" AS "m"
INNER JOIN "plane_legs__tied" AS "t"
  ON "t"."__fl_id" = "m"."__fl_id"
INNER JOIN "memory"."main"."plane_legs" AS "f"
  ON "m"."__fl_k0" = "f"."tailnum" AND "m"."__fl_event" = "f"."landed_at"
WHERE
  "m"."__fl_event" >= "m"."__fl_time" - INTERVAL '1 DAY';

ANALYZE "plane_legs__ranked";

-- plane_legs: of the tied rows the first alone stays.
DELETE FROM "plane_legs__rows"
WHERE
  "__fl_id" IN (
    SELECT
      "__fl_id"
    FROM "plane_legs__tied"
  );

INSERT INTO "plane_legs__rows" (
  "__fl_id",
  "arr_delay"
)
SELECT
  "__fl_id",
  "arr_delay"
FROM "plane_legs__ranked"
WHERE
  "__fl_rank" = 1;

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
  ON "plane_legs"."__fl_id" = "__fl_labels"."__fl_id"
ORDER BY
  "__fl_labels"."__fl_id";
