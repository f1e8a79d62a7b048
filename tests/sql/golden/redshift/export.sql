CREATE TABLE IF NOT EXISTS "marts"."featurelayer_exports" (
  "run" VARCHAR(MAX),
  "store" VARCHAR(MAX),
  "view" VARCHAR(MAX),
  "definition" VARCHAR(MAX),
  "keys" VARCHAR(MAX),
  "dbt_invocation_id" VARCHAR(MAX),
  "version" BIGINT,
  "as_of" TIMESTAMP,
  "started_at" TIMESTAMP,
  "finished_at" TIMESTAMP,
  "entities" BIGINT,
  "written" BIGINT,
  "unchanged" BIGINT,
  "refused" BIGINT,
  "tombstones" BIGINT,
  "bytes" BIGINT
);

CREATE TABLE IF NOT EXISTS "marts"."featurelayer_export_items" (
  "store" VARCHAR(MAX),
  "view" VARCHAR(MAX),
  "run" VARCHAR(MAX),
  "version" BIGINT,
  "kind" VARCHAR(MAX),
  "pk" VARCHAR(MAX),
  "f" VARCHAR(MAX),
  "schema" VARCHAR(MAX),
  "event_time" BIGINT,
  "valid_to" BIGINT,
  "hash" VARCHAR(MAX),
  "refused" BOOLEAN
);

SELECT
  "run",
  "store",
  "view",
  "definition",
  "keys",
  "dbt_invocation_id",
  "version",
  "as_of",
  "started_at",
  "finished_at",
  "entities",
  "written",
  "unchanged",
  "refused",
  "tombstones",
  "bytes"
FROM "marts"."featurelayer_exports"
WHERE
  "store" = 'dynamodb:features' AND "view" = 'plane_legs'
ORDER BY
  "version",
  "run";

INSERT INTO "marts"."featurelayer_exports" (
  "run",
  "store",
  "view",
  "definition",
  "keys",
  "dbt_invocation_id",
  "version",
  "as_of",
  "started_at",
  "finished_at",
  "entities",
  "written",
  "unchanged",
  "refused",
  "tombstones",
  "bytes"
)
VALUES
  (
    CAST('r2' AS VARCHAR(MAX)),
    CAST('dynamodb:features' AS VARCHAR(MAX)),
    CAST('plane_legs' AS VARCHAR(MAX)),
    CAST('d' AS VARCHAR(MAX)),
    CAST('[["plane"], ["text"]]' AS VARCHAR(MAX)),
    CAST('i' AS VARCHAR(MAX)),
    CAST('1704110400000000' AS BIGINT),
    CAST('2024-01-01T12:00:00' AS TIMESTAMP),
    CAST('2024-01-01T12:00:00' AS TIMESTAMP),
    CAST('2024-01-01T12:00:00' AS TIMESTAMP),
    CAST('3' AS BIGINT),
    CAST('1' AS BIGINT),
    CAST('2' AS BIGINT),
    CAST('0' AS BIGINT),
    CAST('0' AS BIGINT),
    CAST('80' AS BIGINT)
  );

CREATE TEMPORARY TABLE "__fl_now" AS
SELECT
  "e"."pk",
  "e"."event_time",
  MD5(
    'd|86400000000|' || "e"."f" || '|' || COALESCE(CAST("e"."event_time" AS VARCHAR(MAX)), '') || '|' || COALESCE(CAST("e"."valid_to" AS VARCHAR(MAX)), '')
  ) AS "hash"
FROM "__fl_frame_1" AS "e";

SELECT
  "pk"
FROM "__fl_now"
GROUP BY
  "pk"
HAVING
  COUNT(*) > 1
ORDER BY
  "pk"
LIMIT 3;

SELECT
  COUNT(*),
  MAX("event_time")
FROM "__fl_now";

CREATE TEMPORARY TABLE "__fl_state" AS
SELECT
  "pk",
  "kind",
  "hash",
  "event_time",
  "version"
