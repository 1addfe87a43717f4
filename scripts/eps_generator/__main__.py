"""Write the dataset beside the task that uses it."""

import json
from pathlib import Path

from scripts.eps_generator import generate

TARGET = Path(__file__).resolve().parents[2] / "gguf_bench" / "tasks" / "eps-v1.jsonl"

if __name__ == "__main__":
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in generate()]
    TARGET.write_text("".join(lines), encoding="utf-8", newline="\n")
    print(f"wrote {len(lines)} documents, {TARGET.stat().st_size:,} bytes, to {TARGET}")
