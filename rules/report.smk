# Stage 6: everything → one self-contained HTML file, its figures and tables beside it.
rule write_report:
    input:
        expand(
            "results/networks/{network}/{table}.parquet",
            network=[*settings.networks, *settings.held_out],
            table=["layers", "kernels"],
        ),
        [f"results/models/{name}.json" for name in model_names],
        [f"results/evaluation/{name}/networks.parquet" for name in model_names],
    output:
        page=report(
            "results/report/report.html",
            caption="report/report.rst",
            category="Report",
        ),
        figures=report(
            directory("results/report/figures"),
            patterns=["{figure}.png"],
            caption="report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        tables=report(
            directory("results/report/tables"),
            patterns=["{table}.csv"],
            caption="report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    log:
        "results/logs/report.log",
    conda:
        "../envs/sitecnn.yaml"
    threads: 2
    shell:
        "sitecnn report -o {output.page:q} > {log:q} 2>&1"