FROM (
  SELECT
    "pk",
    "kind",
    "hash",
    "f",
    "schema",
    "event_time",
    "valid_to",
    "version"
  FROM (
    SELECT
      "i"."pk",
      "i"."kind",
      "i"."hash",
      "i"."f",
      "i"."schema",
      "i"."event_time",
      "i"."valid_to",
      "i"."version",
      ROW_NUMBER() OVER (PARTITION BY "i"."pk" ORDER BY "i"."version" DESC NULLS LAST) AS "__fl_rank"
    FROM (
      SELECT
        "i".*
      FROM "marts"."featurelayer_export_items" AS "i"
      JOIN "marts"."featurelayer_exports" AS "l"
        ON "l"."run" = "i"."run" AND "l"."view" = "i"."view"
      WHERE
        "i"."store" = 'dynamodb:features'
        AND "i"."view" = 'plane_legs'
        AND "l"."finished_at" IS NOT NULL
        AND NOT COALESCE("i"."refused", FALSE)
    ) AS "i"
  ) AS "r"
  WHERE
    "__fl_rank" = 1
) AS "s";

CREATE TEMPORARY TABLE "__fl_state" AS
SELECT
  "pk",
  'changed' AS "kind",
  CAST(NULL AS VARCHAR(MAX)) AS "hash",
  "event_time",
  "version"
FROM "__fl_frame_1";

CREATE TEMPORARY TABLE "__fl_doubt" AS
SELECT
  "i"."pk",
  MAX("i"."event_time") AS "event_time",
  MAX(CASE WHEN "i"."kind" = 'removed' THEN 0 ELSE 1 END) AS "valued"
FROM "marts"."featurelayer_export_items" AS "i"
JOIN "marts"."featurelayer_exports" AS "l"
  ON "l"."run" = "i"."run" AND "l"."view" = "i"."view"
WHERE
  "i"."store" = 'dynamodb:features'
  AND "i"."view" = 'plane_legs'
  AND "l"."finished_at" IS NULL
GROUP BY
  "i"."pk";

CREATE TEMPORARY TABLE "__fl_changed" AS
SELECT
  COALESCE("k"."pk", "d"."pk") AS "pk",
  CASE
    WHEN "k"."now_pk" IS NULL
    THEN 'removed'
    WHEN "d"."pk" IS NOT NULL
    THEN 'doubt'
    WHEN (
      "k"."was_pk" IS NULL OR "k"."was" = 'removed'
    )
    THEN 'new'
    ELSE 'changed'
  END AS "kind",
  "k"."hash",
  CASE
    WHEN "d"."event_time" > "k"."was_at"
    THEN "d"."event_time"
    ELSE COALESCE("k"."was_at", "d"."event_time")
  END AS "event_time"
FROM (
  SELECT
    COALESCE("n"."pk", "s"."pk") AS "pk",
    "n"."pk" AS "now_pk",
    "n"."hash",
    "s"."pk" AS "was_pk",
    "s"."kind" AS "was",
    "s"."hash" AS "was_hash",
    "s"."event_time" AS "was_at"
  FROM "__fl_now" AS "n"
  FULL JOIN "__fl_state" AS "s"
    ON "s"."pk" = "n"."pk"
) AS "k"
FULL JOIN "__fl_doubt" AS "d"
  ON "d"."pk" = "k"."pk"
WHERE
  (
    (
      "k"."now_pk" IS NOT NULL
      AND (
        (
          "k"."was_pk" IS NULL OR "k"."was" = 'removed'
        )
        OR NOT COALESCE("k"."was_hash" = "k"."hash", "k"."was_hash" IS NULL AND "k"."hash" IS NULL)
        OR "d"."pk" IS NOT NULL
      )
    )
    OR (
      "k"."now_pk" IS NULL
      AND (
        "d"."pk" IS NOT NULL
        OR (
          "k"."was" <> 'removed'
          AND (
            "k"."was_at" IS NULL OR "k"."was_at" >= 1704024000000000
          )
        )
      )
    )
  );

SELECT
  "kind",
  COUNT(*)
FROM "__fl_changed"
GROUP BY
  "kind";

SELECT
  "kind",
  COUNT(*),
  SUM("size"),
  SUM(CEIL(CAST("size" AS DOUBLE PRECISION) / 1024.0))
FROM (
  SELECT
    "r"."kind",
    60 + COALESCE(OCTET_LENGTH("r"."pk"), 0) + COALESCE(OCTET_LENGTH("r"."f"), 0) AS "size"
  FROM (
    SELECT
      "c"."kind",
      "c"."pk",
      "e"."f"
    FROM "__fl_changed" AS "c"
    LEFT JOIN "__fl_frame_1" AS "e"
      ON "e"."pk" = "c"."pk"
  ) AS "r"
) AS "s"
GROUP BY
  "kind";

