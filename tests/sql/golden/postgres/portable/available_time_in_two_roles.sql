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

-- origin_now: match the newest event time at or before each label among the rows available by then (rule 1).
CREATE TEMPORARY TABLE "origin_now__match" AS
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
      AND "f"."at" AT TIME ZONE 'UTC' >= (
        SELECT
          MIN("__fl_time")
        FROM "__fl_labels"
      ) - INTERVAL '3 HOUR'
      AND EXISTS(
        SELECT
          1
        FROM "__fl_labels" AS "k"
        WHERE
          "k"."origin" = "f"."airport"
      )
    UNION ALL
    SELECT
      "l"."__fl_id",
      "l"."__fl_time",
      "l"."origin" AS "__fl_k0",
      "l"."__fl_time" AS "__fl_at",
      1 AS "__fl_is_label",
      CAST(NULL AS TIMESTAMPTZ) AS "__fl_event"
    FROM "__fl_labels" AS "l"
    WHERE
      "l"."__fl_time" IS NOT NULL AND "l"."origin" IS NOT NULL
  ) AS "t"
) AS "m"
WHERE
  "m"."__fl_is_label" = 1 AND "m"."__fl_event" IS NOT NULL;

ANALYZE "origin_now__match";

-- origin_now: fetch the rows of that event time that were available by then, unless expired (rule 2).
CREATE TEMPORARY TABLE "origin_now__rows" AS
SELECT
  "m"."__fl_id",
  "f"."wind"
FROM "origin_now__match" AS "m"
INNER JOIN "memory"."main"."weather" AS "f"
  ON "m"."__fl_k0" = "f"."airport" AND "m"."__fl_event" = "f"."at"
WHERE
  "m"."__fl_event" AT TIME ZONE 'UTC' >= "m"."__fl_time" - INTERVAL '3 HOUR'
  AND "f"."known_at" IS NOT NULL
  AND CASE
    WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
    THEN "f"."known_at"
    ELSE "f"."at" AT TIME ZONE 'UTC'
  END <= "m"."__fl_time";

ANALYZE "origin_now__rows";

-- origin_now: resolve ties, where there are any (rule 3).
CREATE TEMPORARY TABLE "origin_now__tied" AS
SELECT
  "__fl_id"
FROM "origin_now__rows"
WHERE
  (
    SELECT
      COUNT(*)
    FROM "origin_now__rows"
  ) <> (
    SELECT
      COUNT(*)
    FROM "origin_now__match" AS "m"
    WHERE
      "m"."__fl_event" AT TIME ZONE 'UTC' >= "m"."__fl_time" - INTERVAL '3 HOUR'
  )
GROUP BY
  "__fl_id"
HAVING
  COUNT(*) > 1;

ANALYZE "origin_now__tied";

-- origin_now: rank the tied rows by known_at, then the content; the greatest comes first, NULL last.
-- __fl_level and __fl_content tell the report which ties the content alone has broken.
CREATE TEMPORARY TABLE "origin_now__ranked" AS
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
  "f"."wind"
FROM "origin_now__match" AS "m"
INNER JOIN "origin_now__tied" AS "t"
  ON "t"."__fl_id" = "m"."__fl_id"
INNER JOIN "memory"."main"."weather" AS "f"
  ON "m"."__fl_k0" = "f"."airport" AND "m"."__fl_event" = "f"."at"
WHERE
  "m"."__fl_event" AT TIME ZONE 'UTC' >= "m"."__fl_time" - INTERVAL '3 HOUR'
  AND "f"."known_at" IS NOT NULL
  AND CASE
    WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
    THEN "f"."known_at"
    ELSE "f"."at" AT TIME ZONE 'UTC'
  END <= "m"."__fl_time";

ANALYZE "origin_now__ranked";

-- origin_now: of the tied rows the first alone stays.
DELETE FROM "origin_now__rows"
WHERE
  "__fl_id" IN (
    SELECT
      "__fl_id"
    FROM "origin_now__tied"
  );

INSERT INTO "origin_now__rows" (
  "__fl_id",
  "wind"
)
SELECT
  "__fl_id",
  "wind"
FROM "origin_now__ranked"
WHERE
  "__fl_rank" = 1;

