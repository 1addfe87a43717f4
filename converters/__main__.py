"""`python -m converters CHECKPOINT OUT [--outtype T] [--base FOLDER]`: convert one checkpoint folder, or an adapter."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from converters import ConversionError, convert, convert_lora
from converters.dtypes import OUT_TYPES


def warn(line: str) -> None:
    sys.stderr.write(f"warning: {line}\n")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m converters", description="Convert a Hub checkpoint, or a LoRA adapter of one, to GGUF."
    )
    parser.add_argument(
        "checkpoint", type=Path, help="folder with config.json, tokenizer and weights (with --base: with an adapter)"
    )
    parser.add_argument("out", type=Path, help="the .gguf file to write")
    parser.add_argument(
        "--outtype",
        choices=("auto", *OUT_TYPES),
        default="auto",
        help="type of the matrices; auto (the default) is the 16-bit type of the weights, f16 if there is none",
    )
    parser.add_argument(
        "--base",
        metavar="FOLDER",
        type=Path,
        help="the checkpoint is a LoRA adapter of the model whose config.json is here",
    )
    arguments = parser.parse_args()
    try:
        if arguments.base is not None:
            path = convert_lora(arguments.checkpoint, arguments.base, arguments.out, arguments.outtype, warn=warn)
        else:
            path = convert(arguments.checkpoint, arguments.out, arguments.outtype, warn=warn)
    except ConversionError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