INSERT INTO "marts"."featurelayer_export_items" (
  "store",
  "view",
  "run",
  "version",
  "kind",
  "pk",
  "f",
  "schema",
  "event_time",
  "valid_to",
  "hash",
  "refused"
)
SELECT
  CAST('dynamodb:features' AS VARCHAR(MAX)) AS "store",
  CAST('plane_legs' AS VARCHAR(MAX)) AS "view",
  CAST('r2' AS VARCHAR(MAX)) AS "run",
  CAST('1704110400000000' AS BIGINT) AS "version",
  "c"."kind",
  "c"."pk",
  "e"."f",
  CAST('d' AS VARCHAR(MAX)) AS "schema",
  "e"."event_time",
  "e"."valid_to",
  "c"."hash",
  CAST(NULL AS BOOLEAN) AS "refused"
FROM "__fl_changed" AS "c"
INNER JOIN "__fl_frame_1" AS "e"
  ON "e"."pk" = "c"."pk"
WHERE
  "c"."kind" <> 'removed';

INSERT INTO "marts"."featurelayer_export_items" (
  "store",
  "view",
  "run",
  "version",
  "kind",
  "pk",
  "f",
  "schema",
  "event_time",
  "valid_to",
  "hash",
  "refused"
)
SELECT
  CAST('dynamodb:features' AS VARCHAR(MAX)) AS "store",
  CAST('plane_legs' AS VARCHAR(MAX)) AS "view",
  CAST('r2' AS VARCHAR(MAX)) AS "run",
  CAST('1704110400000000' AS BIGINT) AS "version",
  "c"."kind",
  "c"."pk",
  CAST(NULL AS VARCHAR(MAX)) AS "f",
  CAST('d' AS VARCHAR(MAX)) AS "schema",
  "c"."event_time",
  CAST(NULL AS BIGINT) AS "valid_to",
  "c"."hash",
  CAST(NULL AS BOOLEAN) AS "refused"
FROM "__fl_changed" AS "c"
WHERE
  "c"."kind" = 'removed';

SELECT
  "kind",
  COUNT(*),
  SUM("size"),
  SUM(CEIL(CAST("size" AS DOUBLE PRECISION) / 1024.0))
FROM (
  SELECT
    "r"."kind",
    60 + COALESCE(OCTET_LENGTH("r"."pk"), 0) + COALESCE(OCTET_LENGTH("r"."f"), 0) AS "size"
  FROM (
    SELECT
      "i"."kind",
      "i"."pk",
      "i"."f"
    FROM "marts"."featurelayer_export_items" AS "i"
    WHERE
      "i"."store" = 'dynamodb:features'
      AND "i"."view" = 'plane_legs'
      AND "i"."run" = 'r2'
  ) AS "r"
) AS "s"
GROUP BY
  "kind";

SELECT
  "pk",
  "size",
  "length",
  COUNT(*) OVER ()
FROM (
  SELECT
    "r"."pk",
    60 + COALESCE(OCTET_LENGTH("r"."pk"), 0) + COALESCE(OCTET_LENGTH("r"."f"), 0) AS "size",
    OCTET_LENGTH("r"."pk") AS "length"
  FROM (
    SELECT
      "i"."kind",
      "i"."pk",
      "i"."f"
    FROM "marts"."featurelayer_export_items" AS "i"
    WHERE
      "i"."store" = 'dynamodb:features'
      AND "i"."view" = 'plane_legs'
      AND "i"."run" = 'r2'
  ) AS "r"
) AS "s"
WHERE
  (
    "size" > 409600 OR "length" > 2048
  )
ORDER BY
  "pk"
LIMIT 1000;

SELECT
  "pk",
  "size",
  "length",
  COUNT(*) OVER ()
FROM (
  SELECT
    "r"."pk",
    60 + COALESCE(OCTET_LENGTH("r"."pk"), 0) + COALESCE(OCTET_LENGTH("r"."f"), 0) AS "size",
    OCTET_LENGTH("r"."pk") AS "length"
  FROM (
    SELECT
      "c"."pk",
      "e"."f"
    FROM "__fl_changed" AS "c"
    INNER JOIN "__fl_frame_1" AS "e"
      ON "e"."pk" = "c"."pk"
  ) AS "r"
) AS "s"
WHERE
  (
    "size" > 409600 OR "length" > 2048
  )
ORDER BY
  "pk"
LIMIT 1000;

