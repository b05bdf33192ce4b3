"""Writing files so that nothing half-written is ever seen."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place, synced to disk, if the block ends well.

    Where `target` is a link, the file that it names is replaced. A device or a pipe (/dev/stdout) is written to.
    """
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder; name a file in it", str(target))
    if target.exists() and not target.is_file():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / target.name
            yield path
            with path.open("rb") as written, target.open("wb") as stream:
                shutil.copyfileobj(written, stream)
        return
    target = Path(os.path.realpath(target)) if target.is_symlink() else target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise _of(target, error) from error
    os.close(handle)
    path = Path(name)
    try:
        yield path
        # mkstemp makes private files; results are as readable as the umask lets any other file be.
        umask = os.umask(0)
        os.umask(umask)
        path.chmod(0o666 & ~umask)
        with path.open("rb") as written:
            os.fsync(written.fileno())
        path.replace(target)
    except OSError as error:
        if error.filename not in (None, name):
            raise  # of a file that the block reads
        raise _of(target, error) from error
    finally:
        path.unlink(missing_ok=True)


def _of(target: Path, error: OSError) -> OSError:
    """The error about `target`: a failed write names no file, and the temporary one says nothing to a person."""
    return OSError(error.errno, error.strerror or str(error), str(target))


def write_text(target: Path, text: str) -> None:
    """`text` as UTF-8 in `target`, whole or not at all."""
    with atomic_path(target) as path:
        path.write_text(text, encoding="utf-8")
