SELECT
  "__fl_slot",
  COUNT(*)
FROM (
  SELECT
    CASE
      WHEN (
        "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP)
        AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP)
      )
      THEN 0
      WHEN (
        "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP)
        AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP)
      )
      THEN 1
    END AS "__fl_slot"
  FROM "legs"
  WHERE
    "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP)
    AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP)
    AND RANDOM() < CAST(0.25 AS DOUBLE PRECISION)
) AS "__fl_rows"
WHERE
  "__fl_slot" IS NOT NULL
GROUP BY
  "__fl_slot"
ORDER BY
  "__fl_slot";

SELECT
  "__fl_slot",
  COUNT(*),
  ARRAY(
    PERCENTILE_CONT(0.0) WITHIN GROUP (ORDER BY
      "__fl_n_delay"),
    PERCENTILE_CONT(0.25) WITHIN GROUP (ORDER BY
      "__fl_n_delay"),
    PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY
      "__fl_n_delay"),
    PERCENTILE_CONT(0.75) WITHIN GROUP (ORDER BY
      "__fl_n_delay"),
    PERCENTILE_CONT(1.0) WITHIN GROUP (ORDER BY
      "__fl_n_delay")
  )
FROM (
  SELECT
    CASE
      WHEN (
        "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP)
        AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP)
      )
      THEN 0
      WHEN (
        "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP)
        AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP)
      )
      THEN 1
    END AS "__fl_slot",
    "delay",
    CASE
      WHEN ABS(CAST("delay" AS DOUBLE PRECISION)) <= CAST(1e+150 AS DOUBLE PRECISION)
      THEN CAST("delay" AS DOUBLE PRECISION)
    END AS "__fl_n_delay"
  FROM "legs"
  WHERE
    "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP)
    AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP)
    AND RANDOM() < CAST(0.25 AS DOUBLE PRECISION)
) AS "__fl_rows"
WHERE
  "__fl_slot" IS NOT NULL
GROUP BY
  "__fl_slot"
ORDER BY
  "__fl_slot";

SELECT
  "__fl_slot",
  COUNT(*),
  COUNT("delay"),
  APPROXIMATE COUNT(DISTINCT "delay"),
  COUNT(CASE WHEN "delay" = CAST('0.0' AS DOUBLE PRECISION) THEN 1 END),
  COUNT("__fl_n_delay"),
  MIN("__fl_n_delay"),
  MAX("__fl_n_delay"),
  SUM((
    "__fl_n_delay" - CAST(2.0 AS DOUBLE PRECISION)
  )),
  SUM(
    (
      "__fl_n_delay" - CAST(2.0 AS DOUBLE PRECISION)
    ) * (
      "__fl_n_delay" - CAST(2.0 AS DOUBLE PRECISION)
    )
  ),
  COUNT(CASE WHEN (
    "__fl_n_delay" > CAST(60.0 AS DOUBLE PRECISION)
  ) THEN 1 END),
  ARRAY(
    PERCENTILE_CONT(0.01) WITHIN GROUP (ORDER BY
      "__fl_n_delay"),
    PERCENTILE_CONT(0.05) WITHIN GROUP (ORDER BY
      "__fl_n_delay"),
    PERCENTILE_CONT(0.1) WITHIN GROUP (ORDER BY
      "__fl_n_delay"),
    PERCENTILE_CONT(0.25) WITHIN GROUP (ORDER BY
      "__fl_n_delay"),
    PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY
      "__fl_n_delay"),
    PERCENTILE_CONT(0.75) WITHIN GROUP (ORDER BY
      "__fl_n_delay"),
    PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY
      "__fl_n_delay"),
    PERCENTILE_CONT(0.95) WITHIN GROUP (ORDER BY
      "__fl_n_delay"),
    PERCENTILE_CONT(0.99) WITHIN GROUP (ORDER BY
      "__fl_n_delay")
  ),
  ARRAY(
    COUNT(CASE WHEN "__fl_n_delay" <= CAST(-1.5 AS DOUBLE PRECISION) THEN 1 END),
    COUNT(
      CASE
        WHEN "__fl_n_delay" > CAST(-1.5 AS DOUBLE PRECISION)
        AND "__fl_n_delay" <= CAST(0.0 AS DOUBLE PRECISION)
        THEN 1
      END
    ),
    COUNT(CASE WHEN "__fl_n_delay" > CAST(0.0 AS DOUBLE PRECISION) THEN 1 END)
  )
