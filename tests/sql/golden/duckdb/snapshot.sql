-- snapshot of weather at 2013-12-01T12:00:00+00:00
-- Paste it whole: the last statement returns the rows, what the others create is temporary.

-- Times without a zone are UTC (rule 8).
SET TimeZone = 'UTC';

-- The spine: every row numbered in its order, its time in UTC (rules 6 and 8).
CREATE OR REPLACE TEMPORARY TABLE "__fl_labels" AS
SELECT
  ROW_NUMBER() OVER () - 1 AS "__fl_id",
  CAST('2013-12-01 12:00:00.000000' AS TIMESTAMP) AS "__fl_time",
  "__fl_k0"
FROM (
  SELECT DISTINCT
    "f"."airport" AS "__fl_k0"
  FROM "memory"."main"."weather" AS "f"
  WHERE
    "f"."airport" IS NOT NULL
) AS "entities";

-- The range of the labels' times: rows that no label can see are not read.
SET VARIABLE __fl_first = (
  SELECT
    MIN("__fl_time")
  FROM "__fl_labels"
);

SET VARIABLE __fl_last = (
  SELECT
    MAX("__fl_time")
  FROM "__fl_labels"
);

-- weather: match the newest event time at or before each label among the rows available by then (rule 1).
CREATE OR REPLACE TEMPORARY TABLE "weather__match" AS
SELECT
  "l"."__fl_id",
  "l"."__fl_time",
  "f"."__fl_k0",
  "f"."__fl_event"
FROM (
  SELECT
    "l"."__fl_id",
    "l"."__fl_time",
    "l"."__fl_k0"
  FROM "__fl_labels" AS "l"
  WHERE
    "l"."__fl_time" IS NOT NULL AND "l"."__fl_k0" IS NOT NULL
) AS "l"
ASOF JOIN (
  SELECT
    "f"."airport" AS "__fl_k0",
    CASE
      WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
      THEN "f"."known_at"
      ELSE "f"."at" AT TIME ZONE 'UTC'
    END AS "__fl_at",
    MAX("f"."at") OVER (
      PARTITION BY "f"."airport"
      ORDER BY CASE
        WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
        THEN "f"."known_at"
        ELSE "f"."at" AT TIME ZONE 'UTC'
      END
    ) AS "__fl_event"
  FROM "memory"."main"."weather" AS "f"
  SEMI JOIN "__fl_labels" AS "k"
    ON "f"."airport" = "k"."__fl_k0"
  WHERE
    "f"."airport" IS NOT NULL
    AND "f"."at" IS NOT NULL
    AND "f"."known_at" IS NOT NULL
    AND "f"."at" AT TIME ZONE 'UTC' <= GETVARIABLE('__fl_last')
) AS "f"
  ON "l"."__fl_k0" = "f"."__fl_k0" AND "l"."__fl_time" >= "f"."__fl_at";

-- weather: fetch the rows of that event time that were available by then.
CREATE OR REPLACE TEMPORARY TABLE "weather__rows" AS
SELECT
  "m"."__fl_id",
  "m"."__fl_event" AT TIME ZONE 'UTC' AS "__fl_event",
  "f"."wind"
FROM "weather__match" AS "m"
INNER JOIN "memory"."main"."weather" AS "f"
  ON "m"."__fl_k0" = "f"."airport" AND "m"."__fl_event" = "f"."at"
WHERE
  "f"."known_at" IS NOT NULL
  AND CASE
    WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
    THEN "f"."known_at"
    ELSE "f"."at" AT TIME ZONE 'UTC'
  END <= "m"."__fl_time";

-- weather: resolve ties, where there are any (rule 3).
CREATE OR REPLACE TEMPORARY TABLE "weather__tied" AS
SELECT
  "__fl_id"
FROM "weather__rows"
WHERE
  (
    SELECT
      COUNT(*)
    FROM "weather__rows"
  ) <> (
    SELECT
      COUNT(*)
    FROM "weather__match" AS "m"
  )
GROUP BY
  "__fl_id"
HAVING
  COUNT(*) > 1;

-- weather: rank the tied rows by known_at, then the content; the greatest comes first, NULL last.
-- __fl_level and __fl_content tell the report which ties the content alone has broken.
CREATE OR REPLACE TEMPORARY TABLE "weather__ranked" AS
SELECT
  "m"."__fl_id",
  ROW_NUMBER() OVER (
    PARTITION BY "m"."__fl_id"
    ORDER BY "f"."known_at" DESC NULLS LAST, "f"."wind" DESC NULLS LAST, CAST("f"."wind" AS TEXT) DESC NULLS LAST
  ) AS "__fl_rank",
  DENSE_RANK() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."known_at" DESC NULLS LAST) AS "__fl_level",
  DENSE_RANK() OVER (
    PARTITION BY "m"."__fl_id"
    ORDER BY "f"."known_at" DESC NULLS LAST, "f"."wind" DESC NULLS LAST, CAST("f"."wind" AS TEXT) DESC NULLS LAST
  ) AS "__fl_content",
  "m"."__fl_event" AT TIME ZONE 'UTC' AS "__fl_event",
  "f"."wind"
FROM "weather__match" AS "m"
INNER JOIN "weather__tied" AS "t"
  ON "t"."__fl_id" = "m"."__fl_id"
INNER JOIN "memory"."main"."weather" AS "f"
  ON "m"."__fl_k0" = "f"."airport" AND "m"."__fl_event" = "f"."at"
WHERE
  "f"."known_at" IS NOT NULL
  AND CASE
    WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
    THEN "f"."known_at"
    ELSE "f"."at" AT TIME ZONE 'UTC'
  END <= "m"."__fl_time";

-- weather: of the tied rows the first alone stays.
DELETE FROM "weather__rows"
WHERE
  "__fl_id" IN (
    SELECT
      "__fl_id"
    FROM "weather__tied"
  );

INSERT INTO "weather__rows" (
  "__fl_id",
  "__fl_event",
  "wind"
)
SELECT
  "__fl_id",
  "__fl_event",
  "wind"
FROM "weather__ranked"
WHERE
  "__fl_rank" = 1;

-- Every label once, in its order, with the features of its rows.
SELECT
  "__fl_labels"."__fl_k0" AS "airport",
  EPOCH_US("weather"."__fl_event") AS "__fl_event_time",
  CAST(NULL AS BIGINT) AS "__fl_valid_to",
  "weather"."wind"
FROM "__fl_labels"
INNER JOIN "weather__rows" AS "weather"
  ON "weather"."__fl_id" = "__fl_labels"."__fl_id"
ORDER BY
  "__fl_labels"."__fl_id";
