# Stage 4: every board's records → one Parquet dataset.
rule aggregate:
    input:
        [f"results/campaigns/{board}/done.json" for board in settings.boards],
    output:
        "results/dataset/summary.json",
    log:
        "results/logs/aggregate.log",
    conda:
        "../envs/sitecnn.yaml"
    shell:
        "sitecnn aggregate > {log:q} 2>&1"