FROM (
  SELECT
    CASE
      WHEN (
        "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP)
        AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP)
      )
      THEN 0
      WHEN (
        "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP)
        AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP)
      )
      THEN 1
    END AS "__fl_slot",
    "delay",
    CASE
      WHEN ABS(CAST("delay" AS DOUBLE PRECISION)) <= CAST(1e+150 AS DOUBLE PRECISION)
      THEN CAST("delay" AS DOUBLE PRECISION)
    END AS "__fl_n_delay"
  FROM "legs"
  WHERE
    "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP)
    AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP)
    AND RANDOM() < CAST(0.25 AS DOUBLE PRECISION)
) AS "__fl_rows"
WHERE
  "__fl_slot" IS NOT NULL
GROUP BY
  "__fl_slot"
ORDER BY
  "__fl_slot";

SELECT
  "__fl_slot",
  COUNT(*),
  COUNT("late"),
  APPROXIMATE COUNT(DISTINCT "late"),
  MIN("__fl_n_late"),
  MAX("__fl_n_late"),
  SUM((
    "__fl_n_late" - CAST(0.0 AS DOUBLE PRECISION)
  )),
  SUM(
    (
      "__fl_n_late" - CAST(0.0 AS DOUBLE PRECISION)
    ) * (
      "__fl_n_late" - CAST(0.0 AS DOUBLE PRECISION)
    )
  ),
  COUNT("path"),
  MIN("__fl_n_path"),
  MAX("__fl_n_path"),
  SUM((
    "__fl_n_path" - CAST(0.0 AS DOUBLE PRECISION)
  )),
  SUM(
    (
      "__fl_n_path" - CAST(0.0 AS DOUBLE PRECISION)
    ) * (
      "__fl_n_path" - CAST(0.0 AS DOUBLE PRECISION)
    )
  ),
  COUNT("seen_at"),
  APPROXIMATE COUNT(DISTINCT "seen_at"),
  MIN("__fl_n_seen_at"),
  MAX("__fl_n_seen_at"),
  SUM((
    "__fl_n_seen_at" - CAST(0.0 AS DOUBLE PRECISION)
  )),
  SUM(
    (
      "__fl_n_seen_at" - CAST(0.0 AS DOUBLE PRECISION)
    ) * (
      "__fl_n_seen_at" - CAST(0.0 AS DOUBLE PRECISION)
    )
  ),
  COUNT("carrier"),
  APPROXIMATE COUNT(DISTINCT "carrier")
FROM (
  SELECT
    CASE
      WHEN (
        "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP)
        AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP)
      )
      THEN 0
      WHEN (
        "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP)
        AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP)
      )
      THEN 1
    END AS "__fl_slot",
    "late",
    "path",
    "seen_at",
    "carrier",
    CAST(CASE WHEN "late" THEN 1 WHEN NOT "late" THEN 0 END AS DOUBLE PRECISION) AS "__fl_n_late",
    CAST(ARRAY_LENGTH("path", 1) AS DOUBLE PRECISION) AS "__fl_n_path",
    CAST(DATEDIFF(MICROSECOND, CAST('1970-01-01 00:00:00.000000' AS TIMESTAMP), "seen_at") AS DOUBLE PRECISION) / CAST(1000000.0 AS DOUBLE PRECISION) AS "__fl_n_seen_at"
  FROM "legs"
  WHERE
    "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP)
    AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP)
    AND RANDOM() < CAST(0.25 AS DOUBLE PRECISION)
) AS "__fl_rows"
WHERE
  "__fl_slot" IS NOT NULL
GROUP BY
  "__fl_slot"
ORDER BY
  "__fl_slot";

SELECT
  "__fl_slot",
  "__fl_value",
  "__fl_count"
FROM (
  SELECT
    "__fl_slot",
    "__fl_value",
    "__fl_count",
    ROW_NUMBER() OVER (PARTITION BY "__fl_slot" ORDER BY "__fl_count" DESC NULLS LAST, "__fl_value") AS "__fl_rank"
  FROM (
    SELECT
      "__fl_slot",
      "__fl_value",
      COUNT(*) AS "__fl_count"
    FROM (
      SELECT
        CASE
          WHEN (
            "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP)
            AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP)
          )
          THEN 0
          WHEN (
            "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP)
            AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP)
          )
          THEN 1
        END AS "__fl_slot",
        CAST("carrier" AS VARCHAR(MAX)) AS "__fl_value"
      FROM "legs"
      WHERE
        (
          "landed_at" AT TIME ZONE 'UTC' >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP)
          AND "landed_at" AT TIME ZONE 'UTC' < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP)
          AND RANDOM() < CAST(0.25 AS DOUBLE PRECISION)
        )
        AND "carrier" IS NOT NULL
    ) AS "__fl_rows"
    WHERE
      "__fl_slot" IS NOT NULL
    GROUP BY
      "__fl_slot",
      "__fl_value"
  ) AS "counted"
) AS "ranked"
WHERE
  "__fl_rank" <= 50
ORDER BY
  "__fl_slot",
  "__fl_rank";
