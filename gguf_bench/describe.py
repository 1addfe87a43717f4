"""A GGUF on disk -> GgufFile: what llama.cpp reads from its header, in a child, since the file may be hostile."""

from __future__ import annotations

from pathlib import Path

from gguf_bench import child
from gguf_bench.quants import QUANTS
from gguf_bench.records import GgufFile

NAME_BY_FILE_TYPE = {quant.file_type: quant.name for quant in QUANTS.values()}


def describe(
    shard_paths: tuple[Path, ...], sha256: str, *, repo: str | None = None, commit: str | None = None
) -> GgufFile:
    """The facts of the GGUF whose parts are `shard_paths`. Raises ModelError where llama.cpp cannot read it."""
    path = shard_paths[0]
    seen = child.ask({"job": "inspect", "path": str(path)}, what=f"reading {path.name}")
    return GgufFile(
        path=path,
        shard_paths=shard_paths,
        sha256=sha256,
        size_bytes=sum(shard.stat().st_size for shard in shard_paths),
        quant=NAME_BY_FILE_TYPE.get(seen["file_type"], f"type {seen['file_type']}"),
        bits_per_weight=seen["bits_per_weight"],
        n_params=seen["n_params"],
        architecture=seen["architecture"],
        context_train=seen["context_train"],
        repo=repo,
        commit=commit,
    )
