-- Starts of the agent and imports become rows of `runs`; of one run, the last line counts.

INSERT INTO refusals
SELECT file, line, CASE
    WHEN NOT json_valid(text) THEN 'not a record: no JSON'
    WHEN json_type(text) <> 'OBJECT' THEN 'not a record: no JSON object'
    WHEN record = 'measurement' THEN concat('task is ''', task, ''', none of gemm, layer, network, probe, memory')
    ELSE concat('record is ''', record, ''', none of run, block, measurement, done, refused')
END
FROM others
WHERE shape IS NULL;

CREATE OR REPLACE TABLE run_records AS
SELECT file, line, text, unnest(TRY(from_json(text, $run))),
FROM others ANTI JOIN refusals USING (file, line)
WHERE shape = 'run';

INSERT INTO refusals
SELECT file, line, 'a run needs a processor, cpu or gpu, a stack and a name'
FROM run_records
WHERE coalesce(run, '') = '' OR stack IS NULL OR coalesce(processor NOT IN ('cpu', 'gpu'), true);

INSERT OR REPLACE INTO runs BY NAME
SELECT
    run, files.board AS board, processor, coalesce(source, 'agent') AS source, stack, threads, library,
    coalesce(r.origin.file, files.origin) AS origin,
    r.origin.sha256 AS origin_sha256, r.origin.format AS origin_format,
    protocol, agent_sha256, commit, user, host,
    r.board.cpu AS cpu, r.board.machine AS machine, r.board.kernel AS os, r.board.python AS python,
    coalesce(engine, r.board.engine.name) AS engine, r.board.engine.version AS engine_version, precision,
    r.board.blas AS blas,
    time_of(r.conditions.time) AS started_at, r.conditions.load, r.conditions.governor,
    list_avg(r.conditions.cpu_mhz) AS cpu_mhz, list_max(r.conditions.temperature_c) AS temperature_c,
    text AS record_json,
FROM (FROM run_records ANTI JOIN refusals USING (file, line)) AS r
JOIN files USING (file)
QUALIFY row_number() OVER (PARTITION BY run ORDER BY file DESC, line DESC) = 1;

CREATE OR REPLACE TABLE ends AS
SELECT file, line, unnest(TRY(from_json(text, $done))),
FROM others ANTI JOIN refusals USING (file, line)
WHERE shape = 'done';

INSERT INTO refusals
SELECT file, line, CASE
    WHEN runs.run IS NULL THEN concat('run ', coalesce(ends.run, 'without a name'), ' is nowhere before it')
    ELSE 'the end of a run needs planned, owed and seconds'
END
FROM ends LEFT JOIN runs USING (run)
WHERE runs.run IS NULL OR ends.planned IS NULL OR ends.owed IS NULL OR ends.seconds IS NULL;

UPDATE runs SET planned = ended.planned, owed = ended.owed, seconds = ended.seconds, $cost
FROM (
    SELECT * FROM ends ANTI JOIN refusals USING (file, line)
    QUALIFY row_number() OVER (PARTITION BY run ORDER BY file DESC, line DESC) = 1
) AS ended
WHERE runs.run = ended.run;

-- Rows of an import that the importer refused, by their place in its file.
CREATE OR REPLACE TABLE refused_rows AS
SELECT file, line, coalesce(told.origin, files.origin) AS origin, unnest(told.rows) AS row_number, told.reason,
FROM (
    SELECT file, line, TRY(from_json(text, $refused)) AS told,
    FROM others ANTI JOIN refusals USING (file, line)
    WHERE shape = 'refused'
)
JOIN files USING (file);
