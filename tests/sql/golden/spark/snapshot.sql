-- snapshot of weather at 2013-12-01T12:00:00+00:00
-- Paste it whole: the last statement returns the rows, what the others create is temporary.

-- Times without a zone are UTC (rule 8).
SET TIME ZONE 'UTC';

-- What can't be cast is an error, never a NULL.
SET spark.sql.ansi.enabled = true;

-- The spine: every row numbered in its order, its time in UTC (rules 6 and 8).
CACHE TABLE `__fl_labels` AS
SELECT
  MONOTONICALLY_INCREASING_ID() AS `__fl_id`,
  CAST('2013-12-01 12:00:00.000000' AS TIMESTAMP_NTZ) AS `__fl_time`,
  `__fl_k0`
FROM (
  SELECT DISTINCT
    `f`.`airport` AS `__fl_k0`
  FROM `memory`.`main`.`weather` AS `f`
  WHERE
    `f`.`airport` IS NOT NULL
) AS `entities`;

-- weather: the newest row of each key (rule 3).
CACHE TABLE `weather__rows` AS
SELECT
  `l`.`__fl_id`,
  1 AS `__fl_rank`,
  `f`.`__fl_event`,
  `f`.`wind`
FROM `__fl_labels` AS `l`
INNER JOIN (
  SELECT
    `b`.`__fl_k0`,
    `b`.`__fl_row`.`__fl_event` AS `__fl_event`,
    `b`.`__fl_row`.`wind` AS `wind`
  FROM (
    SELECT
      `f`.`airport` AS `__fl_k0`,
      MAX(
        NAMED_STRUCT(
          '__fl_event',
          TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`f`.`at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ)),
          'known_at',
          `f`.`known_at`,
          'wind',
          `f`.`wind`,
          '__fl_t1_1',
          CASE WHEN `f`.`wind` = 0 THEN CAST(`f`.`wind` AS STRING) END
        )
      ) AS `__fl_row`
    FROM `memory`.`main`.`weather` AS `f`
    WHERE
      `f`.`airport` IS NOT NULL
      AND `f`.`at` IS NOT NULL
      AND `f`.`known_at` IS NOT NULL
      AND CASE
        WHEN `f`.`known_at` > TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`f`.`at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ))
        THEN `f`.`known_at`
        ELSE TIMESTAMPADD(MICROSECOND, UNIX_MICROS(`f`.`at`), CAST('1970-01-01 00:00:00' AS TIMESTAMP_NTZ))
      END <= CAST('2013-12-01 12:00:00.000000' AS TIMESTAMP_NTZ)
    GROUP BY
      `f`.`airport`
  ) AS `b`
) AS `f`
  ON `l`.`__fl_k0` = `f`.`__fl_k0`;

-- Every label once, in its order, with the features of its rows.
SELECT
  `__fl_labels`.`__fl_k0` AS `airport`,
  UNIX_MICROS(CAST(`weather`.`__fl_event` AS TIMESTAMP)) AS `__fl_event_time`,
  CAST(NULL AS BIGINT) AS `__fl_valid_to`,
  `weather`.`wind`
FROM `__fl_labels`
INNER JOIN `weather__rows` AS `weather`
  ON `weather`.`__fl_id` = `__fl_labels`.`__fl_id` AND `weather`.`__fl_rank` = 1
ORDER BY
  `__fl_labels`.`__fl_id`;
