"""The quantizations llama.cpp can write: one row a type, and how people spell them.

The names and numbers are those of `llama-quantize` and of `enum llama_ftype` (llama.cpp as vendored by
llama-cpp-python 0.3.36). To add a type, add a row.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from gguf_bench.errors import QuantizeError

DEFAULT_QUANT = "Q4_K_M"
"""What a checkpoint is run as when nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Quant:
    """A llama.cpp file type.

    `file_type` is the number in `general.file_type` and `llama_model_quantize_params.ftype`. `bits_per_weight` is
    nominal: what llama.cpp plans for a whole Llama-3.1-8B, embeddings and all. Other shapes differ, small models by
    much, so it serves to order and to estimate; the real figure is read from the file. `needs_imatrix` says whether
    llama.cpp refuses to write this type for such a model without an importance matrix. Where a model's shape forces
    fallback types (rows no multiple of 256), it may do without: llama.cpp has the last word. `description` says what it
    is for, in at most 44 characters, and `group` (one of GROUPS) what it is.
    """

    name: str
    file_type: int
    bits_per_weight: float
    needs_imatrix: bool
    group: str
    description: str


GROUPS: Mapping[str, str] = {
    "float": "Floats",
    "legacy": "Legacy: blocks of 32 with one scale",
    "k": "K-quants: blocks of 256, several types in a file",
    "i": "i-quants: codebooks and non-linear scales; better with an imatrix",
    "ternary": "Ternary: and 1 and 2 bits, for models trained so",
    "mxfp4": "MXFP4",
}
"""The families of types, as headings."""

# Bits per weight from `llama_model_quantize` with `dry_run` on a Llama-3.1-8B shape, IQ3_XXS with an imatrix (from
# llama.cpp's tools/quantize/README.md). needs_imatrix from the same dry runs, which warn where one will be required
# (`tensor_requires_imatrix` in llama.cpp's src/llama-quant.cpp).
_ROWS = (
    Quant("F32", 0, 32.0, False, "float", "what nothing is lost in"),
    Quant("BF16", 32, 16.0, False, "float", "as most checkpoints come; to quantize from"),
    Quant("F16", 1, 16.0, False, "float", "to quantize from; the reference here"),
    Quant("Q8_0", 7, 8.50, False, "legacy", "hardly to be told from F16"),
    Quant("MXFP4_MOE", 38, 8.50, False, "mxfp4", "experts as gpt-oss has them; all else Q8_0"),
    Quant("Q6_K", 18, 6.56, False, "k", "near Q8_0, a quarter smaller"),
    Quant("Q5_1", 9, 6.04, False, "legacy", "rows that K-quants do not fit; older files"),
    Quant("Q5_K_M", 17, 5.70, False, "k", "where there is room beyond Q4_K_M"),
    Quant("Q5_K_S", 16, 5.57, False, "k", "the same, no tensor better than 5 bits"),
    Quant("Q5_0", 8, 5.57, False, "legacy", "rows that K-quants do not fit; older files"),
    Quant("Q4_1", 3, 5.10, False, "legacy", "rows that K-quants do not fit; older files"),
    Quant("Q4_K_M", 15, 4.89, False, "k", "the usual choice"),
    Quant("IQ4_NL", 25, 4.68, False, "i", "rows that IQ4_XS does not fit"),
    Quant("Q4_K_S", 14, 4.67, False, "k", "a little less than the usual choice"),
    Quant("Q4_0", 2, 4.64, False, "legacy", "repacked for fast CPU kernels at load"),
    Quant("IQ4_XS", 30, 4.46, False, "i", "the smallest of 4 bits; slower on CPUs"),
    Quant("Q3_K_L", 13, 4.30, False, "k", "3 bits, sensitive tensors at 5"),
    Quant("Q3_K_M", 12, 4.00, False, "k", "3 bits, sensitive tensors at 4 and 5"),
    Quant("IQ3_M", 27, 3.76, False, "i", "3 bits, sensitive tensors at 4"),
    Quant("IQ3_S", 26, 3.66, False, "i", "3 bits"),
    Quant("Q3_K_S", 11, 3.64, False, "k", "3 bits; IQ3_S is of the same size"),
    Quant("IQ3_XS", 22, 3.50, True, "i", "between IQ3_XXS and IQ3_S"),
    Quant("IQ3_XXS", 23, 3.25, True, "i", "the smallest of 3 bits"),
    Quant("Q2_K", 10, 3.16, False, "k", "2 bits, sensitive tensors at 3 and 4"),
    Quant("Q2_K_S", 21, 2.97, True, "k", "2 bits, few tensors at 4"),
    Quant("IQ2_M", 29, 2.93, True, "i", "2 bits, sensitive tensors at 3"),
    Quant("IQ2_S", 28, 2.74, True, "i", "2 bits, few tensors at 3"),
    Quant("Q2_0", 41, 2.68, False, "ternary", "2 bits, blocks of 64"),
    Quant("IQ2_XS", 20, 2.59, True, "i", "2 bits, a larger codebook"),
    Quant("TQ2_0", 37, 2.52, False, "ternary", "ternary weights, fast"),
    Quant("IQ2_XXS", 19, 2.38, True, "i", "large models in little memory"),
    Quant("TQ1_0", 36, 2.19, False, "ternary", "ternary weights, packed"),
    Quant("IQ1_M", 31, 2.15, True, "i", "the largest models, with much lost"),
    Quant("IQ1_S", 24, 2.00, True, "i", "the largest models, with most lost"),
    Quant("Q1_0", 40, 1.48, False, "ternary", "1 bit, blocks of 128"),
)

QUANTS: Mapping[str, Quant] = {row.name: row for row in _ROWS}
"""Every type by its name, from most to fewest bits."""

ALIASES: Mapping[str, str] = {
    "Q3_K": "Q3_K_M",
    "Q4_K": "Q4_K_M",
    "Q5_K": "Q5_K_M",
    "4BIT": "Q4_K_M",
    "8BIT": "Q8_0",
}
"""Other spellings: llama-quantize's own, and the two words of models.yaml."""


def quant(text: str) -> Quant:
    """The row that `text` names, in upper or lower case, by name or alias.

    Raises QuantizeError, with names that look alike, for anything else.
    """
    wanted = text.strip().upper()
    row = QUANTS.get(ALIASES.get(wanted, wanted))
    if row is None:
        near = difflib.get_close_matches(wanted, [*QUANTS, *ALIASES], n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(QUANTS)}"
        raise QuantizeError(f"unknown quantization {text!r}", hint=hint)
    return row


def aliases(name: str) -> list[str]:
    """Other spellings of the type of this name."""
    return [alias for alias, meant in ALIASES.items() if meant == name]
