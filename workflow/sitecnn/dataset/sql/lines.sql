-- A stretch of record files, typed. Given are `files` (file, origin, board): the files, and `lines` (file, line,
-- text): their new lines by number, before them the last block of each file that was read already.

CREATE OR REPLACE TABLE parsed AS
SELECT
    *,
    TRY(from_json(kernel, $kernel)) AS sizes,
    coalesce(record = 'measurement' AND task IN ('gemm', 'layer'), false) AS is_kernel,
FROM (SELECT file, line, unnest(TRY(from_json(text, $measurement))) FROM lines);

-- Where a field of an agent's kernel is null or unusual, it may be there with another type.
CREATE OR REPLACE TABLE refused_kernels AS
WITH unusual AS (
    SELECT file, line, text, is_whole(kernel) AS whole,
    FROM parsed JOIN lines USING (file, line)
    WHERE is_kernel AND (
        coalesce(length(key) <> 32, true) OR coalesce(mode NOT IN ('cold', 'warm', 'overhead'), true)
        OR run IS NULL OR status IS NULL OR stop IS NULL OR iterations IS NULL OR warm_up IS NULL OR seconds IS NULL
        OR samples_ns IS NULL OR median_ns IS NULL OR NOT coalesce(is_whole(kernel), false)
    )
)
SELECT
    file, line, coalesce($misfit_of_measurement, CASE WHEN NOT whole THEN 'a size is no whole number' END) AS problem,
FROM unusual
WHERE problem IS NOT NULL;

-- Conditions that the measurements after a block were taken under.
CREATE OR REPLACE TABLE blocks AS
SELECT
    file, line, text, $misfit_of_measurement AS misfit,
    block, attempt, sentinel_before_ns, sentinel_after_ns,
    time_of(after.time) AS measured_at, after.load, after.gpu_mhz, after.memory_mhz,
    list_avg(after.cpu_mhz) AS cpu_mhz, list_max(after.temperature_c) AS temperature_c,
FROM parsed JOIN lines USING (file, line)
WHERE record = 'block';

-- The block that each measurement follows.
CREATE OR REPLACE TABLE conditions AS
SELECT m.file, m.line, b.* EXCLUDE (file, line, text, misfit, block), b.block AS last_block,
FROM (SELECT file, line FROM parsed WHERE record = 'measurement') AS m
ASOF JOIN (FROM blocks WHERE misfit IS NULL) AS b ON m.file = b.file AND m.line >= b.line;

-- What is neither kernel nor block: runs, passes, or nothing that we know.
CREATE OR REPLACE TABLE others AS
SELECT file, line, text, record, task,
FROM parsed JOIN lines USING (file, line)
WHERE NOT is_kernel AND record IS DISTINCT FROM 'block';

CREATE OR REPLACE TABLE passes AS
SELECT *, coalesce(engine, 'caffe') = 'caffe' AND task <> 'probe' AND kernels IS NULL AS has_definition,
FROM (
    SELECT file, line, $misfit_of_pass AS misfit, unnest(TRY(from_json(text, $pass))),
    FROM others
    WHERE record = 'measurement' AND task IN ('network', 'probe', 'memory')
);
