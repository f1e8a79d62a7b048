WITH "__fl_labels" AS MATERIALIZED (
  /* The spine: every row numbered in its order, its time in UTC (rules 6 and 8). */
  SELECT
    ROW_NUMBER() OVER () - 1 AS "__fl_id",
    "predicted_at" AT TIME ZONE 'UTC' AS "__fl_time",
    "tailnum",
    "origin",
    "dest",
    "hour",
    "predicted_at"
  FROM "memory"."main"."labels"
), "hourly__match" AS MATERIALIZED (
  /* hourly: match the newest event time before each label (rule 1). */
  SELECT
    "l"."__fl_id",
    "l"."__fl_time",
    "f"."__fl_k0",
    "f"."__fl_k1",
    "f"."__fl_event"
  FROM (
    SELECT
      "l"."__fl_id",
      "l"."__fl_time",
      "l"."origin" AS "__fl_k0",
      "l"."hour" AS "__fl_k1"
    FROM "__fl_labels" AS "l"
    WHERE
      "l"."__fl_time" IS NOT NULL
      AND "l"."origin" IS NOT NULL
      AND "l"."hour" IS NOT NULL
  ) AS "l"
  ASOF JOIN (
    SELECT
      "f"."airport" AS "__fl_k0",
      "f"."hour" AS "__fl_k1",
      "f"."day" AS "__fl_event"
    FROM "memory"."main"."hourly" AS "f"
    SEMI JOIN "__fl_labels" AS "k"
      ON "f"."airport" = "k"."origin" AND "f"."hour" = "k"."hour"
    WHERE
      "f"."airport" IS NOT NULL AND "f"."hour" IS NOT NULL AND "f"."day" IS NOT NULL
  ) AS "f"
    ON "l"."__fl_k0" = "f"."__fl_k0"
    AND "l"."__fl_k1" = "f"."__fl_k1"
    AND "l"."__fl_time" - INTERVAL '1' DAY >= CAST("f"."__fl_event" AS TIMESTAMP)
), "hourly__fetched" AS MATERIALIZED (
  /* hourly: fetch the rows of that event time. */
  SELECT
    "m"."__fl_id",
    "f"."n"
  FROM "hourly__match" AS "m"
  INNER JOIN "memory"."main"."hourly" AS "f"
    ON "m"."__fl_k0" = "f"."airport"
    AND "m"."__fl_k1" = "f"."hour"
    AND "m"."__fl_event" = "f"."day"
), "hourly__tied" AS MATERIALIZED (
  /* hourly: resolve ties, where there are any (rule 3). */
  SELECT
    "__fl_id"
  FROM "hourly__fetched"
  WHERE
    (
      SELECT
        COUNT(*)
      FROM "hourly__fetched"
    ) <> (
      SELECT
        COUNT(*)
      FROM "hourly__match" AS "m"
    )
  GROUP BY
    "__fl_id"
  HAVING
    COUNT(*) > 1
), "hourly__rows" AS (
  SELECT
    "r"."__fl_id",
    1 AS "__fl_rank",
    "r"."n"
  FROM "hourly__fetched" AS "r"
  ANTI JOIN "hourly__tied" AS "t"
    ON "t"."__fl_id" = "r"."__fl_id"
  UNION ALL
  SELECT
    "m"."__fl_id",
    ROW_NUMBER() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."n" DESC NULLS LAST) AS "__fl_rank",
    "f"."n"
  FROM "hourly__match" AS "m"
  INNER JOIN "hourly__tied" AS "t"
    ON "t"."__fl_id" = "m"."__fl_id"
  INNER JOIN "memory"."main"."hourly" AS "f"
    ON "m"."__fl_k0" = "f"."airport"
    AND "m"."__fl_k1" = "f"."hour"
    AND "m"."__fl_event" = "f"."day"
)
SELECT
  "__fl_labels"."tailnum",
  "__fl_labels"."origin",
  "__fl_labels"."dest",
  "__fl_labels"."hour",
  "__fl_labels"."predicted_at",
  "hourly"."n" AS "hourly__n"
FROM "__fl_labels"
LEFT JOIN "hourly__rows" AS "hourly"
  ON "hourly"."__fl_id" = "__fl_labels"."__fl_id" AND "hourly"."__fl_rank" = 1
