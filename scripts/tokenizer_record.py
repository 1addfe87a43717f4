"""Record what llama.cpp's converter makes of the small tokenizers of tests/converters/tokenizer_cases.py.

    REFERENCE_PYTHON scripts/tokenizer_record.py LLAMA_CPP

REFERENCE_PYTHON is a Python with transformers 5.23 and what llama.cpp's converter needs beside it, LLAMA_CPP the folder
that holds convert_hf_to_gguf.py. Writes tests/converters/tokenizers.json: for each case the SHA-256 of all keys as they
stand in the file, and, where the pre-tokenizer has no name, its fingerprint; it is then called "recorded".
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), sys.argv[1], f"{sys.argv[1]}/gguf-py"]

import gguf  # noqa: E402
from conversion import load_all_models  # type: ignore[import-not-found]  # noqa: E402
from conversion.base import ModelBase, TextModel  # type: ignore[import-not-found]  # noqa: E402

from tests.converters.tokenizer_cases import CASES, GOLDEN, Case, write  # noqa: E402


def record(folder: Path, case: Case) -> dict[str, str]:
    module, name, method = case.reference
    model = object.__new__(getattr(importlib.import_module(f"conversion.{module}"), name))
    model.dir_model, model.hparams = folder, ModelBase.load_hparams(folder, False)
    model.is_mistral_format, model.origin_hf_arch = False, None
    model.gguf_writer = gguf.GGUFWriter(None, "llama")
    fingerprints: list[str] = []
    named = TextModel.get_vocab_base_pre

    def named_or_recorded(self: Any, tokenizer: Any) -> str:
        encode, hashes = tokenizer.encode, []

        def noted(text: str, **options: Any) -> Any:
            ids = encode(text, **options)
            hashes.append(hashlib.sha256(str(ids).encode()).hexdigest())
            return ids

        tokenizer.encode = noted
        try:
            return str(named(self, tokenizer))
        except NotImplementedError:
            fingerprints.append(hashes[0])
            return "recorded"
        finally:
            tokenizer.encode = encode

    TextModel.get_vocab_base_pre = named_or_recorded
    try:
        getattr(model, method)()
    finally:
        TextModel.get_vocab_base_pre = named
    data = b""
    writer = model.gguf_writer
    for key, value in writer.kv_data[0].items():
        if key != "general.architecture":
            data += writer._pack_val(key, gguf.GGUFValueType.STRING, add_vtype=False)
            data += writer._pack_val(value.value, value.type, add_vtype=True, sub_type=value.sub_type)
    return {"sha256": hashlib.sha256(data).hexdigest(), **({"fingerprint": fingerprints[0]} if fingerprints else {})}


def main() -> None:
    logging.disable()
    load_all_models()
    golden = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, case) in enumerate(CASES.items()):
            folder = Path(scratch) / str(number)
            write(folder, case)
            golden[name] = record(folder, case)
            print(name, golden[name])
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
