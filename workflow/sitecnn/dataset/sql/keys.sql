-- Of several records with one key on a board, the best status stays (ok, unstable, failed), of those the one taken
-- last, of those the last in order of files and lines. Given are the board's files, in the variable `paths`.

CREATE OR REPLACE TABLE superseded AS
WITH rows AS NOT MATERIALIZED (
    SELECT key, status, measured_at, origin, line, filename,
    FROM read_parquet(getvariable('paths'), hive_partitioning = false, filename = true)
), doubled AS (
    SELECT key FROM rows GROUP BY key HAVING min(line) < max(line) OR min(origin) < max(origin)
)
SELECT origin, line, filename,
FROM (SELECT DISTINCT * FROM rows SEMI JOIN doubled USING (key))
QUALIFY row_number() OVER (
    PARTITION BY key
    ORDER BY list_position($statuses_list, status), measured_at DESC NULLS LAST, origin DESC, line DESC
) > 1;
