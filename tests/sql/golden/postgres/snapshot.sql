-- snapshot of weather at 2013-12-01T12:00:00+00:00
-- Paste it whole: the last statement returns the rows, what the others create is temporary.

-- Times without a zone are UTC (rule 8).
SET TimeZone = 'UTC';

-- The spine: every row numbered in its order, its time in UTC (rules 6 and 8).
CREATE TEMPORARY TABLE "__fl_labels" AS
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

ANALYZE "__fl_labels";

-- weather: match the newest event time at or before each label among the rows available by then (rule 1).
CREATE TEMPORARY TABLE "weather__match" AS
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
      "f"."airport" AS "__fl_k0",
      CASE
        WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
        THEN "f"."known_at"
        ELSE "f"."at" AT TIME ZONE 'UTC'
      END AS "__fl_at",
      0 AS "__fl_is_label",
      "f"."at" AS "__fl_event"
    FROM "memory"."main"."weather" AS "f"
    WHERE
      "f"."airport" IS NOT NULL
      AND "f"."at" IS NOT NULL
      AND "f"."known_at" IS NOT NULL
      AND "f"."at" AT TIME ZONE 'UTC' <= (
        SELECT
          MAX("__fl_time")
        FROM "__fl_labels"
      )
      AND EXISTS(
        SELECT
          1
        FROM "__fl_labels" AS "k"
        WHERE
          "k"."__fl_k0" = "f"."airport"
      )
    UNION ALL
    SELECT
      "l"."__fl_id",
      "l"."__fl_time",
      "l"."__fl_k0",
      "l"."__fl_time" AS "__fl_at",
      1 AS "__fl_is_label",
      CAST(NULL AS TIMESTAMPTZ) AS "__fl_event"
    FROM "__fl_labels" AS "l"
    WHERE
      "l"."__fl_time" IS NOT NULL AND "l"."__fl_k0" IS NOT NULL
  ) AS "t"
) AS "m"
WHERE
  "m"."__fl_is_label" = 1 AND "m"."__fl_event" IS NOT NULL;

ANALYZE "weather__match";

-- weather: fetch the rows of that event time that were available by then.
CREATE TEMPORARY TABLE "weather__rows" AS
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

ANALYZE "weather__rows";

-- weather: resolve ties, where there are any (rule 3).
CREATE TEMPORARY TABLE "weather__tied" AS
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

ANALYZE "weather__tied";

-- weather: rank the tied rows by known_at, then the content; the greatest comes first, NULL last.
-- __fl_level and __fl_content tell the report which ties the content alone has broken.
CREATE TEMPORARY TABLE "weather__ranked" AS
SELECT
  "m"."__fl_id",
  ROW_NUMBER() OVER (
    PARTITION BY "m"."__fl_id"
    ORDER BY "f"."known_at" DESC NULLS LAST, "f"."wind" DESC NULLS LAST, CAST("f"."wind" AS TEXT) COLLATE "C" DESC NULLS LAST
  ) AS "__fl_rank",
  DENSE_RANK() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."known_at" DESC NULLS LAST) AS "__fl_level",
  DENSE_RANK() OVER (
    PARTITION BY "m"."__fl_id"
    ORDER BY "f"."known_at" DESC NULLS LAST, "f"."wind" DESC NULLS LAST, CAST("f"."wind" AS TEXT) COLLATE "C" DESC NULLS LAST
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

ANALYZE "weather__ranked";

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
  CAST(EXTRACT(EPOCH FROM "weather"."__fl_event") * 1000000 AS BIGINT) AS "__fl_event_time",
  CAST(NULL AS BIGINT) AS "__fl_valid_to",
  "weather"."wind"
FROM "__fl_labels"
INNER JOIN "weather__rows" AS "weather"
  ON "weather"."__fl_id" = "__fl_labels"."__fl_id"
ORDER BY
  "__fl_labels"."__fl_id";