SELECT
  COUNT(*),
  COUNT("c"."pk")
FROM (
  SELECT
    "s"."pk"
  FROM "__fl_state" AS "s"
  WHERE
    "s"."kind" <> 'removed'
    AND (
      "s"."event_time" IS NULL OR "s"."event_time" >= 1704024000000000
    )
    AND NOT EXISTS(
      SELECT
        1
      FROM "marts"."featurelayer_exports" AS "l"
      WHERE
        "l"."store" = 'dynamodb:features'
        AND "l"."view" = 'plane_legs'
        AND "l"."version" = "s"."version"
        AND "l"."keys" <> '[["plane"], ["text"]]'
    )
  UNION ALL
  SELECT
    "d"."pk"
  FROM "__fl_doubt" AS "d"
  WHERE
    "d"."valued" = 1
    AND (
      "d"."event_time" IS NULL OR "d"."event_time" >= 1704024000000000
    )
    AND NOT EXISTS(
      SELECT
        1
      FROM "__fl_state" AS "s"
      WHERE
        "s"."pk" = "d"."pk" AND "s"."kind" <> 'removed'
    )
) AS "h"
LEFT JOIN (
  SELECT
    "pk"
  FROM "__fl_changed"
  WHERE
    "kind" = 'removed'
) AS "c"
  ON "c"."pk" = "h"."pk";

SELECT
  "i"."pk",
  "i"."f",
  "i"."schema",
  "i"."event_time",
  "i"."valid_to"
FROM "marts"."featurelayer_export_items" AS "i"
WHERE
  "i"."store" = 'dynamodb:features'
  AND "i"."view" = 'plane_legs'
  AND "i"."run" = 'r2'
  AND "i"."kind" = 'changed';

SELECT
  "pk",
  "f",
  "schema",
  "event_time",
  "valid_to"
FROM (
  SELECT
    "pk",
    "kind",
    "hash",
    "f",
    "schema",
    "event_time",
    "valid_to",
    "version"
  FROM (
    SELECT
      "i"."pk",
      "i"."kind",
      "i"."hash",
      "i"."f",
      "i"."schema",
      "i"."event_time",
      "i"."valid_to",
      "i"."version",
      ROW_NUMBER() OVER (PARTITION BY "i"."pk" ORDER BY "i"."version" DESC NULLS LAST) AS "__fl_rank"
    FROM (
      SELECT
        "i".*
      FROM "marts"."featurelayer_export_items" AS "i"
      JOIN "marts"."featurelayer_exports" AS "l"
        ON "l"."run" = "i"."run" AND "l"."view" = "i"."view"
      WHERE
        "i"."store" = 'dynamodb:features'
        AND "i"."view" = 'plane_legs'
        AND (
          "l"."finished_at" IS NOT NULL OR "i"."version" = 1704110400000000
        )
        AND "i"."version" <= 1704110400000000
        AND "i"."pk" IN (
          SELECT
            "pk"
          FROM "__fl_frame_1"
        )
    ) AS "i"
  ) AS "r"
  WHERE
    "__fl_rank" = 1
) AS "n"
WHERE
  "kind" <> 'removed';

UPDATE "marts"."featurelayer_export_items" SET "refused" = TRUE
WHERE
  "store" = 'dynamodb:features'
  AND "view" = 'plane_legs'
  AND "run" = 'r2'
  AND "pk" IN (
    SELECT
      "pk"
    FROM "__fl_frame_1"
  );

UPDATE "marts"."featurelayer_exports" SET "run" = CAST('r2' AS VARCHAR(MAX)), "store" = CAST('dynamodb:features' AS VARCHAR(MAX)), "view" = CAST('plane_legs' AS VARCHAR(MAX)), "definition" = CAST('d' AS VARCHAR(MAX)), "keys" = CAST('[["plane"], ["text"]]' AS VARCHAR(MAX)), "dbt_invocation_id" = CAST('i' AS VARCHAR(MAX)), "version" = CAST('1704110400000000' AS BIGINT), "as_of" = CAST('2024-01-01T12:00:00' AS TIMESTAMP), "started_at" = CAST('2024-01-01T12:00:00' AS TIMESTAMP), "finished_at" = CAST('2024-01-01T12:00:00' AS TIMESTAMP), "entities" = CAST('3' AS BIGINT), "written" = CAST('1' AS BIGINT), "unchanged" = CAST('2' AS BIGINT), "refused" = CAST('0' AS BIGINT), "tombstones" = CAST('0' AS BIGINT), "bytes" = CAST('80' AS BIGINT)
WHERE
  "store" = 'dynamodb:features' AND "view" = 'plane_legs' AND "run" = 'r2';

