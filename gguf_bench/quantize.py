"""QUANTIZE: a GGUF -> the same model in other file types, through llama.cpp, in a child process.

The bytes are those of `llama-quantize` built from the same llama.cpp.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

from gguf_bench import quantize_options
from gguf_bench.child import PATIENCE_SECONDS, Child, Event
from gguf_bench.errors import MORE_ROOM, QuantizeError
from gguf_bench.gguf_files import part_name
from gguf_bench.gguf_header import padded, read_header, tensor_bytes
from gguf_bench.paths import folder_beside, written_whole
from gguf_bench.progress import SILENT, Progress, Reached
from gguf_bench.quantize_options import QuantizeOptions
from gguf_bench.quants import QUANTS, Quant
from gguf_bench.records import GgufFile, QuantizedSize

UNQUANTIZED = ("F32", "F16", "BF16")
TYPE_AT_END = re.compile(rf"[-.](?:{'|'.join(sorted(QUANTS, key=len, reverse=True))})$", re.IGNORECASE)

CANNOT_WRITE = "iostream error"
"""What llama.cpp says where its file cannot be written, whatever the reason."""

SLOWEST_WEIGHTS_PER_SECOND = 1e5
"""Of quantizing, which tells of its progress between two tensors only. One core of a busy machine made half a million a
second of IQ2_XS, the slowest type."""


def target_names(source: GgufFile, quant: Quant, options: QuantizeOptions) -> list[str]:
    """'SmolLM2-135M-Instruct-Q2_K.gguf' for '....Q4_1.gguf' or '...-BF16.gguf': the GGUF naming convention.

    Where types were chosen for a size, '...-90MiB.gguf'. Of a split source that stays split, the names of all parts.
    """
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", source.path.stem)
    stem = f"{TYPE_AT_END.sub('', stem)}-{options.size_target or quant.name}"
    n_parts = len(source.shard_paths)
    if n_parts == 1 or not options.keep_split:
        return [f"{stem}.gguf"]
    return [part_name(stem, part, n_parts) for part in range(1, n_parts + 1)]


class Quantizer:
    """A child that quantizes `source` by `options`. Use as a context manager: leaving it ends the child.

    Raises QuantizeError for a source that is quantized already (unless `options.allow_requantize`), and for options
    that llama.cpp would pass over or die of. `facts` are for the record: llama.cpp's version, and what an importance
    matrix says of itself.
    """

    def __init__(self, source: GgufFile, options: QuantizeOptions) -> None:
        check(source, options)
        self._source, self._options = source, options
        self._planned: dict[str, QuantizedSize] = {}
        self._header = read_header(source.path)
        quantize_options.check(options, self._header)
        job = {
            "job": "quantize",
            "source": str(source.path),
            "options": asdict(options),
            "n_layers": self._header.n_layers,
        }
        largest = max((prod(tensor.shape) for tensor in self._header.tensors), default=0)
        patience_seconds = max(PATIENCE_SECONDS, largest / SLOWEST_WEIGHTS_PER_SECOND)
        self._sources = [*source.shard_paths, *([Path(options.imatrix)] if options.imatrix is not None else [])]
        self._before = list(map(_state, self._sources))
        self._child = Child(job, what=f"quantizing {source.path.name}", patience_seconds=patience_seconds)
        try:
            ready = self._event("ready")
        except BaseException:
            self._child.close()
            raise
        self.facts: Mapping[str, Any] = {name: value for name, value in ready.items() if name != "event"}

    def __enter__(self) -> Quantizer:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close()

    @property
    def unmatched(self) -> list[str]:
        """Patterns of `options.tensor_types` that are in no tensor's name."""
        return list(quantize_options.unmatched(self._options, self._header))

    def plan(self, quant: Quant) -> QuantizedSize:
        """What `write` would make, from llama.cpp's dry run; nothing is written. Raises QuantizeError as it does."""
        if quant.name in UNQUANTIZED and self._options.tensor_types:
            raise QuantizeError(f"{quant.name} leaves tensors unquantized, so llama.cpp would pass over types for some")
        self._child.send({"file_type": quant.file_type, "target": None})
        planned = self._event("planned")
        sizes = [tensor_bytes(tensor["shape"], tensor["new_type"]) for tensor in planned["tensors"]]
        found = self._planned[quant.name] = QuantizedSize(
            tensor_bytes=sum(sizes),
            file_bytes=self._header_bytes() + sum(map(padded, sizes)),
            bits_per_weight=8 * sum(sizes) / max(1, sum(prod(tensor["shape"]) for tensor in planned["tensors"])),
            types=dict(Counter(tensor["new_type"] for tensor in planned["tensors"]).most_common()),
            n_fallback=planned["n_fallback"],
            needs_imatrix=planned["needs_imatrix"],
            n_uncovered=len(planned["uncovered"]),
        )
        return found

    def require_imatrix(self, quant: Quant, planned: QuantizedSize) -> None:
        """Raise QuantizeError where `planned` needs importances that are not given."""
        if not planned.needs_imatrix:
            return
        if self._options.imatrix is not None:
            raise QuantizeError(
                f"{quant.name} of this model needs importances that {self._options.imatrix} does not have",
                hint="compute it on this model, or choose a type that needs none",
            )
        raise QuantizeError(
            f"{quant.name} of this model needs an importance matrix",
            hint=f"make one with `gguf-bench imatrix {shlex.quote(str(self._source.path))} -o imatrix.gguf`, then give "
            f"--imatrix imatrix.gguf; {_nearest_without_imatrix(quant)} needs none",
        )

    def write(self, quant: Quant, targets: Sequence[Path], progress: Progress = SILENT) -> Event:
        """Write the file, in the parts that `target_names` names; they are there whole or not at all.

        Returns the facts of it that `describe` wants: where it was written as its `plan` says they are the source's but
        for the type, else llama.cpp has read them. Raises QuantizeError with llama.cpp's reason, and where
        what it is made of was changed since this began.
        """
        with _parts_written_whole(targets, by_prefix=self._options.keep_split) as (prefix, first):
            self._child.send({"file_type": quant.file_type, "target": str(prefix), "result": str(first)})
            bar = Reached(progress.bar(f"quantize {quant.name}", len(self._header.tensors), "tensors"))
            try:
                while (event := self._event("progress", "written"))["event"] == "progress":
                    bar.at(event["done"])
                    bar.note(event["name"])
            except QuantizeError as error:
                if CANNOT_WRITE not in error.message and error.hint != MORE_ROOM:
                    raise QuantizeError(error.message.replace(str(prefix), str(targets[0])), hint=error.hint) from error
                free_bytes = shutil.disk_usage(targets[0].parent).free
                what = f"{targets[0]} cannot be written to its end: {free_bytes / 1e9:.2f} GB are free on its disk"
                raise QuantizeError(what, hint=MORE_ROOM) from error
            finally:
                bar.close()
            for path, before in zip(self._sources, self._before, strict=True):
                if _state(path) != before:
                    raise QuantizeError(f"{path} was changed while it was read", hint="run the same command again")
        return event if "file_type" in event else self._planned_facts(quant) | event

    def _planned_facts(self, quant: Quant) -> Event:
        """The facts of a file as planned. To have llama.cpp read them takes as long as its vocabulary is large."""
        names = ("n_params", "architecture", "context_train")
        facts = {name: getattr(self._source, name) for name in names}
        return facts | {"file_type": quant.file_type, "bits_per_weight": self._planned[quant.name].bits_per_weight}

    def _event(self, *names: str) -> Event:
        event = self._child.receive()
        if event is None or event["event"] not in names:
            raise QuantizeError(f"quantizing {self._source.path.name} ended without a result")
        return event

    def _header_bytes(self) -> int:
        """What a file has besides its tensors."""
        return self._source.size_bytes - sum(padded(tensor.size_bytes) for tensor in self._header.tensors)


