"""Which files of a Hub repo are worth fetching. Pure: names and sizes in, a choice out.

For a checkpoint that is what conversion reads and nothing else: a repo often holds the same weights five times over
(safetensors, pickles, ONNX, TensorFlow, Flax, Mistral's `consolidated`, half-precision variants).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal

from gguf_bench.errors import HubError, RepoNotFound
from gguf_bench.gguf_files import part_name, quantization_label, same_quantization, split_name
from gguf_bench.quants import ALIASES, QUANTS
from gguf_bench.records import ModelSpec

Kind = Literal["checkpoint", "gguf"]

BESIDE_WEIGHTS = (
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "*.tiktoken",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
    "README.md",  # the model card's metadata (licence, base model, ...) goes into the GGUF
)
"""Patterns of what is fetched before, and besides, the weights. They match from the repo's root."""

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf")

WEIGHTS = ("model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin")
"""The first that the repo has is taken; of an index, the shards that it names."""

ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "*.tiktoken")
"""A folder that has none of these cannot be converted."""

NOT_A_MODEL = ("*mmproj*", "*imatrix*")
"""GGUF files that lie beside models but are none: vision projectors, importance matrices."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repo at one commit; `path` is '/'-separated from the repo's root.

    `etag` names the file in the Hub cache: the sha256 of a large (LFS) file, the git blob id of a small one, which is
    all the Hub tells of it; then `sha256` is None.
    """

    path: str
    size_bytes: int
    sha256: str | None
    etag: str

    @property
    def is_weights(self) -> bool:
        return self.path.lower().endswith(WEIGHT_SUFFIXES)


Listing = Mapping[str, RemoteFile]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoFacts:
    """What the Hub tells of a repo besides its files; what its card says was written by anybody.

    `licence` is the card's, `base_models` the Hub ids it says the model was made from; `n_params` is counted by the Hub
    from the files' headers, and `context` is that of a GGUF among them; None where it did not say.
    """

    gated: bool
    licence: str | None
    base_models: tuple[str, ...]
    n_params: int | None
    context: int | None = None


class NothingToConvert(HubError):
    """The repo has neither weights that can be converted nor a GGUF."""


def listing_of(files: Iterable[RemoteFile], repo: str) -> Listing:
    """Files by path. Raises HubError for a path that would leave its folder, which no honest repo has."""
    listing = {file.path: file for file in files}
    for path in listing:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
            raise HubError(f"{repo} lists a file named {path!r}, which would land outside its folder")
    return listing


def choose(
    spec: ModelSpec, repo: str, listing: Listing, read: Callable[[RemoteFile], bytes]
) -> tuple[Kind, tuple[RemoteFile, ...]]:
    """What to fetch for `spec`: the ready-made GGUF it asks for, or a checkpoint, weights last.

    `read` gives the content of a small file: a shard index must be read before the shards are known.
    Raises HubError when what is asked for is not there, or not unambiguous.
    """
    if spec.file is not None:
        return "gguf", _named_gguf(spec.file, repo, listing)
    if spec.ready_quantization is not None:
        return "gguf", _gguf_of_type(spec.ready_quantization, repo, listing)
    return "checkpoint", _checkpoint(spec, repo, listing, read)


