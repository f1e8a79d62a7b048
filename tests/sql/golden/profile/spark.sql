SELECT
  `__fl_slot`,
  COUNT(*)
FROM (
  SELECT
    CASE
      WHEN (
        TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP_NTZ)
        AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP_NTZ)
      )
      THEN 0
      WHEN (
        TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP_NTZ)
        AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP_NTZ)
      )
      THEN 1
    END AS `__fl_slot`
  FROM `legs`
  WHERE
    TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP_NTZ)
    AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP_NTZ)
    AND PMOD(XXHASH64(`tailnum`, `landed_at`), 4) = 0
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
  PERCENTILE_APPROX(`__fl_n_delay`, ARRAY(0.0, 0.25, 0.5, 0.75, 1.0))
FROM (
  SELECT
    CASE
      WHEN (
        TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP_NTZ)
        AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP_NTZ)
      )
      THEN 0
      WHEN (
        TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP_NTZ)
        AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP_NTZ)
      )
      THEN 1
    END AS `__fl_slot`,
    `delay`,
    CASE
      WHEN ABS(CAST(`delay` AS DOUBLE)) <= CAST(1e+150 AS DOUBLE)
      THEN CAST(`delay` AS DOUBLE)
    END AS `__fl_n_delay`
  FROM `legs`
  WHERE
    TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP_NTZ)
    AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP_NTZ)
    AND PMOD(XXHASH64(`tailnum`, `landed_at`), 4) = 0
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
  COUNT(CASE WHEN `delay` = CAST('0.0' AS DOUBLE) THEN 1 END),
  COUNT(`__fl_n_delay`),
  MIN(`__fl_n_delay`),
  MAX(`__fl_n_delay`),
  SUM((
    `__fl_n_delay` - CAST(2.0 AS DOUBLE)
  )),
  SUM(
    (
      `__fl_n_delay` - CAST(2.0 AS DOUBLE)
    ) * (
      `__fl_n_delay` - CAST(2.0 AS DOUBLE)
    )
  ),
  COUNT(CASE WHEN (
    `__fl_n_delay` > CAST(60.0 AS DOUBLE)
  ) THEN 1 END),
  PERCENTILE_APPROX(`__fl_n_delay`, ARRAY(0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)),
  ARRAY(
    COUNT(CASE WHEN `__fl_n_delay` <= CAST(-1.5 AS DOUBLE) THEN 1 END),
    COUNT(
      CASE
        WHEN `__fl_n_delay` > CAST(-1.5 AS DOUBLE) AND `__fl_n_delay` <= CAST(0.0 AS DOUBLE)
        THEN 1
      END
    ),
    COUNT(CASE WHEN `__fl_n_delay` > CAST(0.0 AS DOUBLE) THEN 1 END)
  )
FROM (
  SELECT
    CASE
      WHEN (
        TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP_NTZ)
        AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP_NTZ)
      )
      THEN 0
      WHEN (
        TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP_NTZ)
        AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP_NTZ)
      )
      THEN 1
    END AS `__fl_slot`,
    `delay`,
    CASE
      WHEN ABS(CAST(`delay` AS DOUBLE)) <= CAST(1e+150 AS DOUBLE)
      THEN CAST(`delay` AS DOUBLE)
    END AS `__fl_n_delay`
  FROM `legs`
  WHERE
    TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP_NTZ)
    AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP_NTZ)
    AND PMOD(XXHASH64(`tailnum`, `landed_at`), 4) = 0
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
    `__fl_n_late` - CAST(0.0 AS DOUBLE)
  )),
  SUM(
    (
      `__fl_n_late` - CAST(0.0 AS DOUBLE)
    ) * (
      `__fl_n_late` - CAST(0.0 AS DOUBLE)
    )
  ),
  COUNT(`path`),
  MIN(`__fl_n_path`),
  MAX(`__fl_n_path`),
  SUM((
    `__fl_n_path` - CAST(0.0 AS DOUBLE)
  )),
  SUM(
    (
      `__fl_n_path` - CAST(0.0 AS DOUBLE)
    ) * (
      `__fl_n_path` - CAST(0.0 AS DOUBLE)
    )
  ),
  COUNT(`seen_at`),
  APPROX_COUNT_DISTINCT(`seen_at`),
  MIN(`__fl_n_seen_at`),
  MAX(`__fl_n_seen_at`),
  SUM((
    `__fl_n_seen_at` - CAST(0.0 AS DOUBLE)
  )),
  SUM(
    (
      `__fl_n_seen_at` - CAST(0.0 AS DOUBLE)
    ) * (
      `__fl_n_seen_at` - CAST(0.0 AS DOUBLE)
    )
  ),
  COUNT(`carrier`),
  APPROX_COUNT_DISTINCT(`carrier`)
FROM (
  SELECT
    CASE
      WHEN (
        TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP_NTZ)
        AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP_NTZ)
      )
      THEN 0
      WHEN (
        TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP_NTZ)
        AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP_NTZ)
      )
      THEN 1
    END AS `__fl_slot`,
    `late`,
    `path`,
    `seen_at`,
    `carrier`,
    CAST(CASE WHEN `late` THEN 1 WHEN NOT `late` THEN 0 END AS DOUBLE) AS `__fl_n_late`,
    CAST(SIZE(`path`) AS DOUBLE) AS `__fl_n_path`,
    CAST(UNIX_MICROS(CAST(`seen_at` AS TIMESTAMP)) AS DOUBLE) / CAST(1000000.0 AS DOUBLE) AS `__fl_n_seen_at`
  FROM `legs`
  WHERE
    TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP_NTZ)
    AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP_NTZ)
    AND PMOD(XXHASH64(`tailnum`, `landed_at`), 4) = 0
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
    ROW_NUMBER() OVER (PARTITION BY `__fl_slot` ORDER BY `__fl_count` DESC NULLS LAST, `__fl_value`) AS `__fl_rank`
  FROM (
    SELECT
      `__fl_slot`,
      `__fl_value`,
      COUNT(*) AS `__fl_count`
    FROM (
      SELECT
        CASE
          WHEN (
            TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP_NTZ)
            AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP_NTZ)
          )
          THEN 0
          WHEN (
            TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-02 00:00:00.000000' AS TIMESTAMP_NTZ)
            AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP_NTZ)
          )
          THEN 1
        END AS `__fl_slot`,
        CAST(`carrier` AS STRING) AS `__fl_value`
      FROM `legs`
      WHERE
        (
          TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) >= CAST('2024-01-01 00:00:00.000000' AS TIMESTAMP_NTZ)
          AND TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`landed_at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)) < CAST('2024-01-03 00:00:00.000000' AS TIMESTAMP_NTZ)
          AND PMOD(XXHASH64(`tailnum`, `landed_at`), 4) = 0
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