def check(source: GgufFile, options: QuantizeOptions) -> None:
    """Raise QuantizeError where quantizing `source` would lose what cannot be had back."""
    if source.quant not in UNQUANTIZED and not options.allow_requantize:
        raise quantize_options.quantized_already(source.path.name, source.quant)


@contextmanager
def _parts_written_whole(targets: Sequence[Path], *, by_prefix: bool) -> Iterator[tuple[Path, Path]]:
    """(what to have llama.cpp write to, where the first part is found then).

    It names the parts of a split file itself, so it is given a folder of links to partial files. The first part gets
    its name last: where it is there, the others are.
    """
    with ExitStack() as stack:
        partials = [stack.enter_context(written_whole(target)) for target in targets]
        if not by_prefix:
            yield partials[0], partials[0]
            return
        folder = stack.enter_context(folder_beside(targets[0]))
        links = [folder / part_name("model", part, len(partials)) for part in range(1, len(partials) + 1)]
        for link, partial in zip(links, partials, strict=True):
            link.symlink_to(partial.absolute())
        yield folder / "model", links[0]
        if len(targets) > 1:
            targets[0].unlink(missing_ok=True)  # or new parts would stand beside an old first one for a moment


def _state(path: Path) -> tuple[int, int, int]:
    """What differs where a file's content does."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _nearest_without_imatrix(wanted: Quant) -> str:
    candidates = [quant for quant in QUANTS.values() if not quant.needs_imatrix and quant.group == "k"]
    return min(candidates, key=lambda quant: abs(quant.bits_per_weight - wanted.bits_per_weight)).name
