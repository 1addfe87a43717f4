"""Record what transformers computes with recorded checkpoints (`logits` in tests/converters/cases/NAME.json).

REFERENCE_PYTHON scripts/parity_logits.py [NAME...]     all that are listed here, or those named

REFERENCE_PYTHON has torch and transformers. Weights are as stored, computing is in float32.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from transformers import AutoModelForCausalLM

from tests.converters.cases import CASES, read_case, write_case

NAMES = (
    "bloom", "cohere", "cohere2", "exaone4-full", "falcon-40b", "gemma", "gemma2", "gemma3", "glm4", "gpt-neox", "gpt2",
    "granite", "llama", "llama-3", "mistral-nemo", "mixtral", "nemotron", "olmo2", "phi2", "phi3", "phi3-longrope",
    "qwen2", "qwen2-moe", "qwen3", "qwen3-moe", "smollm3", "stablelm2", "starcoder2",
)  # fmt: skip
TOKENS = [1, 270, 33, 281, 299, 262, 7, 290]
N_IDS = 32


def main() -> None:
    for name in sys.argv[1:] or NAMES:
        path = CASES / f"{name}.json"
        case = read_case(path)
        with tempfile.TemporaryDirectory() as scratch:
            folder = write_case(Path(scratch), case, tokenizer={})
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        model.eval()
        with torch.no_grad():
            logits = model(torch.tensor([TOKENS])).logits[0]
        ids = [i * logits.shape[-1] // N_IDS for i in range(N_IDS)]
        content = json.loads(path.read_text(encoding="utf-8"))
        content["logits"] = {
            "tokens": TOKENS,
            "ids": ids,
            "values": [" ".join(f"{value:.5g}" for value in row[ids].tolist()) for row in logits],
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        print(f"recorded {name}: up to {logits.abs().max():.4g}, first {logits[-1, ids[:3]].tolist()}")


if __name__ == "__main__":
    main()
