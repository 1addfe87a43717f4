"""The quantizations llama.cpp can write: one row a type, and how people spell them.

The names and numbers are those of `llama-quantize` and of `enum llama_ftype` (llama.cpp as vendored by
llama-cpp-python 0.3.36). To add a type, add a row.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from gguf_bench.errors import QuantizeError


@dataclass(frozen=True, slots=True)
class Quant:
    """A llama.cpp file type.

    `file_type` is the number in `general.file_type` and `llama_model_quantize_params.ftype`. `bits_per_weight` is
    nominal: what llama.cpp plans for a whole Llama-3.1-8B, embeddings and all. Other shapes differ, small models by
    much, so it serves to order and to estimate; the real figure is read from the file. `needs_imatrix` says whether
    llama.cpp refuses to write this type for such a model without an importance matrix. Where a model's shape forces
    fallback types (rows no multiple of 256), it may do without: llama.cpp has the last word.
    """

    name: str
    file_type: int
    bits_per_weight: float
    needs_imatrix: bool
    description: str


# Bits per weight from `llama_model_quantize` with `dry_run` on a Llama-3.1-8B shape, IQ3_XXS with an imatrix (from
# llama.cpp's tools/quantize/README.md). needs_imatrix from the same dry runs, which warn where one will be required
# (`tensor_requires_imatrix` in llama.cpp's src/llama-quant.cpp).
_ROWS = (
    Quant("F32", 0, 32.0, False, "32-bit floats"),
    Quant("BF16", 32, 16.0, False, "16-bit floats with the range of 32-bit ones"),
    Quant("F16", 1, 16.0, False, "16-bit floats"),
    Quant("Q8_0", 7, 8.50, False, "8 bits; hardly to be told from F16"),
    Quant("MXFP4_MOE", 38, 8.50, False, "MXFP4 experts of a mixture-of-experts model; all else Q8_0"),
    Quant("Q6_K", 18, 6.56, False, "6-bit K-quant"),
    Quant("Q5_1", 9, 6.04, False, "5 bits with an offset, older kind"),
    Quant("Q5_K_M", 17, 5.70, False, "5-bit K-quant mix, medium"),
    Quant("Q5_K_S", 16, 5.57, False, "5-bit K-quant mix, small"),
    Quant("Q5_0", 8, 5.57, False, "5 bits, older kind"),
    Quant("Q4_1", 3, 5.10, False, "4 bits with an offset, older kind"),
    Quant("Q4_K_M", 15, 4.89, False, "4-bit K-quant mix, medium; the usual choice"),
    Quant("IQ4_NL", 25, 4.68, False, "4 bits on a non-linear scale, blocks of 32"),
    Quant("Q4_K_S", 14, 4.67, False, "4-bit K-quant mix, small"),
    Quant("Q4_0", 2, 4.64, False, "4 bits, older kind; repacked for fast CPU kernels at load"),
    Quant("IQ4_XS", 30, 4.46, False, "4 bits on a non-linear scale, blocks of 256"),
    Quant("Q3_K_L", 13, 4.30, False, "3-bit K-quant mix, large"),
    Quant("Q3_K_M", 12, 4.00, False, "3-bit K-quant mix, medium"),
    Quant("IQ3_M", 27, 3.76, False, "3-bit codebook mix, medium"),
    Quant("IQ3_S", 26, 3.66, False, "3-bit codebook"),
    Quant("Q3_K_S", 11, 3.64, False, "3-bit K-quant, small"),
    Quant("IQ3_XS", 22, 3.50, True, "3-bit codebook, smaller"),
    Quant("IQ3_XXS", 23, 3.25, True, "3-bit codebook, smallest"),
    Quant("Q2_K", 10, 3.16, False, "2-bit K-quant mix, medium"),
    Quant("Q2_K_S", 21, 2.97, True, "2-bit K-quant, small"),
    Quant("IQ2_M", 29, 2.93, True, "2-bit codebook mix, medium"),
    Quant("IQ2_S", 28, 2.74, True, "2-bit codebook, small"),
    Quant("Q2_0", 41, 2.68, False, "2 bits, blocks of 64"),
    Quant("IQ2_XS", 20, 2.59, True, "2-bit codebook, smaller"),
    Quant("TQ2_0", 37, 2.52, False, "ternary, for models trained so, fast"),
    Quant("IQ2_XXS", 19, 2.38, True, "2-bit codebook, smallest"),
    Quant("TQ1_0", 36, 2.19, False, "ternary, for models trained so, packed"),
    Quant("IQ1_M", 31, 2.15, True, "1-bit codebook, medium"),
    Quant("IQ1_S", 24, 2.00, True, "1-bit codebook, small"),
    Quant("Q1_0", 40, 1.48, False, "1 bit, for models trained so"),
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
