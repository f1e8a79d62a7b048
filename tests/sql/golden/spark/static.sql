-- training set of service, mode known_at
-- Paste it whole: the last statement returns the rows, what the others create is temporary.

-- Times without a zone are UTC (rule 8).
SET TIME ZONE 'UTC';

-- What can't be cast is an error, never a NULL.
SET spark.sql.ansi.enabled = true;

-- The labels as they come, each with a number that grows.
CACHE TABLE `__fl_numbered` AS
SELECT
  MONOTONICALLY_INCREASING_ID() AS `__fl_id`,
  `tailnum`,
  `origin`,
  `dest`,
  `hour`,
  `predicted_at`
FROM `memory`.`main`.`labels`;

-- The spine: every row numbered in its order, its time in UTC (rules 6 and 8).
CACHE TABLE `__fl_labels` AS
SELECT
  `n`.`__fl_id` - `p`.`__fl_shift` AS `__fl_id`,
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

-- facts: static, joined on its keys alone (rule 9).
CACHE TABLE `facts__rows` AS
SELECT
  `l`.`__fl_id`,
  1 AS `__fl_rank`,
  `f`.`seats`
FROM `__fl_labels` AS `l`
INNER JOIN `memory`.`main`.`facts` AS `f`
  ON `l`.`tailnum` = `f`.`tailnum`;

-- Every label once, in its order, with the features of its rows.
SELECT
  `__fl_labels`.`tailnum`,
  `__fl_labels`.`origin`,
  `__fl_labels`.`dest`,
  `__fl_labels`.`hour`,
  `__fl_labels`.`predicted_at`,
  `facts`.`seats` AS `facts__seats`
FROM `__fl_labels`
LEFT JOIN `facts__rows` AS `facts`
  ON `facts`.`__fl_id` = `__fl_labels`.`__fl_id` AND `facts`.`__fl_rank` = 1
ORDER BY
  `__fl_labels`.`__fl_id`;
