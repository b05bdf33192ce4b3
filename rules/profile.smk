include: "gateways.smk"


# Stage 3: what a board still owes of its plan → records, append-only and therefore not an output: Snakemake
# deletes outputs before a retry, and what was measured must never be lost. The mark of completion is the output.
rule campaign:
    input:
        plan="results/campaigns/{board}/plan.jsonl",
        board=board_file,
    output:
        "results/campaigns/{board}/done.json",
    log:
        "results/logs/profile/{board}.log",
    conda:
        "../envs/sitecnn.yaml"
    threads: lambda wildcards: campaign_cores[wildcards.board]
    shell:
        "sitecnn profile --board {wildcards.board} --plan {input.plan:q} -o {output:q} 2>&1 | tee {log:q} >&2"
