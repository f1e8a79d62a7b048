SELECT
  `__fl_slot`,
  COUNT(*)
FROM (
  SELECT
    CASE
      WHEN (
        DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-01 00:00:00.000000' AS DATETIME)
        AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-02 00:00:00.000000' AS DATETIME)
      )
      THEN 0
      WHEN (
        DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-02 00:00:00.000000' AS DATETIME)
        AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-03 00:00:00.000000' AS DATETIME)
      )
      THEN 1
    END AS `__fl_slot`
  FROM `legs`
  WHERE
    DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-01 00:00:00.000000' AS DATETIME)
    AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-03 00:00:00.000000' AS DATETIME)
    AND RAND() < CAST(0.25 AS FLOAT64)
) AS `__fl_rows`
WHERE
  `__fl_slot` IS NOT NULL
GROUP BY
  `__fl_slot`
ORDER BY
  `__fl_slot`;

SELECT
  `__fl_slot`,
  COUNT(*),
  [
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(0)],
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(250)],
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(500)],
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(750)],
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(1000)]
  ]
FROM (
  SELECT
    CASE
      WHEN (
        DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-01 00:00:00.000000' AS DATETIME)
        AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-02 00:00:00.000000' AS DATETIME)
      )
      THEN 0
      WHEN (
        DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-02 00:00:00.000000' AS DATETIME)
        AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-03 00:00:00.000000' AS DATETIME)
      )
      THEN 1
    END AS `__fl_slot`,
    `delay`,
    CASE
      WHEN ABS(CAST(`delay` AS FLOAT64)) <= CAST(1e+150 AS FLOAT64)
      THEN CAST(`delay` AS FLOAT64)
    END AS `__fl_n_delay`
  FROM `legs`
  WHERE
    DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-01 00:00:00.000000' AS DATETIME)
    AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-03 00:00:00.000000' AS DATETIME)
    AND RAND() < CAST(0.25 AS FLOAT64)
) AS `__fl_rows`
WHERE
  `__fl_slot` IS NOT NULL
GROUP BY
  `__fl_slot`
ORDER BY
  `__fl_slot`;

SELECT
  `__fl_slot`,
  COUNT(*),
  COUNT(`delay`),
  APPROX_COUNT_DISTINCT(`delay`),
  COUNT(CASE WHEN `delay` = CAST('0.0' AS FLOAT64) THEN 1 END),
  COUNT(`__fl_n_delay`),
  MIN(`__fl_n_delay`),
  MAX(`__fl_n_delay`),
  SUM((
    `__fl_n_delay` - CAST(2.0 AS FLOAT64)
  )),
  SUM(
    (
      `__fl_n_delay` - CAST(2.0 AS FLOAT64)
    ) * (
      `__fl_n_delay` - CAST(2.0 AS FLOAT64)
    )
  ),
  COUNT(CASE WHEN (
    `__fl_n_delay` > CAST(60.0 AS FLOAT64)
  ) THEN 1 END),
  [
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(10)],
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(50)],
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(100)],
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(250)],
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(500)],
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(750)],
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(900)],
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(950)],
    APPROX_QUANTILES(`__fl_n_delay`, 1000)[OFFSET(990)]
  ],
  [
    COUNT(CASE WHEN `__fl_n_delay` <= CAST(-1.5 AS FLOAT64) THEN 1 END),
    COUNT(
      CASE
        WHEN `__fl_n_delay` > CAST(-1.5 AS FLOAT64) AND `__fl_n_delay` <= CAST(0.0 AS FLOAT64)
        THEN 1
      END
    ),
    COUNT(CASE WHEN `__fl_n_delay` > CAST(0.0 AS FLOAT64) THEN 1 END)
  ]
FROM (
  SELECT
    CASE
      WHEN (
        DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-01 00:00:00.000000' AS DATETIME)
        AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-02 00:00:00.000000' AS DATETIME)
      )
      THEN 0
      WHEN (
        DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-02 00:00:00.000000' AS DATETIME)
        AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-03 00:00:00.000000' AS DATETIME)
      )
      THEN 1
    END AS `__fl_slot`,
    `delay`,
    CASE
      WHEN ABS(CAST(`delay` AS FLOAT64)) <= CAST(1e+150 AS FLOAT64)
      THEN CAST(`delay` AS FLOAT64)
    END AS `__fl_n_delay`
  FROM `legs`
  WHERE
    DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-01 00:00:00.000000' AS DATETIME)
    AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-03 00:00:00.000000' AS DATETIME)
    AND RAND() < CAST(0.25 AS FLOAT64)
) AS `__fl_rows`
WHERE
  `__fl_slot` IS NOT NULL
