-- training set of service, mode known_at
-- Paste it whole: the last statement returns the rows, what the others create is temporary.

-- Times without a zone are UTC (rule 8).
SET @@time_zone = 'UTC';

-- The spine: every row numbered in its order, its time in UTC (rules 6 and 8).
CREATE TEMPORARY TABLE `__fl_labels` AS
SELECT
  ROW_NUMBER() OVER (ORDER BY
    `tailnum`,
    `origin`,
    `dest`,
    `hour`,
    `predicted_at`) - 1 AS `__fl_id`,
  DATETIME(`predicted_at`, 'UTC') AS `__fl_time`,
  `tailnum`,
  `origin`,
  `dest`,
  `hour`,
  `predicted_at`
FROM `memory`.`main`.`labels`;

-- origin_now: the newest event at or before each label among the rows available by then (rule 1), and the first of its rows
-- by known_at, then the content; the greatest comes first, NULL last (rule 3).
-- __fl_rank 2 has expired by the label's time (rule 2).
CREATE TEMPORARY TABLE `origin_now__rows` AS
WITH `origin_now__timeline` AS (
  SELECT
    `f`.`airport` AS `__fl_k0`,
    CASE
      WHEN `f`.`known_at` > DATETIME(`f`.`at`, 'UTC')
      THEN `f`.`known_at`
      ELSE DATETIME(`f`.`at`, 'UTC')
    END AS `__fl_at`,
    DATETIME(`f`.`at`, 'UTC') AS `__fl_event`,
    0 AS `__fl_is_label`,
    CAST(NULL AS INT64) AS `__fl_id`
  FROM `memory`.`main`.`weather` AS `f`
  WHERE
    `f`.`airport` IS NOT NULL
    AND `f`.`at` IS NOT NULL
    AND `f`.`known_at` IS NOT NULL
    AND EXISTS(
      SELECT
        1
      FROM `__fl_labels` AS `l`
      WHERE
        `l`.`origin` = `f`.`airport`
    )
  UNION ALL
  SELECT
    `l`.`origin` AS `__fl_k0`,
    `l`.`__fl_time` AS `__fl_at`,
    CAST(NULL AS DATETIME) AS `__fl_event`,
    1 AS `__fl_is_label`,
    `l`.`__fl_id`
  FROM `__fl_labels` AS `l`
  WHERE
    `l`.`__fl_time` IS NOT NULL AND `l`.`origin` IS NOT NULL
), `origin_now__match` AS (
  SELECT
    `m`.`__fl_id`,
    `m`.`__fl_at`,
    `m`.`__fl_k0`,
    `m`.`__fl_event`
  FROM (
    SELECT
      `__fl_id`,
      `__fl_at`,
      `__fl_is_label`,
      `__fl_k0`,
      MAX(`__fl_event`) OVER (
        PARTITION BY `__fl_k0`
        ORDER BY `__fl_at`, `__fl_is_label`
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS `__fl_event`
    FROM `origin_now__timeline`
  ) AS `m`
  WHERE
    `m`.`__fl_is_label` = 1 AND `m`.`__fl_event` IS NOT NULL
), `origin_now__found` AS (
  SELECT
    `m`.`__fl_id`,
    `m`.`__fl_at` AS `__fl_time`,
    `m`.`__fl_event`,
    ROW_NUMBER() OVER (
      PARTITION BY `m`.`__fl_id`
      ORDER BY
        `f`.`known_at` DESC,
        CASE
          WHEN `f`.`wind` IS NOT NULL
          THEN CASE WHEN IS_NAN(`f`.`wind`) THEN 1 ELSE 0 END
        END DESC,
        `f`.`wind` DESC,
        CAST(`f`.`wind` AS STRING) DESC
    ) AS `__fl_place`,
    DENSE_RANK() OVER (PARTITION BY `m`.`__fl_id` ORDER BY `f`.`known_at` DESC) AS `__fl_level`,
    DENSE_RANK() OVER (
      PARTITION BY `m`.`__fl_id`
      ORDER BY
        `f`.`known_at` DESC,
        CASE
          WHEN `f`.`wind` IS NOT NULL
          THEN CASE WHEN IS_NAN(`f`.`wind`) THEN 1 ELSE 0 END
        END DESC,
        `f`.`wind` DESC,
        CAST(`f`.`wind` AS STRING) DESC
    ) AS `__fl_content`,
    `f`.`wind`
  FROM `origin_now__match` AS `m`
  INNER JOIN `memory`.`main`.`weather` AS `f`
    ON `m`.`__fl_k0` = `f`.`airport`
    AND DATETIME(`f`.`at`, 'UTC') = `m`.`__fl_event`
    AND CASE
      WHEN `f`.`known_at` > DATETIME(`f`.`at`, 'UTC')
      THEN `f`.`known_at`
      ELSE DATETIME(`f`.`at`, 'UTC')
    END <= `m`.`__fl_at`
    AND `f`.`known_at` IS NOT NULL
)
SELECT
  `r`.`__fl_id`,
  CASE
    WHEN `r`.`__fl_event` >= DATETIME_SUB(`r`.`__fl_time`, INTERVAL 3 HOUR)
    THEN 1
    ELSE 2
  END AS `__fl_rank`,
  `r`.`__fl_time`,
  `r`.`__fl_event`,
  `r`.`__fl_tied`,
  `r`.`wind`
FROM (
  SELECT
    `r`.`__fl_id`,
    `r`.`__fl_time`,
    `r`.`__fl_event`,
    `r`.`__fl_place`,
    MAX(CASE WHEN `r`.`__fl_level` = 1 AND `r`.`__fl_content` > 1 THEN 1 ELSE 0 END) OVER (PARTITION BY `r`.`__fl_id`) AS `__fl_tied`,
    `r`.`wind`
  FROM `origin_now__found` AS `r`
) AS `r`
WHERE
  `r`.`__fl_place` = 1;

-- dest_now: the newest event at or before each label among the rows available by then (rule 1), and the first of its rows
-- by known_at, then the content; the greatest comes first, NULL last (rule 3).
-- __fl_rank 2 has expired by the label's time (rule 2).
CREATE TEMPORARY TABLE `dest_now__rows` AS
WITH `dest_now__timeline` AS (
  SELECT
    `f`.`airport` AS `__fl_k0`,
    CASE
      WHEN `f`.`known_at` > DATETIME(`f`.`at`, 'UTC')
      THEN `f`.`known_at`
      ELSE DATETIME(`f`.`at`, 'UTC')
    END AS `__fl_at`,
    DATETIME(`f`.`at`, 'UTC') AS `__fl_event`,
    0 AS `__fl_is_label`,
    CAST(NULL AS INT64) AS `__fl_id`
  FROM `memory`.`main`.`weather` AS `f`
  WHERE
    `f`.`airport` IS NOT NULL
    AND `f`.`at` IS NOT NULL
    AND `f`.`known_at` IS NOT NULL
    AND EXISTS(
      SELECT
        1
      FROM `__fl_labels` AS `l`
      WHERE
        `l`.`dest` = `f`.`airport`
    )
  UNION ALL
  SELECT
    `l`.`dest` AS `__fl_k0`,
    `l`.`__fl_time` AS `__fl_at`,
    CAST(NULL AS DATETIME) AS `__fl_event`,
    1 AS `__fl_is_label`,
    `l`.`__fl_id`
  FROM `__fl_labels` AS `l`
  WHERE
    `l`.`__fl_time` IS NOT NULL AND `l`.`dest` IS NOT NULL
), `dest_now__match` AS (
  SELECT
    `m`.`__fl_id`,
    `m`.`__fl_at`,
    `m`.`__fl_k0`,
    `m`.`__fl_event`
  FROM (
    SELECT
      `__fl_id`,
      `__fl_at`,
      `__fl_is_label`,
      `__fl_k0`,
      MAX(`__fl_event`) OVER (
        PARTITION BY `__fl_k0`
        ORDER BY `__fl_at`, `__fl_is_label`
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS `__fl_event`
    FROM `dest_now__timeline`
  ) AS `m`
  WHERE
    `m`.`__fl_is_label` = 1 AND `m`.`__fl_event` IS NOT NULL
), `dest_now__found` AS (
  SELECT
    `m`.`__fl_id`,
    `m`.`__fl_at` AS `__fl_time`,
    `m`.`__fl_event`,
    ROW_NUMBER() OVER (
      PARTITION BY `m`.`__fl_id`
      ORDER BY
        `f`.`known_at` DESC,
        CASE
          WHEN `f`.`wind` IS NOT NULL
          THEN CASE WHEN IS_NAN(`f`.`wind`) THEN 1 ELSE 0 END
        END DESC,
        `f`.`wind` DESC,
        CAST(`f`.`wind` AS STRING) DESC
    ) AS `__fl_place`,
    DENSE_RANK() OVER (PARTITION BY `m`.`__fl_id` ORDER BY `f`.`known_at` DESC) AS `__fl_level`,
    DENSE_RANK() OVER (
      PARTITION BY `m`.`__fl_id`
      ORDER BY
        `f`.`known_at` DESC,
        CASE
          WHEN `f`.`wind` IS NOT NULL
          THEN CASE WHEN IS_NAN(`f`.`wind`) THEN 1 ELSE 0 END
        END DESC,
        `f`.`wind` DESC,
        CAST(`f`.`wind` AS STRING) DESC
    ) AS `__fl_content`,
    `f`.`wind`
  FROM `dest_now__match` AS `m`
  INNER JOIN `memory`.`main`.`weather` AS `f`
    ON `m`.`__fl_k0` = `f`.`airport`
    AND DATETIME(`f`.`at`, 'UTC') = `m`.`__fl_event`
    AND CASE
      WHEN `f`.`known_at` > DATETIME(`f`.`at`, 'UTC')
      THEN `f`.`known_at`
      ELSE DATETIME(`f`.`at`, 'UTC')
    END <= `m`.`__fl_at`
    AND `f`.`known_at` IS NOT NULL
)
SELECT
  `r`.`__fl_id`,
  CASE
    WHEN `r`.`__fl_event` >= DATETIME_SUB(`r`.`__fl_time`, INTERVAL 3 HOUR)
    THEN 1
    ELSE 2
  END AS `__fl_rank`,
  `r`.`__fl_time`,
  `r`.`__fl_event`,
  `r`.`__fl_tied`,
  `r`.`wind`
FROM (
  SELECT
    `r`.`__fl_id`,
    `r`.`__fl_time`,
    `r`.`__fl_event`,
    `r`.`__fl_place`,
    MAX(CASE WHEN `r`.`__fl_level` = 1 AND `r`.`__fl_content` > 1 THEN 1 ELSE 0 END) OVER (PARTITION BY `r`.`__fl_id`) AS `__fl_tied`,
    `r`.`wind`
  FROM `dest_now__found` AS `r`
) AS `r`
WHERE
  `r`.`__fl_place` = 1;

-- Every label once, in its order, with the features of its rows.
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
ORDER BY
  `__fl_labels`.`__fl_id`;
