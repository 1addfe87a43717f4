"""The generator of the built-in dataset: `python -m scripts.eps_generator` writes gguf_bench/tasks/eps-v1.jsonl.

Each document is drawn from seeds of its own (dataset, tier, number), so that more documents a tier leave the earlier
ones as they are.
"""

from scripts.eps_generator.documents import PER_TIER, TIERS, generate

__all__ = ["PER_TIER", "TIERS", "generate"]
