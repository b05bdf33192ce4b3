-- A stretch of record files, typed. Given are `files` (file, origin, board): the files, and `lines` (file, line,
-- text): their new lines by number, before them the last block of each file that was read already.

CREATE OR REPLACE TABLE parsed AS
SELECT
    *,
    CASE
        WHEN record = 'measurement' AND task IN ('gemm', 'layer') THEN 'kernel'
        WHEN record = 'measurement' AND task IN ('network', 'probe', 'memory') THEN 'pass'
        WHEN record IN ('run', 'block', 'done', 'refused') THEN record
    END AS shape,
FROM (SELECT file, line, unnest(TRY(from_json(text, $measurement))), regexp_matches(text, $odd) AS odd, FROM lines);

-- Lines that are no rows, with their reasons, which the statements that follow add to: here, values of other types
-- than their fields'. Of a kernel's line these are looked for where it looks odd.
CREATE OR REPLACE TABLE refusals AS
SELECT file, line, coalesce(
    nullif(misfit(shape, TRY(json_structure(text))), ''),
    CASE WHEN regexp_matches(text, $too_long) THEN 'a whole number has more than 18 digits' END
) AS reason,
FROM parsed JOIN lines USING (file, line)
WHERE shape <> 'kernel' OR odd;

DELETE FROM refusals WHERE reason IS NULL;

-- Conditions that measurements were taken under, which name their block: the lines from it to the next block's.
CREATE OR REPLACE TABLE blocks AS
SELECT
    file, line, lead(line, 1, 1e18::BIGINT) OVER (PARTITION BY file ORDER BY line) AS until,
    block, attempt, sentinel_before_ns, sentinel_after_ns,
    time_of(after.time) AS measured_at, after.load, after.gpu_mhz, after.memory_mhz,
    list_avg(after.cpu_mhz) AS cpu_mhz, list_max(after.temperature_c) AS temperature_c,
FROM parsed ANTI JOIN refusals USING (file, line)
WHERE shape = 'block';

-- What is neither kernel nor block, with its text: runs, passes, or nothing that we know.
CREATE OR REPLACE TABLE others AS
SELECT file, line, shape, record, task, text,
FROM parsed JOIN lines USING (file, line)
WHERE coalesce(shape NOT IN ('kernel', 'block'), true);

CREATE OR REPLACE TABLE passes AS
SELECT *, coalesce(engine, 'caffe') = 'caffe' AND kernels IS NULL AS has_definition,
FROM (
    SELECT file, line, unnest(TRY(from_json(text, $pass))),
    FROM others ANTI JOIN refusals USING (file, line)
    WHERE shape = 'pass'
);
