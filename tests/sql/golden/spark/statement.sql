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
), `origin_now__rows` AS (
  /* origin_now: the newest row at or before each label, ties by known_at, then the content (rules 1 and 3);
__fl_rank 2 has expired by the label's time (rule 2). */
  SELECT
    `f`.`__fl_id`,
    CASE WHEN `f`.`__fl_event` >= `f`.`__fl_time` - INTERVAL '3' HOUR THEN 1 ELSE 2 END AS `__fl_rank`,
    `f`.`__fl_time`,
    `f`.`__fl_event`,
    `f`.`wind`
  FROM (
    SELECT
      `m`.`__fl_id`,
      `m`.`__fl_time`,
      `m`.`__fl_row`.`__fl_event` AS `__fl_event`,
      `m`.`__fl_row`.`wind` AS `wind`
    FROM (
      SELECT
        `__fl_id`,
        `__fl_time`,
        MAX(`__fl_row`) OVER (
          PARTITION BY `__fl_k0`
          ORDER BY `__fl_at`, `__fl_id` NULLS FIRST
          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS `__fl_row`
      FROM (
        SELECT
          `f`.`airport` AS `__fl_k0`,
          CASE
            WHEN `f`.`known_at` > TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`f`.`at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ))
            THEN `f`.`known_at`
            ELSE TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`f`.`at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ))
          END AS `__fl_at`,
          CAST(NULL AS BIGINT) AS `__fl_id`,
          CAST(NULL AS TIMESTAMP_NTZ) AS `__fl_time`,
          NAMED_STRUCT(
            '__fl_event',
            TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`f`.`at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)),
            'known_at',
            `f`.`known_at`,
            'wind',
            `f`.`wind`,
            '__fl_t1_1',
            CASE WHEN `f`.`wind` = 0 THEN CAST(`f`.`wind` AS STRING) END
          ) AS `__fl_row`
        FROM `memory`.`main`.`weather` AS `f`
        LEFT SEMI JOIN (
          SELECT DISTINCT
            `l`.`origin` AS `__fl_k0`
          FROM `__fl_labels` AS `l`
          WHERE
            `l`.`__fl_time` IS NOT NULL AND `l`.`origin` IS NOT NULL
        ) AS `k`
          ON `k`.`__fl_k0` = `f`.`airport`
        WHERE
          `f`.`airport` IS NOT NULL
          AND `f`.`at` IS NOT NULL
          AND `f`.`known_at` IS NOT NULL
          AND `f`.`at` <= (
            SELECT
              CAST(MAX(`__fl_time`) + INTERVAL '1' DAY AS TIMESTAMP)
            FROM `__fl_labels`
          )
          AND `f`.`at` >= (
            SELECT
              CAST(MIN(`__fl_time`) - INTERVAL '3' HOUR - INTERVAL '1' DAY AS TIMESTAMP)
            FROM `__fl_labels`
          )
        UNION ALL
        SELECT
          `l`.`origin` AS `__fl_k0`,
          `l`.`__fl_time` AS `__fl_at`,
          `l`.`__fl_id`,
          `l`.`__fl_time`,
          NULL AS `__fl_row`
        FROM `__fl_labels` AS `l`
        WHERE
          `l`.`__fl_time` IS NOT NULL AND `l`.`origin` IS NOT NULL
      ) AS `t`
    ) AS `m`
    WHERE
      `m`.`__fl_id` IS NOT NULL AND `m`.`__fl_row` IS NOT NULL
  ) AS `f`
), `dest_now__rows` AS (
  /* dest_now: the newest row at or before each label, ties by known_at, then the content (rules 1 and 3);
__fl_rank 2 has expired by the label's time (rule 2). */
  SELECT
    `f`.`__fl_id`,
    CASE WHEN `f`.`__fl_event` >= `f`.`__fl_time` - INTERVAL '3' HOUR THEN 1 ELSE 2 END AS `__fl_rank`,
    `f`.`__fl_time`,
    `f`.`__fl_event`,
    `f`.`wind`
  FROM (
    SELECT
      `m`.`__fl_id`,
      `m`.`__fl_time`,
      `m`.`__fl_row`.`__fl_event` AS `__fl_event`,
      `m`.`__fl_row`.`wind` AS `wind`
    FROM (
      SELECT
        `__fl_id`,
        `__fl_time`,
        MAX(`__fl_row`) OVER (
          PARTITION BY `__fl_k0`
          ORDER BY `__fl_at`, `__fl_id` NULLS FIRST
          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS `__fl_row`
      FROM (
        SELECT
          `f`.`airport` AS `__fl_k0`,
          CASE
            WHEN `f`.`known_at` > TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`f`.`at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ))
            THEN `f`.`known_at`
            ELSE TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`f`.`at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ))
          END AS `__fl_at`,
          CAST(NULL AS BIGINT) AS `__fl_id`,
          CAST(NULL AS TIMESTAMP_NTZ) AS `__fl_time`,
          NAMED_STRUCT(
            '__fl_event',
            TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`f`.`at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)),
            'known_at',
            `f`.`known_at`,
            'wind',
            `f`.`wind`,
            '__fl_t1_1',
            CASE WHEN `f`.`wind` = 0 THEN CAST(`f`.`wind` AS STRING) END
          ) AS `__fl_row`
        FROM `memory`.`main`.`weather` AS `f`
        LEFT SEMI JOIN (
          SELECT DISTINCT
            `l`.`dest` AS `__fl_k0`
          FROM `__fl_labels` AS `l`
          WHERE
            `l`.`__fl_time` IS NOT NULL AND `l`.`dest` IS NOT NULL
        ) AS `k`
          ON `k`.`__fl_k0` = `f`.`airport`
        WHERE
          `f`.`airport` IS NOT NULL
          AND `f`.`at` IS NOT NULL
          AND `f`.`known_at` IS NOT NULL
          AND `f`.`at` <= (
            SELECT
              CAST(MAX(`__fl_time`) + INTERVAL '1' DAY AS TIMESTAMP)
            FROM `__fl_labels`
          )
          AND `f`.`at` >= (
            SELECT
              CAST(MIN(`__fl_time`) - INTERVAL '3' HOUR - INTERVAL '1' DAY AS TIMESTAMP)
            FROM `__fl_labels`
          )
        UNION ALL
        SELECT
          `l`.`dest` AS `__fl_k0`,
          `l`.`__fl_time` AS `__fl_at`,
          `l`.`__fl_id`,
          `l`.`__fl_time`,
          NULL AS `__fl_row`
        FROM `__fl_labels` AS `l`
        WHERE
          `l`.`__fl_time` IS NOT NULL AND `l`.`dest` IS NOT NULL
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
  `origin_now`.`wind` AS `origin_now__wind`,
  `dest_now`.`wind` AS `dest_now__wind`
FROM `__fl_labels`
LEFT JOIN `origin_now__rows` AS `origin_now`
  ON `origin_now`.`__fl_id` = `__fl_labels`.`__fl_id` AND `origin_now`.`__fl_rank` = 1
LEFT JOIN `dest_now__rows` AS `dest_now`
  ON `dest_now`.`__fl_id` = `__fl_labels`.`__fl_id` AND `dest_now`.`__fl_rank` = 1
