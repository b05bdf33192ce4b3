# Stages 1 and 2: a CNN's configuration → its layers → its kernels, and all networks' kernels → a board's plan.
rule convert:
    input:
        lambda wildcards: network_file(Path(), wildcards.network),
    output:
        network="results/networks/{network}/network.prototxt",
        layers="results/networks/{network}/layers.parquet",
    log:
        "results/logs/convert/{network}.log",
    conda:
        "../envs/sitecnn.yaml"
    params:
        batch=settings.batch,
    shell:
        "sitecnn convert {input:q} --batch {params.batch} --name {wildcards.network} "
        "-o {output.network:q} --layers {output.layers:q} > {log:q} 2>&1"
        # 1: it has layers that Caffe lacks. They can be estimated, if not measured, which `plan` will say.
        " || [ $? -eq 1 ]"


rule extract:
    input:
        rules.convert.output.network,
    output:
        "results/networks/{network}/kernels.parquet",
    log:
        "results/logs/extract/{network}.log",
    conda:
        "../envs/sitecnn.yaml"
    shell:
        "sitecnn extract {input:q} -o {output:q} > {log:q} 2>&1"


rule plan:
    input:
        networks=expand(rules.convert.output.network, network=settings.networks),
        held_out=expand(rules.convert.output.network, network=settings.held_out),
    output:
        "results/campaigns/{board}/plan.jsonl",
    log:
        "results/logs/plan/{board}.log",
    conda:
        "../envs/sitecnn.yaml"
    params:
        sweep="--sweep" if settings.sweep else "",
        truth_only="--truth-only" if settings.held_out else "",
    shell:
        "sitecnn plan {input.networks:q} {params.truth_only} {input.held_out:q} {params.sweep} "
        "-o {output:q} > {log:q} 2>&1"