DELETE FROM "marts"."featurelayer_export_items"
WHERE
  "store" = 'dynamodb:features'
  AND "view" = 'plane_legs'
  AND ("run", "pk") IN (
    SELECT
      "run",
      "pk"
    FROM (
      SELECT
        "i"."run",
        "i"."pk",
        LEAD("i"."version") OVER (PARTITION BY "i"."pk" ORDER BY "i"."version") AS "next"
      FROM (
        SELECT
          "i".*
        FROM "marts"."featurelayer_export_items" AS "i"
        JOIN "marts"."featurelayer_exports" AS "l"
          ON "l"."run" = "i"."run" AND "l"."view" = "i"."view"
        WHERE
          "i"."store" = 'dynamodb:features'
          AND "i"."view" = 'plane_legs'
          AND "l"."finished_at" IS NOT NULL
          AND NOT COALESCE("i"."refused", FALSE)
      ) AS "i"
    ) AS "f"
    WHERE
      "next" <= 1704024000000000
  );

DELETE FROM "marts"."featurelayer_export_items"
WHERE
  "store" = 'dynamodb:features'
  AND "view" = 'plane_legs'
  AND "version" < 1704110400000000
  AND "run" IN (
    SELECT
      "l"."run"
    FROM "marts"."featurelayer_exports" AS "l"
    WHERE
      "l"."store" = 'dynamodb:features'
      AND "l"."view" = 'plane_legs'
      AND "l"."finished_at" IS NULL
  );

DELETE FROM "marts"."featurelayer_export_items"
WHERE
  "store" = 'dynamodb:features'
  AND "view" = 'plane_legs'
  AND "kind" = 'removed'
  AND "version" <= 1702900800000000;

CREATE TEMPORARY TABLE "__fl_changed" AS
SELECT
  "k"."pk",
  CASE
    WHEN (
      "t"."pk" IS NULL OR "t"."kind" = 'removed'
    )
    THEN 'removed'
    ELSE 'changed'
  END AS "kind",
  "t"."hash"
FROM (
  SELECT
    "pk"
  FROM "__fl_state"
  UNION
  SELECT
    "pk"
  FROM "__fl_doubt"
) AS "k"
LEFT JOIN "__fl_state" AS "s"
  ON "s"."pk" = "k"."pk"
LEFT JOIN (
  SELECT
    "pk",
    "kind",
    "hash",
    "f",
    "schema",
    "event_time",
    "valid_to",
    "version"
  FROM (
    SELECT
      "i"."pk",
      "i"."kind",
      "i"."hash",
      "i"."f",
      "i"."schema",
      "i"."event_time",
      "i"."valid_to",
      "i"."version",
      ROW_NUMBER() OVER (PARTITION BY "i"."pk" ORDER BY "i"."version" DESC NULLS LAST) AS "__fl_rank"
    FROM (
      SELECT
        "i".*
      FROM "marts"."featurelayer_export_items" AS "i"
      JOIN "marts"."featurelayer_exports" AS "l"
        ON "l"."run" = "i"."run" AND "l"."view" = "i"."view"
      WHERE
        "i"."store" = 'dynamodb:features'
        AND "i"."view" = 'plane_legs'
        AND "l"."finished_at" IS NOT NULL
        AND NOT COALESCE("i"."refused", FALSE)
        AND "i"."version" <= 1704024000000000
    ) AS "i"
  ) AS "r"
  WHERE
    "__fl_rank" = 1
) AS "t"
  ON "t"."pk" = "k"."pk"
LEFT JOIN "__fl_doubt" AS "d"
  ON "d"."pk" = "k"."pk"
WHERE
  (
    (
      (
        "t"."pk" IS NULL OR "t"."kind" = 'removed'
      )
      AND NOT (
        "s"."pk" IS NULL OR "s"."kind" = 'removed'
      )
    )
    OR (
      NOT (
        "t"."pk" IS NULL OR "t"."kind" = 'removed'
      )
      AND NOT COALESCE("s"."hash" = "t"."hash", "s"."hash" IS NULL AND "t"."hash" IS NULL)
    )
    OR "d"."pk" IS NOT NULL
  );

