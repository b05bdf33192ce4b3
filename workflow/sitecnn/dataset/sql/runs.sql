-- Starts of the agent and imports become rows of `runs`; of one run, the last line counts.

CREATE OR REPLACE TABLE run_records AS
SELECT file, line, text, $misfit_of_run AS misfit, unnest(TRY(from_json(text, $run))),
FROM others
WHERE record = 'run';

CREATE OR REPLACE TABLE ends AS
SELECT file, line, text, $misfit_of_done AS misfit, unnest(TRY(from_json(text, $done))),
FROM others
WHERE record = 'done';

CREATE OR REPLACE TABLE refused_runs AS
SELECT file, line, coalesce(misfit, 'a run needs a processor, cpu or gpu, a stack and a name') AS reason,
FROM run_records
WHERE misfit IS NOT NULL OR run IS NULL OR run = '' OR stack IS NULL OR coalesce(processor NOT IN ('cpu', 'gpu'), true);

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
FROM (FROM run_records ANTI JOIN refused_runs USING (file, line)) AS r
JOIN files USING (file)
QUALIFY row_number() OVER (PARTITION BY run ORDER BY file DESC, line DESC) = 1;

INSERT INTO refused_runs
SELECT file, line, coalesce(misfit, 'run ' || coalesce(run, 'without a name') || ' is nowhere before it'),
FROM ends ANTI JOIN runs USING (run)
UNION ALL
SELECT file, line, coalesce(misfit, 'the end of a run needs planned, owed and seconds'),
FROM ends SEMI JOIN runs USING (run)
WHERE misfit IS NOT NULL OR planned IS NULL OR owed IS NULL OR seconds IS NULL;

UPDATE runs SET planned = ended.planned, owed = ended.owed, seconds = ended.seconds, $cost
FROM (
    SELECT * FROM ends ANTI JOIN refused_runs USING (file, line)
    QUALIFY row_number() OVER (PARTITION BY run ORDER BY file DESC, line DESC) = 1
) AS ended
WHERE runs.run = ended.run;

-- Rows of an import that the importer refused, by their place in its file.
CREATE OR REPLACE TABLE refused_rows AS
SELECT file, line, coalesce(told.origin, files.origin) AS origin, unnest(told.rows) AS row_number, told.reason,
FROM (SELECT file, line, TRY(from_json(text, $refused)) AS told FROM others WHERE record = 'refused')
JOIN files USING (file);
