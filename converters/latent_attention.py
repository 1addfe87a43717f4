"""Latent attention (DeepSeek-V2, section 2.1): keys and values come from one narrow vector a token, queries may too."""

from __future__ import annotations

from collections.abc import Mapping

from converters.architecture import DECODER_TENSORS, Architecture, Rows, Weight
from converters.hf_config import Config
from converters.tensor import Array


def key_parts(model: Architecture, values: Array) -> Array:
    """kv_b_proj (heads * (nope + v), rank) -> that which makes keys, transposed: (heads, rank, nope).

    llama.cpp multiplies queries by it, so that attention works on the latent vectors (as the DeepSeek-V2 paper's
    section 2.1 says can be done) and nothing but these is cached.
    """
    heads = values.reshape(model.n_heads, -1, values.shape[-1])
    return heads[:, : model.config["qk_nope_head_dim"]].swapaxes(1, 2)


def value_parts(model: Architecture, values: Array) -> Array:
    """kv_b_proj (heads * (nope + v), rank) -> that which makes values: (heads, v, rank)."""
    heads = values.reshape(model.n_heads, -1, values.shape[-1])
    return heads[:, model.config["qk_nope_head_dim"] :]


def queries_direct(model: Architecture, layer: int) -> bool:
    return model.config["q_lora_rank"] is None


def queries_latent(model: Architecture, layer: int) -> bool:
    return not queries_direct(model, layer)


ATTENTION = "model.layers.{i}.self_attn."
LATENT_QUERIES: Mapping[str, Weight] = {
    f"{ATTENTION}q_a_proj": Weight("blk.{i}.attn_q_a", ("query_rank", "hidden"), when=queries_latent),
    f"{ATTENTION}q_a_layernorm": Weight("blk.{i}.attn_q_a_norm", ("query_rank",), when=queries_latent),
    f"{ATTENTION}q_b_proj": Weight("blk.{i}.attn_q_b", ("queries", "query_rank"), when=queries_latent),
}
KV_B_SHAPE = ("keys_and_values", "key_value_rank")
LATENT_KEYS: Mapping[str, Weight] = {
    f"{ATTENTION}kv_a_proj_with_mqa": Weight("blk.{i}.attn_kv_a_mqa", ("key_value_rank_and_rope", "hidden")),
    f"{ATTENTION}kv_a_layernorm": Weight("blk.{i}.attn_kv_a_norm", ("key_value_rank",)),
    f"{ATTENTION}o_proj": Weight("blk.{i}.attn_output", ("hidden", "values")),
}
AROUND_ATTENTION: Mapping[str, Rows] = {name: row for name, row in DECODER_TENSORS.items() if "_proj" not in name}


def latent_sizes(config: Config) -> dict[str, int]:
    """Widths of the matrices of latent attention."""
    n_heads, rank, rope = config["num_attention_heads"], config["kv_lora_rank"], config["qk_rope_head_dim"]
    nope, value = config["qk_nope_head_dim"], config["v_head_dim"]
    return {
        "queries": n_heads * (nope + rope),
        "values": n_heads * value,
        "keys_and_values": n_heads * (nope + value),
        "query_rank": config["q_lora_rank"] or 0,
        "key_value_rank": rank,
        "key_value_rank_and_rope": rank + rope,
        "nope": nope,
        "value": value,
        "heads": n_heads,
    }
