# Stage 5: dataset → board models, and each network estimated from a model that never saw it.
rule fit_model:
    input:
        rules.aggregate.output,
    output:
        "results/models/{board}-{processor}.json",
    log:
        "results/logs/fit/{board}-{processor}.log",
    conda:
        "../envs/sitecnn.yaml"
    shell:
        "sitecnn fit --board {wildcards.board} --processor {wildcards.processor} > {log:q} 2>&1"


rule evaluate:
    input:
        rules.aggregate.output,
    output:
        networks="results/evaluation/{board}-{processor}/networks.parquet",
        layers="results/evaluation/{board}-{processor}/layers.parquet",
    log:
        "results/logs/evaluate/{board}-{processor}.log",
    conda:
        "../envs/sitecnn.yaml"
    params:
        level=settings.level,
    shell:
        "sitecnn evaluate --board {wildcards.board} --processor {wildcards.processor} "
        "--level {params.level} -o $(dirname {output.networks:q}) > {log:q} 2>&1"
