"""The agent as one file: a zipapp that is the same, byte by byte, for the same sources."""

import hashlib
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path

from sitecnn.boards import agent

PACKAGE = "sitecnn_agent"
"""What the modules of `boards/agent/` are on a board."""

START = f"import sys\n\nfrom {PACKAGE}.main import main\n\nsys.exit(main())\n"


@cache
def agent_archive() -> bytes:
    """The archive's bytes. Nothing is compressed: what a compressor writes depends on its version."""
    modules = {path.name: path.read_bytes() for path in Path(agent.__path__[0]).glob("*.py")}
    files = {"__main__.py": START.encode(), **{f"{PACKAGE}/{name}": text for name, text in modules.items()}}
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same on every kind of host
            archive.writestr(entry, files[name])
    return out.getvalue()


def agent_name() -> str:
    """The archive's name on a board. It holds the digest, so that hosts with other versions do not overwrite it."""
    return f"agent-{hashlib.sha256(agent_archive()).hexdigest()[:16]}.pyz"
