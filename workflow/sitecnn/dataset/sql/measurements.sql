-- What a row of `measurements` is. Given are the tables of lines.sql and `runs`; `definitions`: the layers of the
-- networks that `passes` tell of; `unread`: why a definition could not be read.

CREATE OR REPLACE TABLE refused_passes AS
SELECT
    p.file, p.line,
    CASE
        WHEN p.misfit IS NOT NULL THEN p.misfit
        WHEN p.network IS NULL THEN 'no network'
        WHEN p.has_definition AND p.prototxt IS NULL THEN 'no ''prototxt'''
        WHEN p.has_definition AND u.reason IS NOT NULL THEN u.reason
        WHEN coalesce(p.batch < 1, true) OR p.has_definition AND d.batch <> p.batch
            THEN concat('batch ', p.batch, ' of ', p.network, ': its prototxt is of ', d.batch)
        WHEN p.task <> 'memory' AND p.status <> 'failed' AND p.layers IS NULL AND p.kernels IS NULL
            THEN 'no layers and no kernels'
        WHEN list_contains(list_transform(p.kernels, lambda k: is_whole(k)), false)
            THEN 'a size of a kernel is no whole number'
    END AS problem,
FROM passes AS p
LEFT JOIN (SELECT DISTINCT prototxt, batch FROM definitions) AS d USING (prototxt)
LEFT JOIN unread AS u USING (prototxt)
WHERE problem IS NOT NULL;

CREATE OR REPLACE VIEW sound_passes AS
SELECT * EXCLUDE (misfit, layers, types, kernels), CASE WHEN task <> 'memory' THEN 'network' END AS mode,
    task <> 'memory' AND coalesce(status <> 'failed', true) AS timed,
    layers AS layer_list, types AS type_list, kernels AS kernel_list,
FROM passes ANTI JOIN refused_passes USING (file, line);

