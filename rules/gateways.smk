# What a campaign must not be when the workflow's jobs run on nodes of a cluster.
def board_file(wildcards):
    """config/boards/{board}.yaml; WorkflowError for a board that is this machine if a cluster chooses the machine."""
    if boards[wildcards.board].transport == "local" and workflow.non_local_exec:
        raise WorkflowError(
            f"config/config.yaml: boards: {wildcards.board} is `transport: local`, the machine that runs the job, "
            "and the cluster chooses that: leave it out, or make it `transport: slurm` with the node's name"
        )
    return f"config/boards/{wildcards.board}.yaml"
