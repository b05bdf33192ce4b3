# Stage 5: dataset → board models, and each network estimated from a model that never saw it.
held_out_option = (
    f"--held-out {' '.join(settings.held_out)}" if settings.held_out else ""
)


rule fit_model:
    input:
        rules.aggregate.output,
    output:
        "results/models/{board}-{processor}.json",
    log:
        "results/logs/fit/{board}-{processor}.log",
    conda:
        "../envs/sitecnn.yaml"
    params:
        held_out=held_out_option,
    shell:
        "sitecnn fit --board {wildcards.board} --processor {wildcards.processor} {params.held_out} > {log:q} 2>&1"


rule evaluate:
    input:
        rules.aggregate.output,
    output:
        networks="results/evaluation/{board}-{processor}/networks.parquet",
        layers="results/evaluation/{board}-{processor}/layers.parquet",
        baselines="results/evaluation/{board}-{processor}/baselines.parquet",
        summary="results/evaluation/{board}-{processor}/summary.parquet",
        memory="results/evaluation/{board}-{processor}/memory.parquet",
        coverage="results/evaluation/{board}-{processor}/coverage.parquet",
        board_time="results/evaluation/{board}-{processor}/board_time.parquet",
    log:
        "results/logs/evaluate/{board}-{processor}.log",
    conda:
        "../envs/sitecnn.yaml"
    params:
        level=settings.level,
        held_out=held_out_option,
    shell:
        "sitecnn evaluate --board {wildcards.board} --processor {wildcards.processor} "
        "--level {params.level} {params.held_out} -o $(dirname {output.networks:q}) > {log:q} 2>&1"
