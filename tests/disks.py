"""Places that cannot be written, and disks that are full: what a machine has that is not a developer's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
"""What a command begins with that nobody runs, where root starts it. It may read all, for python may be root's own."""


class NotHere(Exception):
    """This machine, or this user, cannot make such a place; says why."""


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere; nobody may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def command_of_nobody() -> tuple[str, ...]:
    """What to put before a command so that permissions bind it. Raises NotHere where there is no such thing."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        raise NotHere("root may write everywhere, and there is no setpriv")
    tried = subprocess.run([*AS_NOBODY, sys.executable, "-c", "import gguf_bench"], capture_output=True, text=True)
    if tried.returncode:
        raise NotHere(f"nobody cannot run {sys.executable}")
    return AS_NOBODY


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, as those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="gguf-bench-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for inner in (folder, *folder.rglob("*")):
            if inner.is_dir():
                inner.chmod(0o755)
        shutil.rmtree(folder)


def make_read_only(folder: Path) -> None:
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)


@contextmanager
def small_disk(size_bytes: int) -> Iterator[Path]:
    """A disk of that size, empty. Raises NotHere where nothing can be mounted."""
    with open_folder() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
            raise NotHere("mounting a small disk takes root")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def read_only_mount(folder: Path) -> Iterator[None]:
    """`folder`, which even root cannot write meanwhile. Raises NotHere where nothing can be mounted."""
    name = str(folder)
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", name, name], capture_output=True).returncode:
        raise NotHere("mounting read-only takes root")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", name], check=True, capture_output=True)
        yield
    finally:
        subprocess.run(["umount", "-l", name], check=True)


def fill(folder: Path, leave_bytes: int = 0) -> Path:
    """Take what room there is on the disk of `folder`, but for `leave_bytes`; returns the file that takes it."""
    path = folder / "filler"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError:
        os.ftruncate(descriptor, max(0, os.fstat(descriptor).st_size - leave_bytes))
    finally:
        os.close(descriptor)
    return path
