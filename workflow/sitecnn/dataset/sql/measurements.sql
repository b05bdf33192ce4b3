-- What a row of `measurements` and of `networks` is. Given are the tables of lines.sql and passes.sql, `runs`, and
-- `unusable`: lines that were refused before they were read (file, line, text, reason). What is
-- created here is temporary: it belongs to the cursor that writes the stretch, while another reads the next one.

-- Rows as their lines tell them, with the conditions of their block and what their run says.
CREATE TEMP TABLE measured AS
SELECT
    t.* EXCLUDE (engine, precision), b.* EXCLUDE (file, line, until, block), b.block AS last_block, s.origin, s.board,
    r.processor, r.source, r.stack, r.threads, r.library,
    coalesce(t.engine, r.engine, nullif(regexp_extract(r.stack, '^($engines)([-+]|$$)', 1), ''), 'caffe') AS engine,
    coalesce(t.precision, r.precision, nullif(regexp_extract(r.stack, '(?:^|[+ -])($precisions)\b', 1), ''))
        AS precision,
FROM (
    FROM pass_rows
    UNION ALL BY NAME
    SELECT * EXCLUDE (attempt, sentinel_before_ns, sentinel_after_ns, after, kernel), unnest(kernel),
        'kernel' AS subject,
    FROM parsed
    WHERE shape = 'kernel'
) AS t
JOIN files AS s USING (file)
LEFT JOIN blocks AS b ON b.file = t.file AND b.block = t.block AND b.line < t.line AND t.line < b.until
LEFT JOIN runs AS r ON r.run = t.run;

CREATE TEMP TABLE refused AS
FROM refusals
UNION ALL
SELECT file, line, min(refusal)
FROM (
    SELECT file, line, coalesce(
        problem,
        CASE WHEN block IS NOT NULL AND last_block IS NULL
            THEN 'its block is not the last one before it' END,
        $impossible,
        CASE WHEN processor IS NULL THEN concat('run ', run, ' is nowhere before it') END
    ) AS refusal,
    FROM measured ANTI JOIN refusals USING (file, line)
)
WHERE refusal IS NOT NULL
GROUP BY file, line;

CREATE TEMP VIEW sound AS
SELECT board, processor, $columns, file, position,
FROM measured ANTI JOIN refused USING (file, line);

-- For the refused file; rows that an import refused are shown by their place in its file.
CREATE TEMP VIEW refused_lines AS
SELECT file, line, origin, line AS shown_line, reason, text,
FROM (
    SELECT file, line, reason, rtrim(text, chr(10)) AS text FROM refused JOIN lines USING (file, line)
    UNION ALL BY NAME
    FROM unusable
)
JOIN files USING (file)
UNION ALL BY NAME
SELECT file, line, origin, row_number AS shown_line, reason, '' AS text, FROM refused_rows;

INSERT OR REPLACE INTO networks BY NAME
SELECT DISTINCT p.network, d.* EXCLUDE (prototxt, kind, kind_on_zeros, sizes),
FROM sound_passes AS p ANTI JOIN refused USING (file, line) JOIN definitions AS d USING (prototxt)
WHERE p.has_definition;
