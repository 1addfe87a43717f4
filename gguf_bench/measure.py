"""MEASURE: a model in several quantizations -> how near each predicts to the model itself, in the store as it comes.

    spec -> prepare -> fidelity -> store

What is stored of the same files, text and settings is not computed again. Of what is stored, `eps_scores` shows one
measurement beside a file's scores; docs/fidelity.md says which.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gguf_bench import fidelity as fidelity_stage
from gguf_bench import llama_build, prepare
from gguf_bench.errors import ChildDied, ChildHung, ModelError
from gguf_bench.fidelity import Fidelity
from gguf_bench.prepare import PLAIN, Contender
from gguf_bench.progress import SILENT, Progress
from gguf_bench.quantize_options import QuantizeOptions
from gguf_bench.quants import Quant
from gguf_bench.records import GgufFile, ModelSpec
from gguf_bench.store import Row, Store
from gguf_bench.texts import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A file beside its reference: its `fidelity`, or the `error` that its process died of.

    `name` is what it was asked for as: a type, or the name of a file.
    """

    name: str
    file: GgufFile
    reference: GgufFile
    fidelity: Fidelity | None = None
    error: str | None = None

    @property
    def row(self) -> Row:
        """As of `fidelity_measurements`, without its figures where there are none."""
        return {
            "name": self.name,
            "quant": self.file.quant,
            "path": str(self.file.path),
            "file_sha256": self.file.sha256,
            "reference": self.reference.quant,
            "reference_sha256": self.reference.sha256,
            "error": self.error,
            **({} if self.fidelity is None else fidelity_stage.columns(self.fidelity)),
        }


def fidelity(
    spec: ModelSpec,
    quants: Sequence[Quant],
    reference: Quant,
    text: Text,
    store: Store,
    *,
    files: Sequence[Path] = (),
    options: QuantizeOptions = PLAIN,
    n_chunks: int | None = None,
    gpu_layers: str = "auto",
    fresh: bool = False,
    progress: Progress = SILENT,
) -> Iterator[Measured]:
    """Each of `quants`, made where it is missing, and each of `files`, beside the model as `reference`, in this order.

    Each is stored as it is there, so that work that was broken off is gone on with; with `fresh` all are computed anew.
    One that cannot be measured, or whose process died, is said and yielded, and the others go on. Raises ModelError as
    `fidelity.measure` does where there is but one.
    """
    types = list(dict.fromkeys(quants))
    made = _made(spec, types, store, options, progress)
    names = [*(quant.name for quant in types), *(path.name for path in files)]
    held = prepare.gguf_of(Contender(spec, reference), store, progress)
    build = llama_build.look()
    for name, file in zip(names, [*made, *(prepare.known(path, store) for path in files)], strict=True):
        n_ctx = min(fidelity_stage.CHUNK_TOKENS, file.context_train or fidelity_stage.CHUNK_TOKENS)
        same = {
            "file_sha256": file.sha256,
            "reference_sha256": held.sha256,
            "text_sha256": text.sha256,
            "n_ctx": n_ctx,
            "settings": _settings(build, gpu_layers),
        }
        row = None if fresh else store.known_fidelity(same, n_chunks)
        if row is not None:
            progress.say(f"{file.path.name}: measured on {row['created'][:10]}, as it is stored")
            yield Measured(name=name, file=file, reference=held, fidelity=fidelity_stage.of_columns(row))
            continue
        try:
            found = fidelity_stage.measure(
                *(held.path, file.path, text),
                n_ctx=n_ctx,
                n_chunks=n_chunks,
                gpu_layers=gpu_layers,
                progress=progress,
            )
        except ModelError as error:
            if len(names) == 1 and not isinstance(error, ChildDied | ChildHung):
                raise
            progress.say(f"{file.path.name} failed: {error}")
            yield Measured(name=name, file=file, reference=held, error=str(error))
            continue
        store.save_fidelity(
            {**same, **fidelity_stage.columns(found), "text": text.name, "llama_cpp": build.version},
        )
        yield Measured(name=name, file=file, reference=held, fidelity=found)


def _made(
    spec: ModelSpec, quants: Sequence[Quant], store: Store, options: QuantizeOptions, progress: Progress
) -> list[GgufFile]:
    """The model in each of `quants`; without options the very files that `compare` runs."""
    prepare.refuse_adapter(spec)
    if options == PLAIN:
        return [prepare.gguf_of(Contender(spec, quant), store, progress) for quant in quants]
    paths = prepare.quantize(spec, quants, store, options=options, progress=progress) if quants else []
    return [prepare.known(path, store) for path in paths]


def _settings(build: llama_build.Build, gpu_layers: str) -> str:
    """What figures hang on beside files and text: who computes, and where. JSON."""
    settings = {
        "method": fidelity_stage.METHOD,
        "build": build.name,
        "machine": build.machine,
        "gpu_layers": gpu_layers,
        "extra_buffers": llama_build.extra_buffers_work(),
    }
    return json.dumps(settings, sort_keys=True)