-- dest_now: match the newest event time at or before each label among the rows available by then (rule 1).
CREATE TEMPORARY TABLE "dest_now__match" AS
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
      AND "f"."at" AT TIME ZONE 'UTC' >= (
        SELECT
          MIN("__fl_time")
        FROM "__fl_labels"
      ) - INTERVAL '3 HOUR'
      AND EXISTS(
        SELECT
          1
        FROM "__fl_labels" AS "k"
        WHERE
          "k"."dest" = "f"."airport"
      )
    UNION ALL
    SELECT
      "l"."__fl_id",
      "l"."__fl_time",
      "l"."dest" AS "__fl_k0",
      "l"."__fl_time" AS "__fl_at",
      1 AS "__fl_is_label",
      CAST(NULL AS TIMESTAMPTZ) AS "__fl_event"
    FROM "__fl_labels" AS "l"
    WHERE
      "l"."__fl_time" IS NOT NULL AND "l"."dest" IS NOT NULL
  ) AS "t"
) AS "m"
WHERE
  "m"."__fl_is_label" = 1 AND "m"."__fl_event" IS NOT NULL;

ANALYZE "dest_now__match";

-- dest_now: fetch the rows of that event time that were available by then, unless expired (rule 2).
CREATE TEMPORARY TABLE "dest_now__rows" AS
SELECT
  "m"."__fl_id",
  "f"."wind"
FROM "dest_now__match" AS "m"
INNER JOIN "memory"."main"."weather" AS "f"
  ON "m"."__fl_k0" = "f"."airport" AND "m"."__fl_event" = "f"."at"
WHERE
  "m"."__fl_event" AT TIME ZONE 'UTC' >= "m"."__fl_time" - INTERVAL '3 HOUR'
  AND "f"."known_at" IS NOT NULL
  AND CASE
    WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
    THEN "f"."known_at"
    ELSE "f"."at" AT TIME ZONE 'UTC'
  END <= "m"."__fl_time";

ANALYZE "dest_now__rows";

-- dest_now: resolve ties, where there are any (rule 3).
CREATE TEMPORARY TABLE "dest_now__tied" AS
SELECT
  "__fl_id"
FROM "dest_now__rows"
WHERE
  (
    SELECT
      COUNT(*)
    FROM "dest_now__rows"
  ) <> (
    SELECT
      COUNT(*)
    FROM "dest_now__match" AS "m"
    WHERE
      "m"."__fl_event" AT TIME ZONE 'UTC' >= "m"."__fl_time" - INTERVAL '3 HOUR'
  )
GROUP BY
  "__fl_id"
HAVING
  COUNT(*) > 1;

ANALYZE "dest_now__tied";

-- dest_now: rank the tied rows by known_at, then the content; the greatest comes first, NULL last.
-- __fl_level and __fl_content tell the report which ties the content alone has broken.
CREATE TEMPORARY TABLE "dest_now__ranked" AS
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
  "f"."wind"
FROM "dest_now__match" AS "m"
INNER JOIN "dest_now__tied" AS "t"
  ON "t"."__fl_id" = "m"."__fl_id"
INNER JOIN "memory"."main"."weather" AS "f"
  ON "m"."__fl_k0" = "f"."airport" AND "m"."__fl_event" = "f"."at"
WHERE
  "m"."__fl_event" AT TIME ZONE 'UTC' >= "m"."__fl_time" - INTERVAL '3 HOUR'
  AND "f"."known_at" IS NOT NULL
  AND CASE
    WHEN "f"."known_at" > "f"."at" AT TIME ZONE 'UTC'
    THEN "f"."known_at"
    ELSE "f"."at" AT TIME ZONE 'UTC'
  END <= "m"."__fl_time";

ANALYZE "dest_now__ranked";

-- dest_now: of the tied rows the first alone stays.
DELETE FROM "dest_now__rows"
WHERE
  "__fl_id" IN (
    SELECT
      "__fl_id"
    FROM "dest_now__tied"
  );

INSERT INTO "dest_now__rows" (
  "__fl_id",
  "wind"
)
SELECT
  "__fl_id",
  "wind"
FROM "dest_now__ranked"
WHERE
  "__fl_rank" = 1;

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
  ON "origin_now"."__fl_id" = "__fl_labels"."__fl_id"
LEFT JOIN "dest_now__rows" AS "dest_now"
  ON "dest_now"."__fl_id" = "__fl_labels"."__fl_id"
ORDER BY
  "__fl_labels"."__fl_id";
