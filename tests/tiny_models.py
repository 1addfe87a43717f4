"""Tiny GGUF models of families that our converters do not write: a recurrent one and a mixed one, no vocabulary.

And Llamas that read text, dense or of experts: their vocabulary is the 256 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np


def write_model(
    path: Path,
    architecture: str,
    keys: Mapping[str, Any],
    tensors: Mapping[str, tuple[int, ...]],
    *,
    reads_bytes: bool = False,
    n_more_tokens: int = 0,
) -> Path:
    """A model of random weights; `tensors` have numpy's order of dimensions."""
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, architecture)
    if reads_bytes:
        _add_bytes(writer, n_more_tokens)
    else:
        writer.add_tokenizer_model("no_vocab")
    for key, value in {"vocab_size": 64, "context_length": 1 << 20, **keys}.items():
        add = {list: writer.add_array, float: writer.add_float32}.get(type(value), writer.add_uint32)
        add(f"{architecture}.{key}", value)
    for name, shape in tensors.items():
        values = random.normal(0, 0.3, shape).astype(np.float32)
        writer.add_tensor(
            name, np.abs(values) + 0.5 if "norm" in name else -np.abs(values) if "ssm_a" in name else values
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def mamba(path: Path) -> Path:
    n_layers, width, inner, state, kernel, rank = 3, 32, 64, 16, 4, 8
    layer = {
        "attn_norm.weight": (width,),
        "ssm_in.weight": (2 * inner, width),
        "ssm_conv1d.weight": (inner, kernel),
        "ssm_conv1d.bias": (inner,),
        "ssm_x.weight": (rank + 2 * state, inner),
        "ssm_dt.weight": (inner, rank),
        "ssm_dt.bias": (inner,),
        "ssm_a": (inner, state),
        "ssm_d": (inner,),
        "ssm_out.weight": (width, inner),
    }
    keys = {
        "block_count": n_layers,
        "embedding_length": width,
        "feed_forward_length": 0,
        "attention.head_count": 0,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "ssm.conv_kernel": kernel,
        "ssm.inner_size": inner,
        "ssm.state_size": state,
        "ssm.time_step_rank": rank,
    }
    tensors = {f"blk.{n}.{name}": shape for n in range(n_layers) for name, shape in layer.items()}
    return write_model(
        path, "mamba", keys, tensors | {"token_embd.weight": (64, width), "output_norm.weight": (width,)}
    )


def lfm2(path: Path) -> Path:
    """Layers of short convolutions, and every third one of attention with two KV heads."""
    kv_heads, width, kernel, head = [0, 0, 2, 0, 0, 2], 64, 3, 16
    tensors: dict[str, tuple[int, ...]] = {"token_embd.weight": (64, width), "token_embd_norm.weight": (width,)}
    for n, n_kv in enumerate(kv_heads):
        layer: dict[str, tuple[int, ...]] = {
            "ffn_norm": (width,),
            "attn_norm": (width,),
            "ffn_gate": (96, width),
            "ffn_up": (96, width),
            "ffn_down": (width, 96),
        }
        if n_kv:
            layer |= {"attn_q_norm": (head,), "attn_k_norm": (head,)}
            layer |= {"attn_q": (width, width), "attn_output": (width, width)}
            layer |= {"attn_k": (n_kv * head, width), "attn_v": (n_kv * head, width)}
        else:
            layer |= {"shortconv.conv": (width, kernel), "shortconv.in_proj": (3 * width, width)}
            layer |= {"shortconv.out_proj": (width, width)}
        tensors |= {f"blk.{n}.{name}.weight": shape for name, shape in layer.items()}
    keys = {
        "block_count": len(kv_heads),
        "embedding_length": width,
        "feed_forward_length": 96,
        "attention.head_count": 4,
        "attention.head_count_kv": kv_heads,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "shortconv.l_cache": kernel,
    }
    return write_model(path, "lfm2", keys, tensors)


N_BYTE_TOKENS = 259


def _add_bytes(writer: gguf.GGUFWriter, n_more: int) -> None:
    """A SentencePiece vocabulary of single bytes behind <unk>, <s> and </s>, and `n_more` words.

    A prompt begins with <s>.
    """
    words = [f"word{number}" for number in range(n_more)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words])
    writer.add_token_scores([0.0] * (N_BYTE_TOKENS + n_more))
    writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * n_more)  # unknown, control, bytes, normal
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)


def llama(
    path: Path,
    *,
    n_experts: int = 0,
    n_layers: int = 2,
    width: int = 64,
    feed_forward: int = 96,
    n_more_tokens: int = 0,
    context_length: int = 4096,
) -> Path:
    """A Llama that reads bytes; with `n_experts` each token goes through two of them."""
    n_tokens = N_BYTE_TOKENS + n_more_tokens
    layer: dict[str, tuple[int, ...]] = {
        "attn_norm": (width,),
        "attn_q": (width, width),
        "attn_k": (width // 2, width),
        "attn_v": (width // 2, width),
        "attn_output": (width, width),
        "ffn_norm": (width,),
    }
    experts = (n_experts,) if n_experts else ()
    suffix = "_exps" if n_experts else ""
    layer |= {f"ffn_{name}{suffix}": (*experts, feed_forward, width) for name in ("gate", "up")}
    layer |= {f"ffn_down{suffix}": (*experts, width, feed_forward)}
    keys = {
        "vocab_size": n_tokens,
        "context_length": context_length,
        "block_count": n_layers,
        "embedding_length": width,
        "feed_forward_length": feed_forward,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": width // 4,
    }
    if n_experts:
        layer |= {"ffn_gate_inp": (n_experts, width)}
        keys |= {"expert_count": n_experts, "expert_used_count": 2}
    tensors = {f"blk.{n}.{name}.weight": shape for n in range(n_layers) for name, shape in layer.items()}
    tensors |= {"token_embd.weight": (n_tokens, width), "output.weight": (n_tokens, width)}
    tensors |= {"output_norm.weight": (width,)}
    return write_model(path, "llama", keys, tensors, reads_bytes=True, n_more_tokens=n_more_tokens)
