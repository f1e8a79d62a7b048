-- training set of service, mode known_at
-- Paste it whole: the last statement returns the rows, what the others create is temporary.

-- Times without a zone are UTC (rule 8).
SET TIME ZONE 'UTC';

-- What can't be cast is an error, never a NULL.
SET ANSI_MODE = true;

-- The labels as they come, each with a number that grows.
CREATE OR REPLACE TEMPORARY TABLE `__fl_numbered` AS
SELECT
  MONOTONICALLY_INCREASING_ID() AS `__fl_id`,
  TIMESTAMPADD(
    MICROSECOND,
    UNIX_MICROS(`predicted_at`),
    CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)
  ) AS `__fl_time`,
  `tailnum`,
  `origin`,
  `dest`,
  `hour`,
  `predicted_at`
FROM `memory`.`main`.`labels`;

-- The spine: every row numbered in its order, its time in UTC (rules 6 and 8).
CREATE OR REPLACE TEMPORARY TABLE `__fl_labels` AS
SELECT
  `n`.`__fl_id` - `p`.`__fl_shift` AS `__fl_id`,
  `n`.`__fl_time`,
  `n`.`tailnum`,
  `n`.`origin`,
  `n`.`dest`,
  `n`.`hour`,
  `n`.`predicted_at`
