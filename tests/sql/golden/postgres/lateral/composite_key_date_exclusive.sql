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
FROM "__fl_source_1";

ANALYZE "__fl_labels";

-- hourly: match the newest event time before each label (rule 1).
CREATE TEMPORARY TABLE "hourly__match" AS
SELECT
  "l"."__fl_id",
  "l"."__fl_time",
  "l"."origin" AS "__fl_k0",
  "l"."hour" AS "__fl_k1",
  "f"."__fl_event"
FROM "__fl_labels" AS "l"
CROSS JOIN LATERAL (
  SELECT
    "f"."day" AS "__fl_event"
  FROM "memory"."main"."hourly" AS "f"
  WHERE
    "f"."airport" = "l"."origin"
    AND "f"."hour" = "l"."hour"
    AND "f"."day" <= CAST("l"."__fl_time" - INTERVAL '1 DAY' AS DATE)
  ORDER BY
    "f"."day" DESC
  LIMIT 1
) AS "f"
WHERE
  "l"."__fl_time" IS NOT NULL
  AND "l"."origin" IS NOT NULL
  AND "l"."hour" IS NOT NULL;

ANALYZE "hourly__match";

-- hourly: fetch the rows of that event time.
CREATE TEMPORARY TABLE "hourly__rows" AS
SELECT
  "m"."__fl_id",
  "f"."n"
FROM "hourly__match" AS "m"
INNER JOIN "memory"."main"."hourly" AS "f"
  ON "m"."__fl_k0" = "f"."airport"
  AND "m"."__fl_k1" = "f"."hour"
  AND "m"."__fl_event" = "f"."day";

ANALYZE "hourly__rows";

-- hourly: resolve ties, where there are any (rule 3).
CREATE TEMPORARY TABLE "hourly__tied" AS
SELECT
  "__fl_id"
FROM "hourly__rows"
WHERE
  (
    SELECT
      COUNT(*)
    FROM "hourly__rows"
  ) <> (
    SELECT
      COUNT(*)
    FROM "hourly__match" AS "m"
  )
GROUP BY
  "__fl_id"
HAVING
  COUNT(*) > 1;

ANALYZE "hourly__tied";

-- hourly: rank the tied rows by the content; the greatest comes first, NULL last.
-- __fl_level and __fl_content tell the report which ties the content alone has broken.
CREATE TEMPORARY TABLE "hourly__ranked" AS
SELECT
  "m"."__fl_id",
  ROW_NUMBER() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."n" DESC NULLS LAST) AS "__fl_rank",
  DENSE_RANK() OVER (PARTITION BY "m"."__fl_id" ORDER BY 1) AS "__fl_level",
  DENSE_RANK() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."n" DESC NULLS LAST) AS "__fl_content",
  "f"."n"
FROM "hourly__match" AS "m"
INNER JOIN "hourly__tied" AS "t"
  ON "t"."__fl_id" = "m"."__fl_id"
INNER JOIN "memory"."main"."hourly" AS "f"
  ON "m"."__fl_k0" = "f"."airport"
  AND "m"."__fl_k1" = "f"."hour"
  AND "m"."__fl_event" = "f"."day";

ANALYZE "hourly__ranked";

-- hourly: of the tied rows the first alone stays.
DELETE FROM "hourly__rows"
WHERE
  "__fl_id" IN (
    SELECT
      "__fl_id"
    FROM "hourly__tied"
  );

INSERT INTO "hourly__rows" (
  "__fl_id",
  "n"
)
SELECT
  "__fl_id",
  "n"
FROM "hourly__ranked"
WHERE
  "__fl_rank" = 1;

-- Every label once, in its order, with the features of its rows.
SELECT
  "__fl_labels"."tailnum",
  "__fl_labels"."origin",
  "__fl_labels"."dest",
  "__fl_labels"."hour",
  "__fl_labels"."predicted_at",
  "hourly"."n" AS "hourly__n"
FROM "__fl_labels"
LEFT JOIN "hourly__rows" AS "hourly"
  ON "hourly"."__fl_id" = "__fl_labels"."__fl_id"
ORDER BY
  "__fl_labels"."__fl_id";