def nearest_type(wanted: str, paths: Iterable[str]) -> str | None:
    """Of the GGUF models among the files of a repo, the type that is `wanted`, else the one of the nearest size.

    None where no file says a type that llama.cpp knows, or only ones that several models have.
    """
    listing = {path: RemoteFile(path, 0, None, "") for path in paths}
    bits = {
        label: abs(QUANTS[label].bits_per_weight - QUANTS[wanted].bits_per_weight)
        for label, names in _models_by_type(listing).items()
        if label in QUANTS and len(names) == 1
    }
    return min(bits, key=bits.__getitem__, default=None)


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether `path` fits one of `patterns`, in which `*` does not cross a '/'."""
    return any(
        path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)  # equal depth, or * would cross a '/'
        for pattern in patterns
    )


def _checkpoint(
    spec: ModelSpec, repo: str, listing: Listing, read: Callable[[RemoteFile], bytes]
) -> tuple[RemoteFile, ...]:
    beside = [file for path, file in sorted(listing.items()) if matches(path, BESIDE_WEIGHTS)]
    adapter = _first(ADAPTER_WEIGHTS, listing) if "adapter_config.json" in listing else None
    if spec.base is not None and adapter is None:
        raise HubError(f"{repo} has no LoRA adapter: no adapter_config.json with one of {', '.join(ADAPTER_WEIGHTS)}")
    weights = _first(WEIGHTS, listing) if spec.base is None else None
    if weights is None and adapter is None:
        raise _no_weights(repo, listing)
    if adapter is None and "config.json" not in listing:
        raise HubError(f"{repo} has weights, but no config.json to convert them by")
    chosen = [*beside]
    if weights is not None and weights.path.endswith(".index.json"):
        chosen += [weights, *_shards(repo, weights, listing, read(weights))]
    elif weights is not None:
        chosen.append(weights)
    if adapter is not None:
        chosen.append(adapter)
    return tuple(chosen)


def _first(names: Iterable[str], listing: Listing) -> RemoteFile | None:
    return next((listing[name] for name in names if name in listing), None)


def _no_weights(repo: str, listing: Listing) -> HubError:
    labels = sorted(_models_by_type(listing))
    if labels:
        return HubError(f"{repo} has no weights to convert, but ready-made GGUF files; ask for {_ways(repo, labels)}")
    if _gguf_models(listing):
        return HubError(f"{repo} has no weights to convert, but GGUF files; name one by `file` in models.yaml")
    return NothingToConvert(f"{repo} has no weights that can be converted: none of {', '.join(WEIGHTS)}")


def _shards(repo: str, index: RemoteFile, listing: Listing, content: bytes) -> list[RemoteFile]:
    """The shards that an index names, each once, in order."""
    try:
        names = set(json.loads(content)["weight_map"].values())
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError("weight_map names no files")
        missing = sorted(names - listing.keys())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HubError(f"{repo}: {index.path} is no shard index ({type(error).__name__}: {error})") from error
    if missing:
        raise HubError(f"{repo}: {index.path} names {', '.join(missing)}, which the repo does not have")
    if odd := sorted(name for name in names if not name.endswith(WEIGHT_SUFFIXES)):
        raise HubError(f"{repo}: {index.path} names {', '.join(odd)}, which are no weights")
    return [listing[name] for name in sorted(names)]


def _gguf_models(listing: Listing) -> dict[str, list[RemoteFile]]:
    """The GGUF models of a repo, each with its parts in order, by the path that names it (a split one's stem)."""
    models: dict[str, list[RemoteFile]] = {}
    for path, file in sorted(listing.items()):
        name = path.rpartition("/")[2].lower()
        if name.endswith(".gguf") and not matches(name, NOT_A_MODEL):
            split = split_name(path)
            models.setdefault(split.stem if split else path, []).append(file)
    return models


def _models_by_type(listing: Listing) -> dict[str, list[str]]:
    """Names (as in `_gguf_models`) of each quantization."""
    by_type: dict[str, list[str]] = {}
    for name in _gguf_models(listing):
        label = quantization_label(name)
        if label is not None:
            by_type.setdefault(label, []).append(name)
    return by_type


def _gguf_of_type(asked: str, repo: str, listing: Listing) -> tuple[RemoteFile, ...]:
    by_type = _models_by_type(listing)
    label = same_quantization(asked)
    # What a file is called literally comes first: a repo's own "Q4_K" need not be what llama-quantize calls so.
    spellings = [prefix + name for name in (label, ALIASES.get(label, label)) for prefix in ("", "UD-")]
    names = next((by_type[spelling] for spelling in spellings if spelling in by_type), [])
    if not names:
        if not by_type:
            raise HubError(f"{repo} has no GGUF file that names its quantization, so no {label}")
        raise HubError(f"{repo} has no GGUF of type {label}; it has {_ways(repo, sorted(by_type))}")
    if len(names) > 1:
        raise HubError(
            f"{repo} has {len(names)} GGUF models of type {label}: {', '.join(names)}",
            hint="name one by `file` in models.yaml",
        )
    return _all_parts(repo, names[0], listing)


def _named_gguf(file: str, repo: str, listing: Listing) -> tuple[RemoteFile, ...]:
    if file not in listing or not file.lower().endswith(".gguf"):
        has = ", ".join(part.path for parts in _gguf_models(listing).values() for part in parts[:1])
        raise RepoNotFound(
            f"{repo} has no GGUF file {file!r}", hint=f"it has {has}" if has else "it has no GGUF file at all"
        )
    split = split_name(file)
    if split is None:
        return (listing[file],)
    return _all_parts(repo, split.stem, listing)


def _all_parts(repo: str, name: str, listing: Listing) -> tuple[RemoteFile, ...]:
    """All parts of a GGUF model, in order. Raises HubError when one is missing."""
    parts = _gguf_models(listing)[name]
    split = split_name(parts[0].path)
    if split is None:
        return (parts[0],)
    wanted = [part_name(name, part, split.parts) for part in range(1, split.parts + 1)]
    missing = [path for path in wanted if path not in listing]
    if missing:
        raise HubError(f"{repo} lacks {', '.join(missing)}: its split GGUF is not whole")
    return tuple(listing[path] for path in wanted)


def _ways(repo: str, labels: list[str]) -> str:
    return ", ".join(f"{repo}:{label}" for label in labels)
