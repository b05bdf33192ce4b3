-- Why a row cannot be, null if it can: the same for new rows and for `sitecnn dataset verify`. Samples are at most
-- 1e16 ns (four months), memory at most 1e18 bytes.
CASE
    WHEN coalesce(key, '') = '' THEN 'no key'
    WHEN run IS NULL THEN 'no run'
    WHEN coalesce(status NOT IN $statuses, true) THEN 'status is none of $status_names'
    WHEN subject = 'kernel' AND kind IS NULL THEN 'no kernel'
    WHEN subject = 'kernel' AND kind = 'gemm' AND (m IS NULL OR n IS NULL OR k IS NULL)
        THEN 'a gemm without m, n and k'
    WHEN least($sizes) < 0 THEN 'a size is negative'
    WHEN status = 'failed' THEN NULL
    WHEN subject = 'memory' THEN
        CASE WHEN total_bytes IS NULL OR least($memory) < 0 OR greatest($memory) > 1e18
            THEN 'memory_bytes is missing or impossible' END
    WHEN coalesce(len(samples_ns), 0) = 0 THEN 'no samples_ns'
    WHEN list_count(samples_ns) < len(samples_ns)
        OR outside(list_min(samples_ns), 0, 1e16) OR outside(list_max(samples_ns), 0, 1e16)
        THEN 'a sample of samples_ns is no number from 0 to 1e+16'
    WHEN outside(median_ns, 0, 1e16) THEN 'median_ns is missing or impossible'
    WHEN outside(median_ns, list_min(samples_ns), list_max(samples_ns)) THEN 'median_ns is outside of samples_ns'
    WHEN low_ns > high_ns THEN 'low_ns is above high_ns'
END
