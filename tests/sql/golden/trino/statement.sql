WITH "__fl_labels" AS (
  /* The spine: every row numbered in its order, its time in UTC (rules 6 and 8). */
  SELECT
    ROW_NUMBER() OVER (ORDER BY
      "tailnum",
      "origin",
      "dest",
      "hour",
      "predicted_at") - 1 AS "__fl_id",
    CAST(AT_TIMEZONE("predicted_at", 'UTC') AS TIMESTAMP(6)) AS "__fl_time",
    "tailnum",
    "origin",
    "dest",
    "hour",
    "predicted_at"
  FROM "memory"."main"."labels"
), "hourly__timeline" AS (
  SELECT
    "f"."airport" AS "__fl_k0",
    "f"."hour" AS "__fl_k1",
    CAST("f"."day" AS TIMESTAMP(6)) + INTERVAL '1' DAY AS "__fl_at",
    CAST("f"."day" AS TIMESTAMP(6)) AS "__fl_event",
    0 AS "__fl_is_label",
    CAST(NULL AS BIGINT) AS "__fl_id"
  FROM "memory"."main"."hourly" AS "f"
  WHERE
    "f"."airport" IS NOT NULL
    AND "f"."hour" IS NOT NULL
    AND "f"."day" IS NOT NULL
    AND EXISTS(
      SELECT
        1
      FROM "__fl_labels" AS "l"
      WHERE
        "l"."origin" = "f"."airport" AND "l"."hour" = "f"."hour"
    )
  UNION ALL
  SELECT
    "l"."origin" AS "__fl_k0",
    "l"."hour" AS "__fl_k1",
    "l"."__fl_time" AS "__fl_at",
    CAST(NULL AS TIMESTAMP(6)) AS "__fl_event",
    1 AS "__fl_is_label",
    "l"."__fl_id"
  FROM "__fl_labels" AS "l"
  WHERE
    "l"."__fl_time" IS NOT NULL
    AND "l"."origin" IS NOT NULL
    AND "l"."hour" IS NOT NULL
), "hourly__match" AS (
  SELECT
    "m"."__fl_id",
    "m"."__fl_at",
    "m"."__fl_k0",
    "m"."__fl_k1",
    "m"."__fl_event"
  FROM (
    SELECT
      "__fl_id",
      "__fl_at",
      "__fl_is_label",
      "__fl_k0",
      "__fl_k1",
      MAX("__fl_event") OVER (
        PARTITION BY "__fl_k0", "__fl_k1"
        ORDER BY "__fl_at", "__fl_is_label"
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS "__fl_event"
    FROM "hourly__timeline"
  ) AS "m"
  WHERE
    "m"."__fl_is_label" = 1 AND "m"."__fl_event" IS NOT NULL
), "hourly__found" AS (
  SELECT
    "m"."__fl_id",
    "m"."__fl_at" AS "__fl_time",
    "m"."__fl_event",
    ROW_NUMBER() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."n" DESC NULLS LAST) AS "__fl_place",
    1 AS "__fl_level",
    DENSE_RANK() OVER (PARTITION BY "m"."__fl_id" ORDER BY "f"."n" DESC NULLS LAST) AS "__fl_content",
    "f"."n"
  FROM "hourly__match" AS "m"
  INNER JOIN "memory"."main"."hourly" AS "f"
    ON "m"."__fl_k0" = "f"."airport"
    AND "m"."__fl_k1" = "f"."hour"
    AND CAST("f"."day" AS TIMESTAMP(6)) = "m"."__fl_event"
), "hourly__rows" AS (
  SELECT
    "r"."__fl_id",
    1 AS "__fl_rank",
    "r"."__fl_time",
    "r"."__fl_event",
    "r"."__fl_tied",
    "r"."n"
  FROM (
    SELECT
      "r"."__fl_id",
      "r"."__fl_time",
      "r"."__fl_event",
      "r"."__fl_place",
      MAX(CASE WHEN "r"."__fl_level" = 1 AND "r"."__fl_content" > 1 THEN 1 ELSE 0 END) OVER (PARTITION BY "r"."__fl_id") AS "__fl_tied",
      "r"."n"
    FROM "hourly__found" AS "r"
  ) AS "r"
  WHERE
    "r"."__fl_place" = 1
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
