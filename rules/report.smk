# Stage 6: everything → one self-contained HTML file.
rule write_report:
    input:
        expand("results/networks/{network}/kernels.parquet", network=settings.networks),
        [f"results/models/{name}.json" for name in model_names],
        [f"results/evaluation/{name}/networks.parquet" for name in model_names],
    output:
        report("results/report/report.html", category="SiteCNN"),
    log:
        "results/logs/report.log",
    conda:
        "../envs/sitecnn.yaml"
    shell:
        "sitecnn report -o {output:q} > {log:q} 2>&1"