GROUP BY
  `__fl_slot`
ORDER BY
  `__fl_slot`;

SELECT
  `__fl_slot`,
  COUNT(*),
  COUNT(`late`),
  APPROX_COUNT_DISTINCT(`late`),
  MIN(`__fl_n_late`),
  MAX(`__fl_n_late`),
  SUM((
    `__fl_n_late` - CAST(0.0 AS FLOAT64)
  )),
  SUM(
    (
      `__fl_n_late` - CAST(0.0 AS FLOAT64)
    ) * (
      `__fl_n_late` - CAST(0.0 AS FLOAT64)
    )
  ),
  COUNT(`path`),
  MIN(`__fl_n_path`),
  MAX(`__fl_n_path`),
  SUM((
    `__fl_n_path` - CAST(0.0 AS FLOAT64)
  )),
  SUM(
    (
      `__fl_n_path` - CAST(0.0 AS FLOAT64)
    ) * (
      `__fl_n_path` - CAST(0.0 AS FLOAT64)
    )
  ),
  COUNT(`seen_at`),
  APPROX_COUNT_DISTINCT(`seen_at`),
  MIN(`__fl_n_seen_at`),
  MAX(`__fl_n_seen_at`),
  SUM((
    `__fl_n_seen_at` - CAST(0.0 AS FLOAT64)
  )),
  SUM(
    (
      `__fl_n_seen_at` - CAST(0.0 AS FLOAT64)
    ) * (
      `__fl_n_seen_at` - CAST(0.0 AS FLOAT64)
    )
  ),
  COUNT(`carrier`),
  APPROX_COUNT_DISTINCT(`carrier`)
FROM (
  SELECT
    CASE
      WHEN (
        DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-01 00:00:00.000000' AS DATETIME)
        AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-02 00:00:00.000000' AS DATETIME)
      )
      THEN 0
      WHEN (
        DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-02 00:00:00.000000' AS DATETIME)
        AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-03 00:00:00.000000' AS DATETIME)
      )
      THEN 1
    END AS `__fl_slot`,
    `late`,
    `path`,
    `seen_at`,
    `carrier`,
    CAST(CASE WHEN `late` THEN 1 WHEN NOT `late` THEN 0 END AS FLOAT64) AS `__fl_n_late`,
    CAST(ARRAY_LENGTH(`path`) AS FLOAT64) AS `__fl_n_path`,
    CAST(UNIX_MICROS(TIMESTAMP(`seen_at`, 'UTC')) AS FLOAT64) / CAST(1000000.0 AS FLOAT64) AS `__fl_n_seen_at`
  FROM `legs`
  WHERE
    DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-01 00:00:00.000000' AS DATETIME)
    AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-03 00:00:00.000000' AS DATETIME)
    AND RAND() < CAST(0.25 AS FLOAT64)
) AS `__fl_rows`
WHERE
  `__fl_slot` IS NOT NULL
GROUP BY
  `__fl_slot`
ORDER BY
  `__fl_slot`;

SELECT
  `__fl_slot`,
  `__fl_value`,
  `__fl_count`
FROM (
  SELECT
    `__fl_slot`,
    `__fl_value`,
    `__fl_count`,
    ROW_NUMBER() OVER (PARTITION BY `__fl_slot` ORDER BY `__fl_count` DESC, `__fl_value`) AS `__fl_rank`
  FROM (
    SELECT
      `__fl_slot`,
      `__fl_value`,
      COUNT(*) AS `__fl_count`
    FROM (
      SELECT
        CASE
          WHEN (
            DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-01 00:00:00.000000' AS DATETIME)
            AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-02 00:00:00.000000' AS DATETIME)
          )
          THEN 0
          WHEN (
            DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-02 00:00:00.000000' AS DATETIME)
            AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-03 00:00:00.000000' AS DATETIME)
          )
          THEN 1
        END AS `__fl_slot`,
        CAST(`carrier` AS STRING) AS `__fl_value`
      FROM `legs`
      WHERE
        (
          DATETIME(`landed_at`, 'UTC') >= CAST('2024-01-01 00:00:00.000000' AS DATETIME)
          AND DATETIME(`landed_at`, 'UTC') < CAST('2024-01-03 00:00:00.000000' AS DATETIME)
          AND RAND() < CAST(0.25 AS FLOAT64)
        )
        AND `carrier` IS NOT NULL
    ) AS `__fl_rows`
    WHERE
      `__fl_slot` IS NOT NULL
    GROUP BY
      `__fl_slot`,
      `__fl_value`
  ) AS `counted`
) AS `ranked`
WHERE
  `__fl_rank` <= 50
ORDER BY
  `__fl_slot`,
  `__fl_rank`;
