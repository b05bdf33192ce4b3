# Stages 1 and 2: a CNN's configuration → its layers → its kernels, and all networks' kernels → a board's plan.
rule convert:
    input:
        lambda wildcards: network_file(Path(), wildcards.network),
    output:
        "results/networks/{network}/layers.parquet",
    log:
        "results/logs/convert/{network}.log",
    conda:
        "../envs/sitecnn.yaml"
    params:
        batch=settings.batch,
    shell:
        "sitecnn convert {input:q} --batch {params.batch} --name {wildcards.network} "
        "--layers {output:q} > {log:q} 2>&1"


rule extract:
    input:
        lambda wildcards: network_file(Path(), wildcards.network),
    output:
        "results/networks/{network}/kernels.parquet",
    log:
        "results/logs/extract/{network}.log",
    conda:
        "../envs/sitecnn.yaml"
    params:
        batch=settings.batch,
    shell:
        "sitecnn extract {input:q} --batch {params.batch} --name {wildcards.network} "
        "-o {output:q} > {log:q} 2>&1"


rule plan:
    input:
        networks=[network_file(Path(), name) for name in settings.networks],
        held_out=[network_file(Path(), name) for name in settings.held_out],
        board="config/boards/{board}.yaml",
    output:
        "results/campaigns/{board}/plan.jsonl",
    log:
        "results/logs/plan/{board}.log",
    conda:
        "../envs/sitecnn.yaml"
    params:
        batch=settings.batch,
        sweep="--sweep" if settings.sweep else "",
    shell:
        "sitecnn plan {input.networks:q} {input.held_out:q} {params.sweep} "
        "--board {wildcards.board} --batch {params.batch} -o {output:q} > {log:q} 2>&1"
