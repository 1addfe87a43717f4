"""What can go wrong, as kinds with fields. The library raises; only `cli` prints and exits.

GgufBenchError                  one line: what was found, what was wanted, where; `hint` is the way out
├── CatalogError                models.yaml: file, line, model, key
├── DatasetError                a dataset file: file, line
├── HubError                    the Hub said no, or could not be asked
│   ├── TokenMissing            the repo needs a token and none was found
│   ├── LicenceNotAccepted      the token is fine, the licence page is not signed
│   └── RepoNotFound            no such repo, revision or file
├── DiskSpaceError              seen before the work begins
├── CheckpointError             a folder that cannot be converted
│   └── AdapterFound            it is a LoRA adapter: `base`, what it was trained on
├── QuantizeError               llama.cpp refused to quantize
├── ModelError                  a model that cannot be run: load failed, no chat template, ...
│   ├── ChildDied               the process died by a signal, or without saying why
│   └── ChildHung               the process was silent for too long, and was ended
├── ComparisonError             runs of which one cannot be held against the other
├── ClusterError                the workers of a cluster: not there, not alike, or gone
└── StoreError                  the results file: newer than us, locked, read-only, not SQLite
    └── ParameterError          a query's parameter: `name`, without a value or unknown
"""

from __future__ import annotations

import errno
import signal
from pathlib import Path

MAX_MESSAGE = 2000
MORE_ROOM = "free some space, or point HF_HOME or XDG_CACHE_HOME to a larger disk"


class GgufBenchError(Exception):
    """A known failure. `str()` is one line; `hint`, where there is one, says what to do about it.

    Messages repeat names from files that anybody may have made: what does not print (line ends, a terminal's sequences)
    is escaped, and what is longer than MAX_MESSAGE characters loses its middle.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message, self.hint = _printable(message), _printable(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class CatalogError(GgufBenchError):
    """A mistake in models.yaml, or a MODEL argument that names nothing."""

    def __init__(
        self,
        message: str,
        *,
        file: Path | None = None,
        line: int | None = None,
        model: str | None = None,
        key: str | None = None,
        hint: str = "",
    ) -> None:
        place = ":".join(str(part) for part in (file, line) if part is not None)
        where = ", ".join(f"{word} {name!r}" for word, name in (("model", model), ("key", key)) if name is not None)
        super().__init__(": ".join(part for part in (place, where, message) if part), hint=hint)
        self.file, self.line, self.model, self.key = file, line, model, key


class DatasetError(GgufBenchError):
    """A dataset that cannot be read: `file`, and `line` (1-based) where one line is at fault."""

    def __init__(self, message: str, *, file: Path | None = None, line: int | None = None, hint: str = "") -> None:
        place = ":".join(str(part) for part in (file, line) if part is not None)
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        self.file, self.line = file, line


class HubError(GgufBenchError):
    """The Hugging Face Hub refused, failed, or could not be reached."""


class TokenMissing(HubError):
    """The repo is private or gated and no token was found."""


class LicenceNotAccepted(HubError):
    """A token was sent, but its owner has not accepted the repo's licence."""


class RepoNotFound(HubError):
    """No such repo, revision or file."""


class DiskSpaceError(GgufBenchError):
    """`needed_bytes` do not fit in the `free_bytes` of the disk that holds `folder`."""

    def __init__(self, what: str, folder: Path, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(
            f"{what} needs {needed_bytes / 1e9:.2f} GB, but only {free_bytes / 1e9:.2f} GB are free in {folder}",
            hint=MORE_ROOM,
        )
        self.folder, self.needed_bytes, self.free_bytes = folder, needed_bytes, free_bytes


class CheckpointError(GgufBenchError):
    """A folder or repo that is no checkpoint the converters take."""


class AdapterFound(CheckpointError):
    """Not a model but a LoRA adapter; `base` is the Hub id or folder that it names as its model, None for none."""

    def __init__(self, base: str | None) -> None:
        named = base or "the model it was trained on"
        super().__init__(
            f"this is a LoRA adapter of {named}",
            hint=f"give it an entry in models.yaml, with `base: {named}` (`gguf-bench models add` does)",
        )
        self.base = base


class QuantizeError(GgufBenchError):
    """llama.cpp could not quantize the file."""


class ModelError(GgufBenchError):
    """A model that cannot be run: the load failed, there is no chat template, ..."""


class ChildDied(ModelError):
    """The child process ended without finishing: by `signal_number`, or with `exit_code`.

    `log_lines` are the last lines it wrote, which is where llama.cpp says why.
    """

    def __init__(self, what: str, returncode: int, log_lines: list[str]) -> None:
        self.signal_number = -returncode if returncode < 0 else None
        self.exit_code = returncode if returncode >= 0 else None
        self.log_lines = log_lines
        how = f"exit code {returncode}" if returncode >= 0 else signal_name(-returncode)
        killed = returncode == -signal.SIGKILL
        super().__init__(
            f"{what} died ({how}){_last_in_log(log_lines)}",
            hint="where nobody killed it, memory ran out: try a smaller quantization or context" if killed else "",
        )


class ChildHung(ModelError):
    """Nothing was heard from the child process for `silent_seconds`, and it was ended. `log_lines` as of ChildDied."""

    def __init__(self, what: str, silent_seconds: float, log_lines: list[str]) -> None:
        self.silent_seconds = silent_seconds
        self.log_lines = log_lines
        super().__init__(f"{what} hung: nothing was heard from it for {silent_seconds:.0f} s{_last_in_log(log_lines)}")


class ComparisonError(GgufBenchError):
    """Runs that were not asked, computed or scored alike, so that their scores cannot be compared."""


class ClusterError(GgufBenchError):
    """A cluster that cannot be reached or used, or is gone."""


class StoreError(GgufBenchError):
    """The results store cannot be used."""


class ParameterError(StoreError):
    """A parameter of a query that got no value, or a value for a parameter `name` that it does not have."""

    def __init__(self, message: str, *, name: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name


def if_full(error: BaseException | None) -> str:
    """The way out where `error` says that a disk is full; nothing where it says anything else."""
    return MORE_ROOM if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) else ""


def signal_name(number: int) -> str:
    """'SIGSEGV' for 11; the bare number where Python knows no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def one_line(text: str, limit: int = 500) -> str:
    """`text` without line breaks and control characters, which a file from a stranger may hold, and not too long."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 10 * limit])
    plain = " ".join(printable.split())
    return plain if len(plain) <= limit else f"{plain[:limit]}…"


def _printable(text: str) -> str:
    if len(text) > MAX_MESSAGE:
        text = f"{text[: MAX_MESSAGE // 2]} … {text[-MAX_MESSAGE // 2 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _last_in_log(log_lines: list[str]) -> str:
    return f"; last in its log: {' / '.join(log_lines)}" if log_lines else ""
