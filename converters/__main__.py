"""`python -m converters CHECKPOINT OUT [--outtype T]`: convert one checkpoint folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from converters import ConversionError, convert
from converters.dtypes import OUT_TYPES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m converters", description="Convert a Hub checkpoint to GGUF.")
    parser.add_argument("checkpoint", type=Path, help="folder with config.json, tokenizer and weights")
    parser.add_argument("out", type=Path, help="the .gguf file to write")
    parser.add_argument("--outtype", choices=("auto", *OUT_TYPES), default="auto", help="default: %(default)s")
    arguments = parser.parse_args()
    try:
        path = convert(arguments.checkpoint, arguments.out, arguments.outtype)
    except ConversionError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
