WITH `__fl_labels` AS (
  /* The spine: every row numbered in its order, its time in UTC (rules 6 and 8). */
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
  FROM `memory`.`main`.`labels`
), `hourly__rows` AS (
  /* hourly: the newest row before each label, ties by the content (rules 1 and 3);
__fl_rank 2 has expired by the label's time (rule 2). */
  SELECT
    `f`.`__fl_id`,
    1 AS `__fl_rank`,
    `f`.`__fl_time`,
    `f`.`__fl_event`,
    `f`.`n`
  FROM (
    SELECT
      `m`.`__fl_id`,
      `m`.`__fl_time`,
      `m`.`__fl_row`.`__fl_event` AS `__fl_event`,
      `m`.`__fl_row`.`n` AS `n`
    FROM (
      SELECT
        `__fl_id`,
        `__fl_time`,
        MAX(`__fl_row`) OVER (
          PARTITION BY `__fl_k0`, `__fl_k1`
          ORDER BY `__fl_at`, `__fl_id` NULLS FIRST
          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS `__fl_row`
      FROM (
        SELECT
          `f`.`airport` AS `__fl_k0`,
          `f`.`hour` AS `__fl_k1`,
          CAST(`f`.`day` AS TIMESTAMP_NTZ) + INTERVAL '1' DAY AS `__fl_at`,
          CAST(NULL AS BIGINT) AS `__fl_id`,
          CAST(NULL AS TIMESTAMP_NTZ) AS `__fl_time`,
          NAMED_STRUCT('__fl_event', CAST(`f`.`day` AS TIMESTAMP_NTZ), 'n', `f`.`n`) AS `__fl_row`
        FROM `memory`.`main`.`hourly` AS `f`
        LEFT SEMI JOIN (
          SELECT DISTINCT
            `l`.`origin` AS `__fl_k0`,
            `l`.`hour` AS `__fl_k1`
          FROM `__fl_labels` AS `l`
          WHERE
            `l`.`__fl_time` IS NOT NULL
            AND `l`.`origin` IS NOT NULL
            AND `l`.`hour` IS NOT NULL
        ) AS `k`
          ON `k`.`__fl_k0` = `f`.`airport` AND `k`.`__fl_k1` = `f`.`hour`
        WHERE
          `f`.`airport` IS NOT NULL
          AND `f`.`hour` IS NOT NULL
          AND `f`.`day` IS NOT NULL
          AND `f`.`day` <= (
            SELECT
              CAST(MAX(`__fl_time`) + INTERVAL '1' DAY AS DATE)
            FROM `__fl_labels`
          )
        UNION ALL
        SELECT
          `l`.`origin` AS `__fl_k0`,
          `l`.`hour` AS `__fl_k1`,
          `l`.`__fl_time` AS `__fl_at`,
          `l`.`__fl_id`,
          `l`.`__fl_time`,
          NULL AS `__fl_row`
        FROM `__fl_labels` AS `l`
        WHERE
          `l`.`__fl_time` IS NOT NULL
          AND `l`.`origin` IS NOT NULL
          AND `l`.`hour` IS NOT NULL
      ) AS `t`
    ) AS `m`
    WHERE
      `m`.`__fl_id` IS NOT NULL AND `m`.`__fl_row` IS NOT NULL
  ) AS `f`
)
SELECT
  `__fl_labels`.`tailnum`,
  `__fl_labels`.`origin`,
  `__fl_labels`.`dest`,
  `__fl_labels`.`hour`,
  `__fl_labels`.`predicted_at`,
  `hourly`.`n` AS `hourly__n`
FROM `__fl_labels`
LEFT JOIN `hourly__rows` AS `hourly`
  ON `hourly`.`__fl_id` = `__fl_labels`.`__fl_id` AND `hourly`.`__fl_rank` = 1
