-- training set of service, mode as_served
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
FROM "memory"."main"."labels";

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

-- weather: the labels by the export that was being served at their time.
CREATE OR REPLACE TEMPORARY TABLE "weather__labels" AS
SELECT
  "l"."__fl_id",
  "l"."__fl_time",
  "l"."origin",
  "s"."__fl_seen"
FROM "__fl_labels" AS "l"
INNER JOIN (
  SELECT
    "as_of" AS "__fl_seen",
    "finished_at" AS "__fl_from",
    LEAD("finished_at") OVER (ORDER BY "finished_at", "version") AS "__fl_until"
  FROM (
    SELECT
      "as_of",
      "finished_at",
      "version",
      MAX("version") OVER (
        ORDER BY "finished_at", "version"
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS "__fl_newest"
    FROM "memory"."main"."featurelayer_exports"
    WHERE
      "store" = 'dynamodb:features' AND "view" = 'weather' AND "finished_at" IS NOT NULL
  ) AS "finished"
  WHERE
    "version" = "__fl_newest"
) AS "s"
  ON "l"."__fl_time" >= "s"."__fl_from"
  AND (
    "s"."__fl_until" IS NULL OR "l"."__fl_time" < "s"."__fl_until"
  );

-- weather: match the newest event time at or before each label among the rows available by then (rule 1).
CREATE OR REPLACE TEMPORARY TABLE "weather__match" AS
SELECT
  "l"."__fl_id",
  "l"."__fl_time",
  "l"."__fl_seen",
  "f"."__fl_k0",
  "f"."__fl_event"
FROM (
  SELECT
    "l"."__fl_id",
    "l"."__fl_time",
    "l"."__fl_seen",
    "l"."origin" AS "__fl_k0"
  FROM "weather__labels" AS "l"
  WHERE
    "l"."__fl_time" IS NOT NULL AND "l"."origin" IS NOT NULL
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
    ON "f"."airport" = "k"."origin"
  WHERE
    "f"."airport" IS NOT NULL
    AND "f"."at" IS NOT NULL
    AND "f"."known_at" IS NOT NULL
    AND "f"."at" AT TIME ZONE 'UTC' <= GETVARIABLE('__fl_last')
    AND "f"."at" AT TIME ZONE 'UTC' >= GETVARIABLE('__fl_first') - INTERVAL '3' HOUR
) AS "f"
  ON "l"."__fl_k0" = "f"."__fl_k0" AND "l"."__fl_seen" >= "f"."__fl_at";

-- weather: fetch the rows of that event time that were available by then, unless expired (rule 2).
CREATE OR REPLACE TEMPORARY TABLE "weather__rows" AS
SELECT
  "m"."__fl_id",
  "f"."wind"
FROM "weather__match" AS "m"
INNER JOIN "memory"."main"."weather" AS "f"
  ON "m"."__fl_k0" = "f"."airport" AND "m"."__fl_event" = "f"."at"
WHERE
  "m"."__fl_event" AT TIME ZONE 'UTC' >= "m"."__fl_time" - INTERVAL '3' HOUR
  AND "f"."known_at" IS NOT NULL
  AND CASE
    WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
    THEN "f"."known_at"
    ELSE "f"."at" AT TIME ZONE 'UTC'
  END <= "m"."__fl_seen";

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
    WHERE
      "m"."__fl_event" AT TIME ZONE 'UTC' >= "m"."__fl_time" - INTERVAL '3' HOUR
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
  "f"."wind"
FROM "weather__match" AS "m"
INNER JOIN "weather__tied" AS "t"
  ON "t"."__fl_id" = "m"."__fl_id"
INNER JOIN "memory"."main"."weather" AS "f"
  ON "m"."__fl_k0" = "f"."airport" AND "m"."__fl_event" = "f"."at"
WHERE
  "m"."__fl_event" AT TIME ZONE 'UTC' >= "m"."__fl_time" - INTERVAL '3' HOUR
  AND "f"."known_at" IS NOT NULL
  AND CASE
    WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
    THEN "f"."known_at"
    ELSE "f"."at" AT TIME ZONE 'UTC'
  END <= "m"."__fl_seen";

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
  "wind"
)
SELECT
  "__fl_id",
  "wind"
FROM "weather__ranked"
WHERE
  "__fl_rank" = 1;

-- Every label once, in its order, with the features of its rows.
SELECT
  "__fl_labels"."tailnum",
  "__fl_labels"."origin",
  "__fl_labels"."dest",
  "__fl_labels"."hour",
  "__fl_labels"."predicted_at",
  "weather"."wind" AS "weather__wind"
FROM "__fl_labels"
LEFT JOIN "weather__rows" AS "weather"
  ON "weather"."__fl_id" = "__fl_labels"."__fl_id"
ORDER BY
  "__fl_labels"."__fl_id";
