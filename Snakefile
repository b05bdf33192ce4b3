# SiteCNN: from CNN configurations and boards to a report. The targets a person types: report, fit, profile, all.
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/networks.smk"
include: "rules/profile.smk"
include: "rules/dataset.smk"
include: "rules/models.smk"
include: "rules/report.smk"


localrules:
    report,
    fit,
    profile,
    all,


# The first rule is what a bare `snakemake` makes.
rule report:
    input:
        "results/report/report.html",


rule profile:
    input:
        expand("results/campaigns/{board}/done.json", board=settings.boards),


rule fit:
    input:
        [f"results/models/{name}.json" for name in model_names],


rule all:
    input:
        rules.report.input,
        rules.fit.input,
