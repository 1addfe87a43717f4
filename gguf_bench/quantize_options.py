"""Options of llama-quantize: from how they are typed to QuantizeOptions, and whether a file can be quantized so.

What llama.cpp would pass over in silence, mangle, or end in a failed assertion after hours of work, is refused here
before anything is done. Read from tools/quantize/quantize.cpp, src/llama-quant.cpp and ggml_quantize_chunk of the
llama.cpp that is pinned.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gguf_bench.errors import QuantizeError
from gguf_bench.gguf_header import ALIGNMENT, BLOCKS, GgufHeader

Override = tuple[str, int | float | bool | str]

TENSOR_TYPES = [name for name in BLOCKS if name not in ("Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64")]
"""ggml's names of the types that a tensor can be quantized to."""
NEED_IMATRIX = ("IQ2_XXS", "IQ2_XS", "IQ1_S")
"""Types that ggml cannot compute at all without importances, whatever the tensor."""

MAX_KEY_BYTES, MAX_TEXT_BYTES, MAX_INT = 127, 127, 2**32 - 1
"""What fits llama_model_kv_override; whole numbers are written as 32 bits without a sign."""

OUTPUT, TOKEN_EMBEDDINGS = "output.weight", ("token_embd.weight", "per_layer_token_embd.weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """How a file is quantized besides its type, by the names of llama-quantize's options. All of it is JSON.

    Types of tensors are ggml's names ("Q4_K"). `tensor_types` are (regular expression, type); the first one found in a
    tensor's name counts. `override_kv` are (key, value). `imatrix` is a path as it was typed, since llama.cpp writes it
    into the file, or `imatrix_name` in its place; of its entries only those count whose names contain one of
    `include_weights`, where there are any, and none of `exclude_weights`. `n_threads` 0 means all, and `max_buffer_mib`
    None 8 MiB a thread: these two change no byte.
    `size_target` ("90MiB") is what `tensor_types` were chosen for, where they were; the file is called by it.
    """

    allow_requantize: bool = False
    pure: bool = False
    leave_output_tensor: bool = False
    output_tensor_type: str | None = None
    token_embedding_type: str | None = None
    tensor_types: tuple[tuple[str, str], ...] = ()
    override_kv: tuple[Override, ...] = ()
    prune_layers: tuple[int, ...] = ()
    keep_split: bool = False
    imatrix: str | None = None
    imatrix_name: str | None = None
    include_weights: tuple[str, ...] = ()
    exclude_weights: tuple[str, ...] = ()
    n_threads: int = 0
    max_buffer_mib: int | None = None
    size_target: str | None = None


def quantized_already(what: str, type_name: str) -> QuantizeError:
    """That `what`, of this type, is not quantized again unasked."""
    return QuantizeError(
        f"{what} is {type_name} already: what that lost cannot be had back",
        hint="quantize from an F16 or BF16 file, or say `gguf-bench quantize --allow-requantize`",
    )


def tensor_type(text: str) -> str:
    """The tensor type that `text` names, in upper or lower case: "q4_k" -> "Q4_K". Raises QuantizeError."""
    name = text.strip().upper()
    if name not in TENSOR_TYPES:
        known = ", ".join(type_name.lower() for type_name in TENSOR_TYPES)
        raise QuantizeError(f"{text!r} is no type of a tensor", hint=f"known: {known}")
    return name


def tensor_type_pattern(text: str) -> tuple[str, str]:
    """'PATTERN=TYPE' -> (regular expression, type). Raises QuantizeError.

    llama.cpp searches names for it by ECMAScript's rules, which those of Python are near enough to.
    """
    pattern, equals, type_name = text.partition("=")
    pattern = pattern.lower()  # as llama-quantize does, whatever that makes of a \D
    if not pattern or not equals:
        raise QuantizeError(f"{text!r} is no PATTERN=TYPE", hint=r"such as attn_v=q6_k or 'blk\.[01]\.ffn_down=q5_k'")
    try:
        _compiled(pattern)
    except re.error as error:
        raise QuantizeError(f"{pattern!r} is no regular expression: {error}") from error
    return pattern, tensor_type(type_name)


def _compiled(pattern: str) -> re.Pattern[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Python warns of classes such as [[:alpha:]]
        return re.compile(pattern)


def tensor_type_file(path: Path) -> list[tuple[str, str]]:
    """The PATTERN=TYPEs of a file, separated by spaces or lines. Raises QuantizeError."""
    return [tensor_type_pattern(word) for word in path.read_text(encoding="utf-8").split()]


def kv_override(text: str) -> Override:
    """'KEY=int:5', '=float:0.5', '=bool:true' or '=str:a text' -> (key, value). Raises QuantizeError."""
    key, _, typed = text.partition("=")
    kind, colon, value = typed.partition(":")
    if not key or not colon or kind not in ("int", "float", "bool", "str"):
        raise QuantizeError(f"{text!r} is no KEY=TYPE:VALUE", hint="TYPE is int, float, bool or str")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise QuantizeError(f"the key {key[:20]}… is longer than the {MAX_KEY_BYTES} bytes that llama.cpp takes")
    match kind:
        case "int" if re.fullmatch(r"\+?[0-9]{1,20}", value) and int(value) <= MAX_INT:
            return key, int(value)
        case "float" if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value):
            return key, float(value)
        case "bool" if value in ("true", "false"):
            return key, value == "true"
        case "str" if len(value.encode()) <= MAX_TEXT_BYTES:
            return key, value
    wanted = {
        "int": f"a whole number from 0 to {MAX_INT}, as llama.cpp writes them",
        "float": "a decimal number",
        "bool": "true or false",
        "str": f"a text of at most {MAX_TEXT_BYTES} bytes",
    }
    raise QuantizeError(f"{key} is to be {value!r}, but {kind} is {wanted[kind]}")


def layers(text: str) -> tuple[int, ...]:
    """'0,3,5' -> the numbers, each once and in order. Raises QuantizeError."""
    if not re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", text):
        raise QuantizeError(f"{text!r} is no list of layers", hint="such as 3,4,5")
    return tuple(sorted({int(number) for number in text.split(",")}))


def check(options: QuantizeOptions, header: GgufHeader) -> None:
    """Raise QuantizeError where `options` cannot be had of the file whose header it is."""
    if options.include_weights and options.exclude_weights:
        raise QuantizeError("--include-weights and --exclude-weights cannot be used together")
    if (options.include_weights or options.exclude_weights) and options.imatrix is None:
        raise QuantizeError("--include-weights and --exclude-weights choose entries of an --imatrix, and none is given")
    if options.leave_output_tensor and options.output_tensor_type is not None:
        raise QuantizeError("--leave-output-tensor and --output-tensor-type contradict each other")
    _check_alignment(options, header)
    _check_rows(options, header)
    _check_layers(options, header)
    for key, value in options.override_kv:
        _check_override(key, value, header)


def _check_alignment(options: QuantizeOptions, header: GgufHeader) -> None:
    """llama.cpp pads what it writes to 32 bytes, whatever the file says: nothing could load it."""
    for where, alignment in (
        (header.name, header.values.get("general.alignment", ALIGNMENT)),
        ("--override-kv", dict(options.override_kv).get("general.alignment", ALIGNMENT)),
    ):
        if alignment != ALIGNMENT:
            raise QuantizeError(
                f"{where} has a general.alignment of {alignment}, but llama.cpp quantizes only by {ALIGNMENT}"
            )


def _check_rows(options: QuantizeOptions, header: GgufHeader) -> None:
    """These two types are taken as they are, without a fallback for rows they do not fit."""
    wanted = {OUTPUT: options.output_tensor_type} | dict.fromkeys(TOKEN_EMBEDDINGS, options.token_embedding_type)
    for tensor in header.tensors:
        if type_name := wanted.get(tensor.name):
            per_block = BLOCKS[type_name][1]
            if tensor.shape[0] % per_block:
                raise QuantizeError(
                    f"{tensor.name} has rows of {tensor.shape[0]} values, but {type_name} packs them by {per_block}",
                    hint="choose a type in blocks of 32, such as q8_0",
                )


def _check_layers(options: QuantizeOptions, header: GgufHeader) -> None:
    pruned = options.prune_layers
    if not pruned:
        return
    if pruned[-1] >= header.n_layers:
        raise QuantizeError(f"{header.name} has layers 0 to {header.n_layers - 1}, so {pruned[-1]} cannot be pruned")
    if len(pruned) == header.n_layers:
        raise QuantizeError(f"--prune-layers would leave {header.name} no layer")
    for key, length in header.array_lengths.items():
        if key.startswith(f"{header.architecture}.") and length == header.n_layers:
            raise QuantizeError(
                f"{key} of {header.name} has a value for each layer, which llama.cpp does not prune: "
                "the file could not be loaded"
            )


def _check_override(key: str, value: int | float | bool | str, header: GgufHeader) -> None:
    """A key that llama.cpp reads as another type would be refused, or passed over, when the file is loaded."""
    if key in header.array_lengths:
        raise QuantizeError(f"{key} of {header.name} is a list, which --override-kv cannot replace")
    found = header.values.get(key)
    if found is not None and type(found) is not type(value):
        kinds = {int: "int", float: "float", bool: "bool", str: "str"}
        raise QuantizeError(f"{key} of {header.name} is of type {kinds.get(type(found), '?')}", hint="override it so")


def old_name(name: str, options: QuantizeOptions, n_layers: int) -> str:
    """What the tensor `name` of the result was called before layers were pruned, as its importances still are."""
    if not options.prune_layers:
        return name
    kept = [layer for layer in range(n_layers) if layer not in options.prune_layers]
    return re.sub(r"blk\.(\d+)\.", lambda match: f"blk.{kept[int(match[1])]}.", name, count=1)


def unmatched(options: QuantizeOptions, header: GgufHeader) -> Iterator[str]:
    """The patterns of `tensor_types` that are in no name of a tensor that is quantized.

    Classes such as [[:alpha:]], which Python reads otherwise than ECMAScript, are taken to be in one.
    """
    names = [tensor.name for tensor in header.tensors if len(tensor.shape) > 1]
    for pattern, _ in options.tensor_types:
        if "[:" not in pattern and not any(map(_compiled(pattern).search, names)):
            yield pattern
