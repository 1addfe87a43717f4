"""A GGUF on disk -> GgufFile: what llama.cpp reads from its header, in a child, since the file may be hostile.

An adapter is read here: llama.cpp opens one only beside its base, and it is a file that we have written ourselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gguf_bench import child
from gguf_bench.errors import ModelError
from gguf_bench.quants import QUANTS
from gguf_bench.records import GgufFile

NAME_BY_FILE_TYPE = {quant.file_type: quant.name for quant in QUANTS.values()}


def describe(
    shard_paths: tuple[Path, ...], sha256: str, *, repo: str | None = None, commit: str | None = None
) -> GgufFile:
    """The facts of the GGUF whose parts are `shard_paths`. Raises ModelError where llama.cpp cannot read it."""
    path = shard_paths[0]
    seen = child.ask({"job": "inspect", "path": str(path)}, what=f"reading {path.name}")
    return described(seen, shard_paths, sha256, repo=repo, commit=commit)


def described(
    seen: Mapping[str, Any], shard_paths: tuple[Path, ...], sha256: str, *, repo: str | None, commit: str | None
) -> GgufFile:
    """`describe` of a file that a child has `seen` already, as the one that quantizes does."""
    path = shard_paths[0]
    if seen["context_train"] <= 0:  # llama.cpp reads 2^31 and more as negative
        raise ModelError(f"{path.name} says that it was trained for a context of {seen['context_train']} tokens")
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


def describe_adapter(
    shard_paths: tuple[Path, ...], sha256: str, *, repo: str | None = None, commit: str | None = None
) -> GgufFile:
    """The facts of the GGUF of a LoRA adapter; `quant` is the type of most of its tensors.

    Raises ModelError where llama.cpp would leave a part of it out without a word.
    """
    from gguf import GGUFReader  # takes its time to import, and adapters are rare

    (path,) = shard_paths
    reader = GGUFReader(path)
    left_out = [tensor.name for tensor in reader.tensors if not tensor.name.endswith((".lora_a", ".lora_b"))]
    if left_out:
        raise ModelError(
            f"{path.name} replaces {', '.join(left_out[:3])}, which llama.cpp would leave out",
            hint="merge the adapter into its base and compare that",
        )
    n_params = sum(int(tensor.n_elements) for tensor in reader.tensors)
    types = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    return GgufFile(
        path=path,
        shard_paths=shard_paths,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        quant=types.most_common(1)[0][0],
        bits_per_weight=8 * sum(int(tensor.n_bytes) for tensor in reader.tensors) / n_params,
        n_params=n_params,
        architecture=str(reader.fields["general.architecture"].contents()),
        context_train=0,
        repo=repo,
        commit=commit,
    )
