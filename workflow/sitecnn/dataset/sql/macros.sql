-- What the statements beside this one say again and again.

-- Which field of a line has another type than it should, null if none has.
CREATE MACRO misfit(text, paths, types) AS list_transform(
    list_filter(
        list_zip(paths, json_type(text, paths), types),
        lambda f: f[2] IS NOT NULL AND f[2] <> 'NULL' AND NOT list_contains(f[3], f[2])
    ),
    lambda f: f[1][3:] || ' is ' || f[2] || ', not ' || f[3][1]
)[1];

-- ISO 8601 in UTC, as agents write it; null where it is not that.
CREATE MACRO time_of(text) AS try_strptime(text, '%Y-%m-%dT%H:%M:%SZ')::TIMESTAMPTZ;

-- Whether a kernel's JSON has no fractions where whole numbers belong; its lists are looked at elsewhere.
CREATE MACRO is_whole(kernel) AS regexp_full_match(
    kernel, '\{\s*("\w+"\s*:\s*(-?\d{1,18}|"[^"\\]*"|null|\[[^\[\]]*\])\s*[,}]\s*)*'
);

-- Of sorted samples: median, half interquartile range. (`lowest_rank`, where the 95 % interval of the median begins, is
-- Python's.)
CREATE MACRO median_of(s) AS (s[(len(s) + 1) // 2] + s[len(s) // 2 + 1]) / 2;
CREATE MACRO spread_of(s) AS (s[3 * len(s) // 4 + 1] - s[len(s) // 4 + 1]) / 2;

-- Whether a value is missing, no number, or beyond its bounds by more than rounding.
CREATE MACRO outside(value, least, most) AS
    NOT coalesce(value >= least * (1 - 1e-9) AND value <= most * (1 + 1e-9), false);