FROM `__fl_numbered` AS `n`
INNER JOIN (
  SELECT
    `__fl_part`,
    `__fl_first` - COALESCE(
      SUM(`__fl_rows`) OVER (ORDER BY `__fl_part` ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
      0
    ) AS `__fl_shift`
  FROM (
    SELECT
      SHIFTRIGHT(`__fl_id`, 33) AS `__fl_part`,
      MIN(`__fl_id`) AS `__fl_first`,
      COUNT(*) AS `__fl_rows`
    FROM `__fl_numbered`
    GROUP BY
      SHIFTRIGHT(`__fl_id`, 33)
  ) AS `counted`
) AS `p`
  ON SHIFTRIGHT(`n`.`__fl_id`, 33) = `p`.`__fl_part`;

-- plane_legs: the newest row at or before each label, ties by flight_id, then the content (rules 1 and 3);
-- __fl_rank 2 has expired by the label's time (rule 2).
CREATE OR REPLACE TEMPORARY TABLE `plane_legs__rows` AS
SELECT
  `f`.`__fl_id`,
  CASE WHEN `f`.`__fl_event` >= `f`.`__fl_time` - INTERVAL '1' DAY THEN 1 ELSE 2 END AS `__fl_rank`,
  `f`.`__fl_time`,
  `f`.`__fl_event`,
  `f`.`__fl_tied`,
  `f`.`arr_delay`
FROM (
  SELECT
    `m`.`__fl_id`,
    `m`.`__fl_time`,
    `m`.`__fl_row`.`__fl_event` AS `__fl_event`,
    `m`.`__fl_row`.`arr_delay` AS `arr_delay`,
    `m`.`__fl_high`.`__fl_h` <> ~`m`.`__fl_low`.`__fl_h` AS `__fl_tied`
  FROM (
    SELECT
      `__fl_id`,
      `__fl_time`,
      MAX(`__fl_row`) OVER (
        PARTITION BY `__fl_k0`
        ORDER BY `__fl_at`, `__fl_id` NULLS FIRST
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS `__fl_row`,
      MAX(`__fl_high`) OVER (
        PARTITION BY `__fl_k0`
        ORDER BY `__fl_at`, `__fl_id` NULLS FIRST
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS `__fl_high`,
      MAX(`__fl_low`) OVER (
        PARTITION BY `__fl_k0`
        ORDER BY `__fl_at`, `__fl_id` NULLS FIRST
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS `__fl_low`
    FROM (
      SELECT
        `f`.`tailnum` AS `__fl_k0`,
        `f`.`landed_at` + INTERVAL '1' MINUTE AS `__fl_at`,
        CAST(NULL AS BIGINT) AS `__fl_id`,
        CAST(NULL AS TIMESTAMP_NTZ) AS `__fl_time`,
        NAMED_STRUCT(
          '__fl_event',
          `f`.`landed_at`,
          'flight_id',
          `f`.`flight_id`,
          'arr_delay',
          `f`.`arr_delay`,
          '__fl_t1_1',
          CASE WHEN `f`.`arr_delay` = 0 THEN CAST(`f`.`arr_delay` AS STRING) END
        ) AS `__fl_row`,
        NAMED_STRUCT(
          '__fl_event',
          `f`.`landed_at`,
          '__fl_t0_0',
          `f`.`flight_id`,
          '__fl_h',
          XXHASH64(
            `f`.`flight_id`,
            `f`.`arr_delay`,
            CASE WHEN `f`.`arr_delay` = 0 THEN CAST(`f`.`arr_delay` AS STRING) END
          )
        ) AS `__fl_high`,
        NAMED_STRUCT(
          '__fl_event',
          `f`.`landed_at`,
          '__fl_t0_0',
          `f`.`flight_id`,
          '__fl_h',
          ~XXHASH64(
            `f`.`flight_id`,
            `f`.`arr_delay`,
            CASE WHEN `f`.`arr_delay` = 0 THEN CAST(`f`.`arr_delay` AS STRING) END
          )
        ) AS `__fl_low`
      FROM `memory`.`main`.`plane_legs` AS `f`
      LEFT SEMI JOIN (
        SELECT DISTINCT
          `l`.`tailnum` AS `__fl_k0`
        FROM `__fl_labels` AS `l`
        WHERE
          `l`.`__fl_time` IS NOT NULL AND `l`.`tailnum` IS NOT NULL
      ) AS `k`
        ON `k`.`__fl_k0` = `f`.`tailnum`
      WHERE
        `f`.`tailnum` IS NOT NULL
        AND `f`.`landed_at` IS NOT NULL
        AND `f`.`landed_at` <= (
          SELECT
            CAST(MAX(`__fl_time`) + INTERVAL '1' DAY AS TIMESTAMP_NTZ)
          FROM `__fl_labels`
        )
        AND `f`.`landed_at` >= (
          SELECT
            CAST(MIN(`__fl_time`) - INTERVAL '1' DAY - INTERVAL '1' DAY AS TIMESTAMP_NTZ)
          FROM `__fl_labels`
        )
      UNION ALL
      SELECT
        `l`.`tailnum` AS `__fl_k0`,
        `l`.`__fl_time` AS `__fl_at`,
        `l`.`__fl_id`,
        `l`.`__fl_time`,
        NULL AS `__fl_row`,
        NULL AS `__fl_high`,
        NULL AS `__fl_low`
      FROM `__fl_labels` AS `l`
      WHERE
        `l`.`__fl_time` IS NOT NULL AND `l`.`tailnum` IS NOT NULL
    ) AS `t`
  ) AS `m`
  WHERE
    `m`.`__fl_id` IS NOT NULL AND `m`.`__fl_row` IS NOT NULL
) AS `f`;

-- Every label once, in its order, with the features of its rows.
SELECT
  `__fl_labels`.`tailnum`,
  `__fl_labels`.`origin`,
  `__fl_labels`.`dest`,
  `__fl_labels`.`hour`,
  `__fl_labels`.`predicted_at`,
  CASE
    WHEN `plane_legs`.`__fl_id` IS NULL
    THEN CAST('0' AS DOUBLE)
    ELSE `plane_legs`.`arr_delay`
  END AS `plane_legs__arr_delay`
FROM `__fl_labels`
LEFT JOIN `plane_legs__rows` AS `plane_legs`
  ON `plane_legs`.`__fl_id` = `__fl_labels`.`__fl_id` AND `plane_legs`.`__fl_rank` = 1
ORDER BY
  `__fl_labels`.`__fl_id`;
