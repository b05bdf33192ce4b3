# Configuration, checked before any job exists, and what the rule files share.
from sitecnn.boards.config import load_board_config
from sitecnn.config import load_config, network_file
from sitecnn.errors import SiteCNNError

try:
    settings = load_config(Path(), overrides=config)
    boards = {name: load_board_config(Path(), name) for name in settings.boards}
except SiteCNNError as error:
    raise WorkflowError(str(error))

# {board}-{processor} of every model that the configuration asks for.
model_names = [
    f"{board.name}-{processor}"
    for board in boards.values()
    for processor in board.processors
]

# A measurement on this machine shares it with nothing and takes every core; one far away waits for its board.
campaign_cores = {
    name: workflow.cores if board.transport == "local" else 1
    for name, board in boards.items()
}

# Every rule calls `sitecnn`, the command that a person runs by hand: the one beside this Snakemake. A prefix stands in
# place of Snakemake's own, which makes a pipe fail where its first command does.
shell.prefix(
    f"set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
)


wildcard_constraints:
    network="[a-z0-9][a-z0-9_.-]*",
    board="|".join(settings.boards),
    processor="cpu|gpu",
