-- Passes of networks become rows: of their layers, kernels, types, whole passes, memory. Given are `passes`;
-- `definitions`: the layers of the networks that they tell of; `unread`: why a definition could not be read.

INSERT INTO refusals
SELECT file, line, problem
FROM (
    SELECT
        p.file, p.line,
        CASE
            WHEN p.network IS NULL THEN 'no network'
            WHEN p.has_definition AND p.prototxt IS NULL THEN 'no ''prototxt'''
            WHEN p.has_definition AND u.reason IS NOT NULL THEN u.reason
            WHEN coalesce(p.batch < 1, true) OR p.has_definition AND d.batch <> p.batch
                THEN concat('batch ', p.batch, ' of ', p.network, ': its prototxt is of ', d.batch)
            WHEN p.task <> 'memory' AND p.status <> 'failed' AND p.layers IS NULL AND p.kernels IS NULL
                THEN 'no layers and no kernels'
        END AS problem,
    FROM passes AS p
    LEFT JOIN (SELECT DISTINCT prototxt, batch FROM definitions) AS d USING (prototxt)
    LEFT JOIN unread AS u USING (prototxt)
)
WHERE problem IS NOT NULL;

CREATE OR REPLACE TABLE sound_passes AS
SELECT * EXCLUDE (layers, types, kernels), CASE WHEN task <> 'memory' THEN 'network' END AS mode,
    task <> 'memory' AND coalesce(status <> 'failed', true) AS timed,
    layers AS layer_list, types AS type_list, kernels AS kernel_list,
FROM passes ANTI JOIN refusals USING (file, line);

-- Layers of a pass, each with the sizes of the layer at its place in the definition.
CREATE OR REPLACE VIEW layer_rows AS
SELECT
    p.*, 'layer' AS subject, place AS layer_index, coalesce(d.layer, told.name) AS layer, told.fused AS fused,
    told.samples_ns AS samples_ns, d.type AS layer_type, if(told.on_zeros, d.kind_on_zeros, d.kind) AS kind,
    unnest(d.sizes),
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
SELECT p.*, 'kernel' AS subject, unnest(told),
FROM (
    SELECT *, unnest(kernel_list) AS told, generate_subscripts(kernel_list, 1) AS position,
    FROM sound_passes
    WHERE timed
) AS p;

CREATE OR REPLACE VIEW whole_rows AS
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

-- With their statistics, which the agent does not send for passes.
CREATE OR REPLACE TABLE pass_rows AS
SELECT
    * EXCLUDE (prototxt, sorted, layer_list, type_list, kernel_list, forward_ns, layerwise_ns, memory_bytes, parts),
    median_of(sorted) AS median_ns, spread_of(sorted) AS spread_ns,
    sorted[lowest_rank(len(sorted)) + 1] AS low_ns, sorted[len(sorted) - lowest_rank(len(sorted))] AS high_ns,
FROM (
    SELECT *, list_sort(samples_ns) AS sorted,
    FROM (FROM layer_rows UNION ALL BY NAME FROM kernel_rows UNION ALL BY NAME FROM whole_rows)
);
