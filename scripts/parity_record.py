"""Record tests/converters/cases/NAME.json, as transformers saves such a model, for rows of scripts/parity_families.py.

REFERENCE_PYTHON scripts/parity_record.py [NAME...]     all rows, or those whose name holds a NAME

REFERENCE_PYTHON has torch and transformers. The values of the weights are not recorded: tests/converters/cases.py
makes them.
"""

from __future__ import annotations

import json
import re
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts.parity_families import ROWS, Row

CASES = Path(__file__).parent.parent / "tests" / "converters" / "cases"
TYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
SPECIAL_TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
"""In place of each family's own, which lie outside a tiny vocabulary."""


def main() -> None:
    for name, row in ROWS.items():
        if len(sys.argv) == 1 or any(part in name for part in sys.argv[1:]):
            try:
                record(name, row)
            except Exception as error:  # noqa: BLE001  what a row of the table gets wrong, any part of transformers may say
                print(f"cannot be made: {name}: {error!r}")


def record(name: str, row: Row) -> None:
    """Write the case's file. Sums that were recorded stay where nothing else changed."""
    config, tensors = (dict(row.config), dict(row.hand)) if row.hand is not None else saved(row)
    row.edit(config)
    for pattern, replacement in row.rename.items():
        tensors = {re.sub(pattern, replacement, tensor): shape for tensor, shape in tensors.items()}
    for tensor, entry in row.entries.items():
        tensors.pop(tensor, None)
        if entry is not None:
            tensors[tensor] = entry
    case = {
        "folder": f"Tiny-{name}",
        "tokenizer": row.tokenizer,
        "dtype": row.dtype,
        "layout": row.layout,
        "outtypes": list(row.outtypes),
        "config": config,
        "files": row.files,
        "tensors": tensors,
    }
    path = CASES / f"{name}.json"
    had: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results = {key: had.pop(key) for key in ("logits", "sums", "reference", "fails") if key in had}
    same = had == case
    if same:
        case |= results
    print("as it was" if same else "recorded ", name)
    path.write_text(json.dumps(case, indent=1) + "\n", encoding="utf-8")


def saved(row: Row) -> tuple[dict[str, Any], dict[str, str]]:
    """config.json as saved, and name -> "320x64" for every tensor; layers in one entry where they are alike."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    arguments = {**SPECIAL_TOKENS, **row.config}
    if "text_config" in row.config:
        arguments["text_config"] = {**SPECIAL_TOKENS, **row.config["text_config"]}
    config = getattr(transformers, f"{row.family}Config")(**arguments)
    model_class = getattr(transformers, row.model or f"{row.family}ForCausalLM")
    with tempfile.TemporaryDirectory() as scratch:
        model = model_class(config).to(getattr(torch, row.dtype))
        model.save_pretrained(scratch)
        content = json.loads((Path(scratch) / "config.json").read_text(encoding="utf-8"))
        with (Path(scratch) / "model.safetensors").open("rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    header.pop("__metadata__", None)
    names = [name for name in model.state_dict() if name in header] if "bin" in row.layout else list(header)
    entries = {}
    for name in names:
        shape = "x".join(map(str, header[name]["shape"]))
        dtype = TYPES[header[name]["dtype"]]
        entries[name] = shape if dtype == row.dtype else f"{shape} {dtype}"
    return content, entries if "bin" in row.layout else folded(entries)


def folded(entries: dict[str, str]) -> dict[str, str]:
    """Entries whose names differ by a number alone, and run from one number to another, as one: `{0-3}`."""
    for _ in range(2):  # layers, then experts
        groups: dict[tuple[str, str, str], list[int]] = {}
        result: dict[str, str] = {}
        for name, entry in entries.items():
            number = re.search(r"(?<=\.)\d+(?=\.)", name)
            if number:
                groups.setdefault((name[: number.start()], name[number.end() :], entry), []).append(int(number[0]))
            else:
                result[name] = entry
        for (before, after, entry), numbers in groups.items():
            numbers.sort()
            if len(numbers) == numbers[-1] - numbers[0] + 1 > 1:
                result[f"{before}{{{numbers[0]}-{numbers[-1]}}}{after}"] = entry
            else:
                result |= {f"{before}{i}{after}": entry for i in numbers}
        entries = result
    return dict(sorted(entries.items()))


if __name__ == "__main__":
    main()
