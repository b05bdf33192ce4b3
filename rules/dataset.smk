# Stage 4: every board's records → one Parquet dataset.
rule aggregate:
    input:
        rules.profile.input,
    output:
        "results/dataset/summary.json",
    log:
        "results/logs/aggregate.log",
    shell:
        "{sitecnn} aggregate > {log:q} 2>&1"
