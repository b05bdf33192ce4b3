-- What a row of `measurements` is. Given are the tables of lines.sql, `pass_rows` and `runs`.

-- Rows as their lines tell them, with the conditions of their block and what their run says.
CREATE OR REPLACE VIEW measured AS
SELECT
    t.* EXCLUDE (engine, precision), c.* EXCLUDE (file, line), s.origin, s.board,
    r.processor, r.source, r.stack, r.threads, r.library,
    coalesce(t.engine, r.engine, nullif(regexp_extract(r.stack, '^($engines)([-+]|$$)', 1), ''), 'caffe') AS engine,
    coalesce(t.precision, r.precision, nullif(regexp_extract(r.stack, '(?:^|[+ -])($precisions)\b', 1), ''))
        AS precision,
FROM (
    FROM pass_rows
    UNION ALL BY NAME
    SELECT * EXCLUDE (attempt, sentinel_before_ns, sentinel_after_ns, after, kernel), unnest(kernel),
        'kernel' AS subject, true AS is_kernel,
    FROM parsed
    WHERE shape = 'kernel'
) AS t
JOIN files AS s USING (file)
LEFT JOIN conditions AS c ON c.file = t.file AND c.line = t.line AND (t.is_kernel OR t.block IS NOT NULL)
LEFT JOIN runs AS r ON r.run = t.run;

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
