-- Of several records with one key on a board, the best status stays (ok, unstable, failed), of those the one taken
-- last, of those the last in order of files and lines. Given are
-- the boards' files, in the variable `paths`.

CREATE OR REPLACE TEMP VIEW rows AS
FROM read_parquet(getvariable('paths'), hive_partitioning = true, hive_types_autocast = false,
    filename = true);

CREATE OR REPLACE TABLE doubled AS
SELECT board, key
FROM rows
GROUP BY board, key
HAVING min(line) < max(line) OR min(origin) < max(origin);

CREATE OR REPLACE TABLE superseded AS
SELECT origin, line, filename,
FROM (SELECT DISTINCT board, key, status, measured_at, origin, line, filename FROM rows SEMI JOIN doubled USING (board, key))
QUALIFY row_number() OVER (
    PARTITION BY board, key
    ORDER BY list_position($statuses_list, status), measured_at DESC NULLS LAST, origin DESC, line DESC
) > 1;