-- Layers of a pass, each with the sizes of the layer at its place in the definition.
CREATE OR REPLACE VIEW layer_rows AS
SELECT
    p.*, 'layer' AS subject, place AS layer_index, coalesce(d.layer, told.name) AS layer, told.fused AS fused,
    told.samples_ns AS samples_ns, d.type AS layer_type, if(told.on_zeros, d.kind_on_zeros, d.kind) AS kind,
    d.* EXCLUDE (prototxt, batch, layer_index, layer, type, kind, kind_on_zeros),
    CASE
        WHEN d.layer IS NULL OR count(*) OVER (PARTITION BY p.file, p.line, place) > 1
            THEN concat('layer ', place, ' is no position or there twice')
        WHEN told.name IS DISTINCT FROM d.layer
            THEN concat('layer ', place, ' is ''', told.name, ''' in the record, ''', d.layer, ''' in its prototxt')
    END AS problem,
FROM (
    SELECT *, coalesce(told.index, position - 1) AS place,
    FROM (SELECT *, unnest(layer_list) AS told, generate_subscripts(layer_list, 1) AS position, FROM sound_passes)
    WHERE timed AND has_definition
) AS p
LEFT JOIN definitions AS d ON d.prototxt = p.prototxt AND d.layer_index = place;

-- Kernels that an engine ran in a network or probe network.
CREATE OR REPLACE VIEW kernel_rows AS
SELECT
    p.*, 'kernel' AS subject, unnest(TRY(from_json(kernel, $kernel))),
    TRY(from_json(kernel, '{"samples_ns": ["DOUBLE"]}')).samples_ns AS samples_ns,
FROM (
    SELECT *, unnest(kernel_list) AS kernel, generate_subscripts(kernel_list, 1) AS position,
    FROM sound_passes
    WHERE timed
) AS p;

CREATE OR REPLACE VIEW pass_rows AS
SELECT *, 'layerwise' AS subject, layerwise_ns AS samples_ns, FROM sound_passes WHERE timed AND len(layerwise_ns) > 0
UNION ALL BY NAME
SELECT *, 'forward' AS subject, forward_ns AS samples_ns, FROM sound_passes WHERE timed AND len(forward_ns) > 0
UNION ALL BY NAME
SELECT *, 'forward' AS subject, FROM sound_passes WHERE task <> 'memory' AND status = 'failed'
UNION ALL BY NAME
SELECT *, 'type' AS subject, told.type AS layer_type, told.samples_ns AS samples_ns,
FROM (SELECT *, unnest(type_list) AS told, generate_subscripts(type_list, 1) AS position, FROM sound_passes WHERE timed)
UNION ALL BY NAME
SELECT *, 'memory' AS subject, $memory_columns, $part_columns, FROM sound_passes WHERE task = 'memory';

-- Rows as their lines tell them. The statistics of passes are computed here.
CREATE OR REPLACE VIEW told AS
SELECT * EXCLUDE (attempt, sentinel_before_ns, sentinel_after_ns), unnest(sizes), 'kernel' AS subject,
FROM parsed
WHERE is_kernel
UNION ALL BY NAME
SELECT
    p.*, median_of(sorted) AS median_ns, spread_of(sorted) AS spread_ns,
    sorted[lowest_rank(len(sorted)) + 1] AS low_ns, sorted[len(sorted) - lowest_rank(len(sorted))] AS high_ns,
FROM (
    SELECT *, list_sort(samples_ns) AS sorted,
    FROM (FROM layer_rows UNION ALL BY NAME FROM kernel_rows UNION ALL BY NAME FROM pass_rows)
) AS p;

-- With the conditions of its block and what its run says.
CREATE OR REPLACE VIEW measured AS
SELECT
    t.* EXCLUDE (engine, precision), c.* EXCLUDE (file, line), coalesce(t.engine, r.engine, nullif(regexp_extract(r.stack, '^($engines)([-+]|$$)', 1), ''), 'caffe') AS engine,
    coalesce(t.precision, r.precision, nullif(regexp_extract(r.stack, '(?:^|[+ -])($precisions)\b', 1), ''))
        AS precision,
    r.processor, r.source, r.stack, r.threads, r.library, s.origin, s.board,
FROM told AS t
JOIN files AS s USING (file)
LEFT JOIN conditions AS c ON c.file = t.file AND c.line = t.line AND (t.is_kernel OR t.block IS NOT NULL)
LEFT JOIN runs AS r ON r.run = t.run;

-- Every line that is no row, with its reason.
CREATE OR REPLACE TABLE refusals AS
SELECT file, line, problem AS reason FROM refused_kernels
UNION ALL
SELECT file, line, problem FROM refused_passes
UNION ALL
SELECT file, line, reason FROM refused_runs
UNION ALL
SELECT file, line, misfit FROM blocks WHERE misfit IS NOT NULL
UNION ALL
SELECT file, line, CASE
    WHEN NOT json_valid(text) THEN 'not a record: no JSON'
    WHEN record = 'measurement' THEN concat('task is ''', task, ''', none of gemm, layer, network, probe, memory')
    WHEN json_type(text) <> 'OBJECT' THEN 'not a record: no JSON object'
    ELSE concat('record is ''', record, ''', none of run, block, measurement, done, refused')
END
FROM others
WHERE coalesce(record NOT IN ('run', 'done', 'refused', 'measurement'), true)
    OR record = 'measurement' AND coalesce(task NOT IN ('network', 'probe', 'memory'), true);

INSERT INTO refusals
SELECT file, line, min(refusal)
FROM (
    SELECT file, line, coalesce(
        problem,
        CASE WHEN block IS NOT NULL AND last_block IS DISTINCT FROM block
            THEN 'its block is not the last one before it' END,
        $impossible,
        CASE WHEN processor IS NULL THEN concat('run ', run, ' is nowhere before it') END
    ) AS refusal,
    FROM measured ANTI JOIN refusals USING (file, line)
)
WHERE refusal IS NOT NULL
GROUP BY file, line;

CREATE OR REPLACE VIEW sound AS
SELECT board, processor, $columns, file, position,
FROM measured ANTI JOIN refusals USING (file, line);