SELECT
  COUNT(*),
  MAX("event_time")
FROM (
  SELECT
    "pk",
    "kind",
    "hash",
    "f",
    "schema",
    "event_time",
    "valid_to",
    "version"
  FROM (
    SELECT
      "i"."pk",
      "i"."kind",
      "i"."hash",
      "i"."f",
      "i"."schema",
      "i"."event_time",
      "i"."valid_to",
      "i"."version",
      ROW_NUMBER() OVER (PARTITION BY "i"."pk" ORDER BY "i"."version" DESC NULLS LAST) AS "__fl_rank"
    FROM (
      SELECT
        "i".*
      FROM "marts"."featurelayer_export_items" AS "i"
      JOIN "marts"."featurelayer_exports" AS "l"
        ON "l"."run" = "i"."run" AND "l"."view" = "i"."view"
      WHERE
        "i"."store" = 'dynamodb:features'
        AND "i"."view" = 'plane_legs'
        AND "l"."finished_at" IS NOT NULL
        AND NOT COALESCE("i"."refused", FALSE)
        AND "i"."version" <= 1704024000000000
    ) AS "i"
  ) AS "r"
  WHERE
    "__fl_rank" = 1
) AS "s"
WHERE
  "kind" <> 'removed';

INSERT INTO "marts"."featurelayer_export_items" (
  "store",
  "view",
  "run",
  "version",
  "kind",
  "pk",
  "f",
  "schema",
  "event_time",
  "valid_to",
  "hash",
  "refused"
)
SELECT
  CAST('dynamodb:features' AS VARCHAR(MAX)) AS "store",
  CAST('plane_legs' AS VARCHAR(MAX)) AS "view",
  CAST('r3' AS VARCHAR(MAX)) AS "run",
  CAST('1704110400000001' AS BIGINT) AS "version",
  "c"."kind",
  "c"."pk",
  "t"."f",
  "t"."schema",
  "t"."event_time",
  "t"."valid_to",
  "c"."hash",
  CAST(NULL AS BOOLEAN) AS "refused"
FROM "__fl_changed" AS "c"
INNER JOIN (
  SELECT
    "pk",
    "kind",
    "hash",
    "f",
    "schema",
    "event_time",
    "valid_to",
    "version"
  FROM (
    SELECT
      "i"."pk",
      "i"."kind",
      "i"."hash",
      "i"."f",
      "i"."schema",
      "i"."event_time",
      "i"."valid_to",
      "i"."version",
      ROW_NUMBER() OVER (PARTITION BY "i"."pk" ORDER BY "i"."version" DESC NULLS LAST) AS "__fl_rank"
    FROM (
      SELECT
        "i".*
      FROM "marts"."featurelayer_export_items" AS "i"
      JOIN "marts"."featurelayer_exports" AS "l"
        ON "l"."run" = "i"."run" AND "l"."view" = "i"."view"
      WHERE
        "i"."store" = 'dynamodb:features'
        AND "i"."view" = 'plane_legs'
        AND "l"."finished_at" IS NOT NULL
        AND NOT COALESCE("i"."refused", FALSE)
        AND "i"."version" <= 1704024000000000
    ) AS "i"
  ) AS "r"
  WHERE
    "__fl_rank" = 1
) AS "t"
  ON "t"."pk" = "c"."pk"
WHERE
  "c"."kind" <> 'removed';

INSERT INTO "marts"."featurelayer_export_items" (
  "store",
  "view",
  "run",
  "version",
  "kind",
  "pk",
  "f",
  "schema",
  "event_time",
  "valid_to",
  "hash",
  "refused"
)
SELECT
  CAST('dynamodb:features' AS VARCHAR(MAX)) AS "store",
  CAST('plane_legs' AS VARCHAR(MAX)) AS "view",
  CAST('r3' AS VARCHAR(MAX)) AS "run",
  CAST('1704110400000001' AS BIGINT) AS "version",
  "c"."kind",
  "c"."pk",
  CAST(NULL AS VARCHAR(MAX)) AS "f",
  CAST('' AS VARCHAR(MAX)) AS "schema",
  CAST(NULL AS BIGINT) AS "event_time",
  CAST(NULL AS BIGINT) AS "valid_to",
  "c"."hash",
  CAST(NULL AS BOOLEAN) AS "refused"
FROM "__fl_changed" AS "c"
WHERE
  "c"."kind" = 'removed';
