-- What is wrong with the rows of the files in the variable `paths`, whose runs are in `known_runs`: (file, problem).

WITH rows AS (
    FROM read_parquet(getvariable('paths'), hive_partitioning = true, hive_types_autocast = false,
        filename = true, union_by_name = true)
)
SELECT filename, concat(count(*), ' rows: ', problem)
FROM (
    SELECT filename, $impossible AS problem FROM rows
    UNION ALL
    SELECT filename, 'the run is not in the runs table' FROM rows ANTI JOIN known_runs USING (run)
)
WHERE problem IS NOT NULL
GROUP BY filename, problem
UNION ALL
SELECT concat('measurements/board=', board), concat(count(*), ' keys are those of several records')
FROM (
    SELECT board, key FROM rows GROUP BY board, key HAVING min(line) < max(line) OR min(origin) < max(origin)
)
GROUP BY board
ORDER BY ALL;
