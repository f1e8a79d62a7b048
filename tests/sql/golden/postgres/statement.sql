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
    "m"."__fl_id",
    "m"."__fl_time",
    "m"."__fl_k0",
    "m"."__fl_k1",
    "m"."__fl_event"
  FROM (
    SELECT
      "t"."__fl_id",
      "t"."__fl_time",
      "t"."__fl_k0",
      "t"."__fl_k1",
      "t"."__fl_is_label",
      MAX("t"."__fl_event") OVER (
        PARTITION BY "t"."__fl_k0", "t"."__fl_k1"
        ORDER BY "t"."__fl_at", "t"."__fl_is_label"
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS "__fl_event"
    FROM (
      SELECT
        CAST(NULL AS BIGINT) AS "__fl_id",
        CAST(NULL AS TIMESTAMP) AS "__fl_time",
        "f"."airport" AS "__fl_k0",
        "f"."hour" AS "__fl_k1",
        CAST("f"."day" AS TIMESTAMP) AS "__fl_at",
        0 AS "__fl_is_label",
        "f"."day" AS "__fl_event"
      FROM "memory"."main"."hourly" AS "f"
      WHERE
        "f"."airport" IS NOT NULL
        AND "f"."hour" IS NOT NULL
        AND "f"."day" IS NOT NULL
        AND EXISTS(
          SELECT
            1
          FROM "__fl_labels" AS "k"
          WHERE
            "k"."origin" = "f"."airport" AND "k"."hour" = "f"."hour"
        )
      UNION ALL
      SELECT
        "l"."__fl_id",
        "l"."__fl_time",
        "l"."origin" AS "__fl_k0",
        "l"."hour" AS "__fl_k1",
        "l"."__fl_time" - INTERVAL '1 DAY' AS "__fl_at",
        1 AS "__fl_is_label",
        CAST(NULL AS DATE) AS "__fl_event"
      FROM "__fl_labels" AS "l"
      WHERE
        "l"."__fl_time" IS NOT NULL
        AND "l"."origin" IS NOT NULL
        AND "l"."hour" IS NOT NULL
    ) AS "t"
  ) AS "m"
  WHERE
    "m"."__fl_is_label" = 1 AND "m"."__fl_event" IS NOT NULL
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
  WHERE
    NOT EXISTS(
      SELECT
        1
      FROM "hourly__tied" AS "t"
      WHERE
        "t"."__fl_id" = "r"."__fl_id"
    )
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
