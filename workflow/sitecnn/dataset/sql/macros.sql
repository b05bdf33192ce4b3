-- What the statements beside this one say again and again.

-- ISO 8601 in UTC, as agents write it; null where it is not that.
CREATE MACRO time_of(text) AS try_strptime(text, '%Y-%m-%dT%H:%M:%SZ')::TIMESTAMPTZ;

-- Of sorted samples: median, half interquartile range. (`lowest_rank`, where the 95 % interval of the median begins, is
-- Python's.)
CREATE MACRO median_of(s) AS (s[(len(s) + 1) // 2] + s[len(s) // 2 + 1]) / 2;
CREATE MACRO spread_of(s) AS (s[3 * len(s) // 4 + 1] - s[len(s) // 4 + 1]) / 2;

-- Whether a value is missing, no number, or beyond its bounds by more than rounding.
CREATE MACRO outside(value, least, most) AS
    NOT coalesce(value BETWEEN least * (1 - 1e-9) AND most * (1 + 1e-9), false);
