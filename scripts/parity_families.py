"""The table of tiny checkpoints that scripts/parity_record.py records: one row a case.

To add a case:

1. Add a row to ROWS: the name of a config class of transformers without "Config", the arguments that make it tiny, and
   what else differs from the defaults of `Row`. Sizes of different kinds shall differ, so that a swapped one shows.
   For a family that transformers does not know, `config` is config.json itself and `hand` gives the tensors.
2. REFERENCE_PYTHON scripts/parity_record.py NAME          (writes tests/converters/cases/NAME.json)
3. python scripts/parity.py --only NAME --record           (compares, and notes the SHA-256 of the reference's files)

REFERENCE_PYTHON has torch and transformers: .parity/venv/bin/python, which `make parity` sets up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Edit = Callable[[Json], None]

SPM, BPE, GRANITE_BPE = 320, 49160, 49152
"""Vocabulary sizes: the SentencePiece model has 300 pieces, the BPE tokenizer 49152 tokens; the rest is padding.

The reference takes any Llama of 49152 tokens for an IBM Granite, so that number is for Granite alone.
"""

BASE: Json = {
    "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "vocab_size": SPM,
}  # fmt: skip
"""A head is 24 wide, so keys are 48. Rows of 96 and 160 are whole blocks of Q8_0."""
WIDE: Json = {**BASE, "head_dim": 32}
"""Queries are 128 wide, keys 64."""
BASE_BPE: Json = {**BASE, "vocab_size": BPE}
WIDE_BPE: Json = {**WIDE, "vocab_size": BPE}
EXPERTS: Json = {"moe_intermediate_size": 64, "num_experts_per_tok": 3}
MLA: Json = {
    **BASE_BPE, "num_key_value_heads": 4, "kv_lora_rank": 40, "q_lora_rank": 56, "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16, "v_head_dim": 24, "moe_intermediate_size": 64, "n_routed_experts": 6, "n_shared_experts": 2,
    "num_experts_per_tok": 3, "first_k_dense_replace": 1, "num_hidden_layers": 3,
}  # fmt: skip

LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0, "original_max_position_embeddings": 128}
FACTORS = {
    "short_factor": [1.0 + i / 16 for i in range(12)],
    "long_factor": [1.5 + i * i / 8 for i in range(12)],
}
PLAIN = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}


@dataclass(frozen=True)
class Row:
    """`config` are the arguments of `family`Config; `model` is the class to save if not `family`ForCausalLM.

    `edit` changes config.json after it was saved (to an older spelling, say); `rename` changes tensors' names (pattern
    -> replacement); `entries` adds or replaces tensors ("48x96 float32"), None removes one. With `hand` transformers
    takes no part.
    """

    family: str
    config: Json
    tokenizer: str = "spm"
    outtypes: tuple[str, ...] = ("f16", "q8_0")
    dtype: str = "bfloat16"
    layout: str = "one"
    files: Json = field(default_factory=dict)
    model: str = ""
    edit: Edit = lambda config: None
    rename: Mapping[str, str] = field(default_factory=dict)
    entries: Mapping[str, str | None] = field(default_factory=dict)
    hand: Mapping[str, str] | None = None


def old(config: Json) -> None:
    """config.json as it was before transformers 5: `rope_theta` and `rope_scaling` apart, `torch_dtype`."""
    rope = dict(config.pop("rope_parameters", None) or {})
    config.pop("layer_types", None)
    for key in ("rope_theta", "partial_rotary_factor"):
        if key in rope:
            config[key] = rope.pop(key)
    kind = rope.pop("rope_type", "default")
    config["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    if "dtype" in config:
        config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.41.0"


def but(*steps: Edit, **changes: Any) -> Edit:
    """Do the steps, then set keys; None removes one."""

    def edit(config: Json) -> None:
        for step in steps:
            step(config)
        for key, value in changes.items():
            config[key] = value
            if value is None:
                del config[key]

    return edit


def added(*texts: str, first: int = 49152, **more: Any) -> Json:
    """A tokenizer_config.json that adds special tokens."""
    tokens = {str(first + i): {"content": text, **PLAIN, "special": True} for i, text in enumerate(texts)}
    return {"tokenizer_config.json": {"added_tokens_decoder": tokens, **more}}


def hand_config(name: str, model_type: str, **config: Any) -> Json:
    """config.json of a family whose code lies on the Hub."""
    return {
        "architectures": [name], "model_type": model_type, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype":
        "bfloat16", "tie_word_embeddings": False, **config,
    }  # fmt: skip


LAYER = "model.layers.{0-1}."
DECODER = {
    "model.embed_tokens.weight": "320x96",
    f"{LAYER}input_layernorm.weight": "96",
    f"{LAYER}post_attention_layernorm.weight": "96",
    f"{LAYER}mlp.gate_proj.weight": "160x96",
    f"{LAYER}mlp.up_proj.weight": "160x96",
    f"{LAYER}mlp.down_proj.weight": "96x160",
    "model.norm.weight": "96",
    "lm_head.weight": "320x96",
}
STACKED_EXPERTS = {
    **{f"{LAYER}mlp.experts.{{0-5}}.{name}_proj.weight": None for name in ("gate", "up", "down")},
    f"{LAYER}mlp.experts.gate_up_proj": "6x128x96",
    f"{LAYER}mlp.experts.down_proj": "6x96x64",
}
ATTENTION = {
    f"{LAYER}self_attn.q_proj.weight": "96x96",
    f"{LAYER}self_attn.k_proj.weight": "48x96",
    f"{LAYER}self_attn.v_proj.weight": "48x96",
    f"{LAYER}self_attn.o_proj.weight": "96x96",
}
PACKED = {**DECODER, f"{LAYER}self_attn.W_pack.weight": "288x96", f"{LAYER}self_attn.o_proj.weight": "96x96"}
HAND_SIZES: Json = {**BASE, "hidden_act": "silu", "rms_norm_eps": 1e-5, "initializer_range": 0.02, "use_cache": True}

GLM_TOKENS = added(
    "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>", "<|observation|>",
    tokenizer_class="PreTrainedTokenizerFast", eos_token="<|endoftext|>",
)  # fmt: skip

FP8 = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [32, 64]}


def fp8(*shapes: tuple[str, int, int]) -> dict[str, str]:
    """Matrices as fp8 in blocks of 32x64, each with its scales."""
    entries = {}
    for name, rows, columns in shapes:
        entries[f"{name}.weight"] = f"{rows}x{columns} float8_e4m3fn"
        entries[f"{name}.weight_scale_inv"] = f"{-(-rows // 32)}x{-(-columns // 64)} float32"
    return entries


VISION = {
    "hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip

ROWS: dict[str, Row] = {
    # Llama and what is one
    "llama": Row("Llama", WIDE, outtypes=("f32", "f16", "bf16", "q8_0", "auto")),
    "llama-tied": Row("Llama", {**BASE, "tie_word_embeddings": True}),
    "llama-3": Row("Llama", {**BASE_BPE, "rope_parameters": LLAMA3}, tokenizer="bpe"),
    "llama-3-old": Row(
        "Llama",
        {**BASE_BPE, "rope_parameters": LLAMA3, "tie_word_embeddings": True},
        tokenizer="bpe",
        edit=but(old, head_dim=None),
    ),
    "llama-linear": Row(
        "Llama", {**BASE, "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}
    ),
    "llama-dynamic": Row(
        "Llama", {**BASE, "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}
    ),
    "llama-yarn": Row(
        "Llama", {**BASE, "rope_parameters": {**YARN, "beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 0.75}}
    ),
    "llama-biases": Row("Llama", {**BASE, "attention_bias": True, "mlp_bias": True}),
    "vicuna": Row(
        "Llama",
        {**BASE, "num_key_value_heads": 4},
        dtype="float16",
        layout="bin parts",
        edit=but(
            old,
            num_key_value_heads=None,
            head_dim=None,
            rope_theta=None,
            rope_scaling=None,
            attention_bias=None,
            mlp_bias=None,
            pad_token_id=0,
        ),
        outtypes=("f16", "q8_0", "auto"),
    ),
    "codellama": Row(
        "Llama",
        {
            **BASE,
            "vocab_size": 32016,
            "hidden_size": 32,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        },
        outtypes=("f16",),
    ),
    "mistral": Row("Mistral", {**BASE, "sliding_window": 128}),
    "mistral-nemo": Row("Mistral", {**WIDE_BPE, "sliding_window": None}, tokenizer="bpe"),
    "mistral-old": Row("Mistral", {**BASE, "sliding_window": 128}, edit=but(old, head_dim=None)),
    "mixtral": Row("Mixtral", {**BASE, "num_local_experts": 6, "num_experts_per_tok": 3, "sliding_window": None}),
    "smollm3-biases": Row(
        "SmolLM3", {**BASE_BPE, "num_hidden_layers": 4, "attention_bias": True, "mlp_bias": True}, tokenizer="bpe"
    ),
    "smollm3": Row("SmolLM3", {**BASE_BPE, "num_hidden_layers": 4, "no_rope_layer_interval": 4}, tokenizer="bpe"),
    "smollm3-old": Row(
        "SmolLM3",
        {**BASE_BPE, "num_hidden_layers": 5, "rope_parameters": YARN},
        tokenizer="bpe",
        dtype="float16",
        edit=but(old, head_dim=None, max_window_layers=28, pretraining_tp=2),
        entries={"lm_head.weight": "49160x96"},
    ),
    "arcee": Row(
        "Arcee", {**WIDE_BPE, "rope_parameters": {**YARN, "beta_fast": 32.0, "beta_slow": 1.0}}, tokenizer="bpe"
    ),
    "arcee-old": Row("Arcee", {**BASE_BPE, "tie_word_embeddings": True}, tokenizer="bpe", edit=old, dtype="float32"),
    # Qwen
    # transformers gives model type qwen2 Qwen's pre-tokenizer whatever the files say, which llama.cpp's converter then
    # knows by the ids of the real vocabulary alone: hence SentencePiece, which comes first where there is both.
    "qwen2": Row("Qwen2", {**BASE, "tie_word_embeddings": True}),
    "qwen2-untied": Row("Qwen2", BASE, outtypes=("f32", "bf16", "q8_0", "auto")),
    "qwen2.5-head-saved": Row(
        "Qwen2",
        {**BASE, "tie_word_embeddings": True, "max_window_layers": 1},
        dtype="float32",
        edit=but(old, sliding_window=64, use_mrope=False),
        entries={"lm_head.weight": "320x96"},
    ),
    "qwen2-yarn": Row("Qwen2", {**BASE, "rope_parameters": YARN}),
    "qwen2-yarn-old": Row("Qwen2", {**BASE, "rope_parameters": YARN}, edit=old),
    "qwen2-window-unused": Row(
        "Qwen2", {**BASE, "use_sliding_window": True, "sliding_window": 64, "max_window_layers": 2}
    ),
    "qwen1.5": Row("Qwen2", {**BASE, "num_key_value_heads": 4}, dtype="float16", layout="bin parts", edit=old),
    "qwen2-moe": Row(
        "Qwen2Moe",
        {**BASE_BPE, **EXPERTS, "num_experts": 6, "shared_expert_intermediate_size": 128, "norm_topk_prob": False},
        tokenizer="bpe",
    ),
    "qwen3": Row("Qwen3", {**WIDE_BPE, "tie_word_embeddings": True}, tokenizer="bpe"),
    "qwen3-biases": Row("Qwen3", {**WIDE, "attention_bias": True}),
    "qwen3-moe-defaults": Row(
        "Qwen3Moe", {**WIDE_BPE, **EXPERTS, "num_experts": 6, "attention_bias": True}, tokenizer="bpe"
    ),
    "qwen3-old": Row("Qwen3", {**WIDE_BPE, "rope_parameters": YARN}, tokenizer="bpe", edit=old),
    "qwen3-head-saved": Row(
        "Qwen3",
        {**WIDE_BPE, "tie_word_embeddings": True},
        tokenizer="bpe",
        dtype="float16",
        edit=old,
        entries={"lm_head.weight": "49160x96"},
    ),
    "qwen2-moe-old": Row(
        "Qwen2Moe",
        {**BASE_BPE, **EXPERTS, "num_experts": 12, "shared_expert_intermediate_size": 128, "norm_topk_prob": False},
        tokenizer="bpe",
        dtype="float32",
        layout="indexed",
        edit=but(old, qkv_bias=None, mlp_only_layers=None),
    ),
    "qwen3-moe": Row("Qwen3Moe", {**WIDE_BPE, **EXPERTS, "num_experts": 6, "norm_topk_prob": True}, tokenizer="bpe"),
    "qwen2-moe-stacked": Row(
        "Qwen2Moe",
        {**BASE_BPE, **EXPERTS, "num_experts": 6, "shared_expert_intermediate_size": 128, "norm_topk_prob": False},
        tokenizer="bpe",
        entries=STACKED_EXPERTS,
    ),
    "qwen3-moe-stacked": Row(
        "Qwen3Moe",
        {**WIDE_BPE, **EXPERTS, "num_experts": 6, "norm_topk_prob": True},
        tokenizer="bpe",
        dtype="float32",
        entries=STACKED_EXPERTS,
    ),
    "qwen3-moe-old": Row(
        "Qwen3Moe",
        {**WIDE_BPE, **EXPERTS, "num_experts": 12, "norm_topk_prob": True, "tie_word_embeddings": True},
        tokenizer="bpe",
        edit=but(old, max_window_layers=48, num_experts=12, num_local_experts=None),
    ),
    "qwen3-fp8": Row(
        "Qwen3",
        WIDE_BPE,
        tokenizer="bpe",
        outtypes=("f16", "q8_0"),
        edit=but(quantization_config=FP8),
        entries=fp8(
            (f"{LAYER}self_attn.q_proj", 128, 96),
            (f"{LAYER}self_attn.k_proj", 64, 96),
            (f"{LAYER}self_attn.v_proj", 64, 96),
            (f"{LAYER}self_attn.o_proj", 96, 128),
            (f"{LAYER}mlp.gate_proj", 160, 96),
            (f"{LAYER}mlp.up_proj", 160, 96),
            (f"{LAYER}mlp.down_proj", 96, 160),
        ),
    ),
    "qwen": Row(
        "",
        hand_config(
            "QWenLMHeadModel",
            "qwen",
            hidden_size=96,
            intermediate_size=320,
            num_hidden_layers=2,
            num_attention_heads=4,
            kv_channels=24,
            layer_norm_epsilon=1e-6,
            max_position_embeddings=512,
            rotary_emb_base=10000,
            rotary_pct=1.0,
            seq_length=512,
            vocab_size=BPE,
            no_bias=True,
            bf16=True,
        ),
        tokenizer="bpe",
        hand={
            "transformer.wte.weight": "49160x96",
            "transformer.h.{0-1}.ln_1.weight": "96",
            "transformer.h.{0-1}.attn.c_attn.weight": "288x96",
            "transformer.h.{0-1}.attn.c_attn.bias": "288",
            "transformer.h.{0-1}.attn.c_proj.weight": "96x96",
            "transformer.h.{0-1}.ln_2.weight": "96",
            "transformer.h.{0-1}.mlp.w1.weight": "160x96",
            "transformer.h.{0-1}.mlp.w2.weight": "160x96",
            "transformer.h.{0-1}.mlp.c_proj.weight": "96x160",
            "transformer.ln_f.weight": "96",
            "lm_head.weight": "49160x96",
        },
    ),
    # Phi
    "phi2": Row(
        "Phi",
        {**BASE_BPE, "num_key_value_heads": 4, "intermediate_size": 384, "partial_rotary_factor": 0.5},
        tokenizer="bpe",
    ),
    "phi2-old": Row(
        "Phi",
        {**BASE_BPE, "num_key_value_heads": 4, "intermediate_size": 384, "partial_rotary_factor": 0.5},
        tokenizer="bpe",
        edit=old,
    ),
    # llama.cpp looks for this token where a model's name holds "phi3".
    "phi3": Row(
        "Phi3",
        {**BASE, "sliding_window": 128, "original_max_position_embeddings": 512, "pad_token_id": 0},
        files=added("<|endoftext|>", first=300),
    ),
    "phi3-old": Row(
        "Phi3",
        {**BASE, "sliding_window": 128, "original_max_position_embeddings": 512, "pad_token_id": 0},
        edit=but(old, original_max_position_embeddings=512),
    ),
    # llama.cpp takes the short factors for contexts up to 256 here, its smallest.
    "phi3-longrope": Row(
        "Phi3",
        {
            **BASE,
            "original_max_position_embeddings": 256,
            "pad_token_id": 0,
            "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, **FACTORS},
        },
        files=added("<|endoftext|>", first=300),
    ),
    "phi3-longrope-old": Row(
        "Phi3",
        {
            **BASE,
            "original_max_position_embeddings": 128,
            "pad_token_id": 0,
            "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, **FACTORS},
        },
        edit=but(old, rope_scaling={"type": "longrope", **FACTORS}, original_max_position_embeddings=128),
    ),
    "phi4": Row("Phi3", {**BASE_BPE, "original_max_position_embeddings": 512, "pad_token_id": 0}, tokenizer="bpe"),
    "phi1.5-float16": Row(
        "Phi",
        {**BASE_BPE, "num_key_value_heads": 4, "intermediate_size": 384},
        tokenizer="bpe",
        dtype="float16",
        layout="bin parts",
        outtypes=("f32", "f16", "bf16", "q8_0", "auto"),
        edit=but(old, num_key_value_heads=None, partial_rotary_factor=0.5),
        entries={f"{LAYER}self_attn.rotary_emb.inv_freq": "6"},
    ),
    "phi3-su": Row(
        "Phi3",
        {
            **BASE,
            "num_key_value_heads": 4,
            "original_max_position_embeddings": 128,
            "pad_token_id": 0,
            "sliding_window": 256,
        },
        dtype="float16",
        edit=but(
            old,
            rope_scaling={"type": "su", **FACTORS},
            rope_theta=1e4,
            architectures=["Phi3ForCausalLM"],
            original_max_position_embeddings=128,
            attention_bias=False,
        ),
    ),
    # Phi 4 mini: rotates three quarters of a head, has one matrix for tokens and output, and no SentencePiece model.
    "phi4-mini": Row(
        "Phi3",
        {
            **BASE_BPE,
            "hidden_size": 128,
            "original_max_position_embeddings": 64,
            "pad_token_id": 0,
            "tie_word_embeddings": True,
            "partial_rotary_factor": 0.75,
            "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, "partial_rotary_factor": 0.75, **FACTORS},
        },
        tokenizer="bpe",
        outtypes=("f32", "f16", "bf16", "q8_0", "auto"),
        edit=but(
            old,
            rope_scaling={"type": "longrope", **FACTORS},
            partial_rotary_factor=0.75,
            original_max_position_embeddings=64,
            attention_bias=False,
            mlp_bias=False,
            lm_head_bias=False,
            full_attn_mod=1,
            interpolate_factor=1,
            sliding_window=262144,
        ),
    ),
    "phi3-within-context": Row(
        "Phi3",
        {
            **BASE,
            "original_max_position_embeddings": 512,
            "pad_token_id": 0,
            "num_key_value_heads": 4,
            "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, **FACTORS},
        },
        dtype="float32",
    ),
    # Falcon
    "falcon-7b": Row(
        "Falcon",
        {
            "hidden_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": BPE,
            "multi_query": True,
            "parallel_attn": True,
            "bias": False,
            "alibi": False,
        },
        tokenizer="bpe",
    ),
    "falcon-40b": Row(
        "Falcon",
        {
            "hidden_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_kv_heads": 2,
            "vocab_size": BPE,
            "new_decoder_architecture": True,
            "parallel_attn": True,
            "bias": False,
            "alibi": False,
        },
        tokenizer="bpe",
    ),
    # FalconConfig fills in as many heads for keys as for queries, and so misleads the reference; this says one.
    "falcon-7b-one-kv-head": Row(
        "Falcon",
        {
            "hidden_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": BPE,
            "multi_query": True,
            "parallel_attn": True,
            "bias": False,
            "alibi": False,
        },
        tokenizer="bpe",
        edit=but(num_kv_heads=1),
    ),
    "falcon-old": Row(
        "",
        hand_config(
            "RWForCausalLM",
            "RefinedWebModel",
            hidden_size=96,
            n_layer=2,
            n_head=4,
            vocab_size=BPE,
            multi_query=True,
            parallel_attn=True,
            bias=False,
            alibi=False,
            layer_norm_epsilon=1e-5,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            apply_residual_connection_post_layernorm=False,
            bos_token_id=11,
            eos_token_id=11,
        ),
        tokenizer="bpe",
        layout="bin",
        hand={
            "transformer.word_embeddings.weight": "49160x96",
            "transformer.h.{0-1}.input_layernorm.weight": "96",
            "transformer.h.{0-1}.input_layernorm.bias": "96",
            "transformer.h.{0-1}.self_attention.query_key_value.weight": "144x96",
            "transformer.h.{0-1}.self_attention.dense.weight": "96x96",
            "transformer.h.{0-1}.mlp.dense_h_to_4h.weight": "384x96",
            "transformer.h.{0-1}.mlp.dense_4h_to_h.weight": "96x384",
            "transformer.ln_f.weight": "96",
            "transformer.ln_f.bias": "96",
            "lm_head.weight": "49160x96",
        },
    ),
    "falcon-11b": Row(
        "Falcon",
        {
            "hidden_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_kv_heads": 2,
            "vocab_size": BPE,
            "new_decoder_architecture": True,
            "parallel_attn": True,
            "num_ln_in_parallel_attn": 1,
            "ffn_hidden_size": 384,
            "bias": False,
            "alibi": False,
        },
        tokenizer="bpe",
    ),
    "falcon-40b-old": Row(
        "",
        hand_config(
            "RWForCausalLM",
            "RefinedWeb",
            hidden_size=96,
            n_layer=2,
            n_head=4,
            n_head_kv=2,
            vocab_size=BPE,
            parallel_attn=True,
            bias=False,
            alibi=False,
            layer_norm_epsilon=1e-5,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            apply_residual_connection_post_layernorm=False,
            bos_token_id=11,
            eos_token_id=11,
        ),
        tokenizer="bpe",
        layout="bin parts",
        outtypes=("f32", "bf16", "auto"),
        hand={
            "transformer.word_embeddings.weight": "49160x96",
            "lm_head.weight": "49160x96",
            "transformer.h.{0-1}.ln_attn.weight": "96",
            "transformer.h.{0-1}.ln_attn.bias": "96",
            "transformer.h.{0-1}.ln_mlp.weight": "96",
            "transformer.h.{0-1}.ln_mlp.bias": "96",
            "transformer.h.{0-1}.self_attention.query_key_value.weight": "192x96",
            "transformer.h.{0-1}.self_attention.dense.weight": "96x96",
            "transformer.h.{0-1}.mlp.dense_h_to_4h.weight": "384x96",
            "transformer.h.{0-1}.mlp.dense_4h_to_h.weight": "96x384",
            "transformer.ln_f.weight": "96",
            "transformer.ln_f.bias": "96",
        },
    ),
    "falcon-180b": Row(
        "Falcon",
        {
            "hidden_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_kv_heads": 2,
            "vocab_size": BPE,
            "new_decoder_architecture": True,
            "tie_word_embeddings": False,
        },
        tokenizer="bpe",
        dtype="float16",
        edit=but(old, max_position_embeddings=None, parallel_attn=None),
    ),
    # Gemma
    "gemma": Row("Gemma", WIDE),
    "gemma-old": Row("Gemma", WIDE, edit=old),
    "gemma2": Row("Gemma2", {**WIDE, "sliding_window": 64, "query_pre_attn_scalar": 32}),
    "gemma2-old": Row("Gemma2", {**WIDE, "sliding_window": 64, "query_pre_attn_scalar": 32}, edit=old),
    "gemma3": Row(
        "Gemma3Text",
        {**WIDE, "sliding_window": 64, "query_pre_attn_scalar": 32, "num_hidden_layers": 3},
        model="Gemma3ForCausalLM",
        outtypes=("f16", "bf16", "q8_0"),
    ),
    "gemma3-old": Row(
        "Gemma3Text",
        {**WIDE, "sliding_window": 64, "query_pre_attn_scalar": 32},
        model="Gemma3ForCausalLM",
        edit=but(old, rope_theta=1e6, rope_local_base_freq=1e4, rope_scaling=None, sliding_window_pattern=6),
    ),
    "gemma3-multimodal": Row(
        "Gemma3",
        {
            "text_config": {**WIDE, "sliding_window": 64, "query_pre_attn_scalar": 32},
            "vision_config": VISION,
            "mm_tokens_per_image": 4,
        },
        model="Gemma3ForConditionalGeneration",
    ),
    "gemma3-4b-old": Row(
        "Gemma3",
        {
            "text_config": {
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "sliding_window": 64,
                "rope_parameters": None,
            },
            "vision_config": VISION,
            "mm_tokens_per_image": 4,
        },
        model="Gemma3ForConditionalGeneration",
        outtypes=("q8_0",),
        edit=but(
            text_config={
                "hidden_size": 32,
                "intermediate_size": 64,
                "model_type": "gemma3_text",
                "num_hidden_layers": 2,
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
                "sliding_window": 64,
            }
        ),
    ),
    "gemma3-bpe": Row(
        "Gemma3Text",
        {**WIDE_BPE, "sliding_window": 64, "query_pre_attn_scalar": 32, "tie_word_embeddings": False},
        model="Gemma3ForCausalLM",
        tokenizer="bpe",
        dtype="float16",
        edit=but(sliding_window_pattern=1, layer_types=["full_attention"] * 2),
    ),
    # GPT-2 and other designs with biases
    "gpt2": Row(
        "GPT2",
        {"n_embd": 96, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": BPE},
        model="GPT2LMHeadModel",
        tokenizer="bpe",
        outtypes=("f32", "f16", "bf16", "q8_0"),
    ),
    "gpt2-hub": Row(
        "GPT2",
        {"n_embd": 96, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": BPE},
        model="GPT2LMHeadModel",
        tokenizer="bpe",
        outtypes=("f32", "f16", "bf16", "q8_0"),
        edit=but(old, n_ctx=128, rope_scaling=None),
        rename={"^transformer\\.": ""},
    ),
    "gpt2-old": Row(
        "GPT2",
        {"n_embd": 96, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": BPE},
        model="GPT2LMHeadModel",
        tokenizer="bpe",
        dtype="float32",
        edit=but(old, n_ctx=128, rope_scaling=None),
        rename={"^transformer\\.": ""},
        entries={"h.{0-1}.attn.bias": "1x1x128x128"},
    ),
    "gpt-neox": Row(
        "GPTNeoX",
        {
            "hidden_size": 96,
            "intermediate_size": 160,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
            "vocab_size": BPE,
            "rotary_pct": 0.25,
        },
        tokenizer="bpe",
    ),
    "gpt-neox-old": Row(
        "GPTNeoX",
        {
            "hidden_size": 96,
            "intermediate_size": 160,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
            "vocab_size": BPE,
            "use_parallel_residual": False,
        },
        tokenizer="bpe",
        dtype="float16",
        edit=but(old, rope_theta=None, partial_rotary_factor=None, rotary_pct=0.25, rotary_emb_base=10000),
        entries={
            "gpt_neox.layers.{0-1}.attention.bias": "1x1x32x32 uint8",
            "gpt_neox.layers.{0-1}.attention.masked_bias": "1",
            "gpt_neox.layers.{0-1}.attention.rotary_emb.inv_freq": "3",
        },
    ),
    "bloom": Row("Bloom", {"hidden_size": 96, "n_layer": 2, "n_head": 4, "vocab_size": BPE}, tokenizer="bpe"),
    "bloom-old": Row(
        "Bloom",
        {"hidden_size": 96, "n_layer": 2, "n_head": 4, "vocab_size": BPE},
        tokenizer="bpe",
        dtype="float16",
        edit=but(old, n_embed=96, hidden_size=None, seq_length=2048, num_attention_heads=4),
        rename={"^transformer\\.": ""},
        layout="bin",
    ),
    "mpt": Row(
        "Mpt",
        {"d_model": 96, "n_layers": 2, "n_heads": 4, "max_seq_len": 256, "vocab_size": BPE, "expansion_ratio": 4},
        tokenizer="bpe",
    ),
    "mpt-hub": Row(
        "Mpt",
        {
            "d_model": 96,
            "n_layers": 2,
            "n_heads": 4,
            "max_seq_len": 256,
            "vocab_size": BPE,
            "attn_config": {"clip_qkv": 6.0, "alibi": True},
        },
        tokenizer="bpe",
        layout="bin",
        edit=but(old, architectures=["MPTForCausalLM"], rope_scaling=None),
    ),
    "mpt-7b-biases": Row(
        "",
        hand_config(
            "MPTForCausalLM",
            "mpt",
            d_model=96,
            n_layers=2,
            n_heads=4,
            max_seq_len=256,
            vocab_size=BPE,
            expansion_ratio=4,
            no_bias=False,
            learned_pos_emb=True,
            logit_scale=None,
            norm_type="low_precision_layernorm",
            embedding_fraction=1.0,
            emb_pdrop=0,
            resid_pdrop=0,
            init_device="cpu",
            init_config={"name": "kaiming_normal_"},
            verbose=0,
            attn_config={
                "alibi": False,
                "alibi_bias_max": 8,
                "attn_impl": "torch",
                "attn_pdrop": 0,
                "clip_qkv": 6,
                "attn_type": "multihead_attention",
                "attn_uses_sequence_id": False,
                "prefix_lm": False,
                "qk_ln": True,
                "softmax_scale": None,
            },
        ),
        tokenizer="bpe",
        dtype="float32",
        edit=but(tie_word_embeddings=None),
        outtypes=("f32", "f16", "bf16", "q8_0", "auto"),
        hand={
            "transformer.wte.weight": "49160x96",
            "transformer.wpe.weight": "256x96",
            **{
                f"transformer.blocks.{{0-1}}.{name}.{kind}": "96"
                for name in ("norm_1", "norm_2", "attn.q_ln", "attn.k_ln")
                for kind in ("weight", "bias")
            },
            "transformer.blocks.{0-1}.attn.Wqkv.weight": "288x96",
            "transformer.blocks.{0-1}.attn.Wqkv.bias": "288",
            "transformer.blocks.{0-1}.attn.out_proj.weight": "96x96",
            "transformer.blocks.{0-1}.attn.out_proj.bias": "96",
            "transformer.blocks.{0-1}.ffn.up_proj.weight": "384x96",
            "transformer.blocks.{0-1}.ffn.up_proj.bias": "384",
            "transformer.blocks.{0-1}.ffn.down_proj.weight": "96x384",
            "transformer.blocks.{0-1}.ffn.down_proj.bias": "96",
            "transformer.norm_f.weight": "96",
            "transformer.norm_f.bias": "96",
        },
    ),
    "mpt-grouped": Row(
        "",
        hand_config(
            "MPTForCausalLM",
            "mpt",
            d_model=96,
            n_layers=2,
            n_heads=4,
            max_seq_len=256,
            vocab_size=BPE,
            expansion_ratio=4,
            no_bias=True,
            logit_scale=None,
            norm_type="low_precision_layernorm",
            tie_word_embeddings=True,
            attn_config={
                "alibi": True,
                "alibi_bias_max": 16,
                "clip_qkv": None,
                "attn_type": "grouped_query_attention",
                "kv_n_heads": 2,
            },
        ),
        tokenizer="bpe",
        hand={
            "transformer.wte.weight": "49160x96",
            "transformer.blocks.{0-1}.norm_1.weight": "96",
            "transformer.blocks.{0-1}.norm_2.weight": "96",
            "transformer.blocks.{0-1}.attn.Wqkv.weight": "192x96",
            "transformer.blocks.{0-1}.attn.out_proj.weight": "96x96",
            "transformer.blocks.{0-1}.ffn.up_proj.weight": "384x96",
            "transformer.blocks.{0-1}.ffn.down_proj.weight": "96x384",
            "transformer.norm_f.weight": "96",
        },
    ),
    "sea-lion": Row(
        "",
        hand_config(
            "MPTForCausalLM",
            "mpt",
            d_model=96,
            n_layers=2,
            n_heads=4,
            max_seq_len=256,
            vocab_size=SPM,
            expansion_ratio=4,
            no_bias=True,
            logit_scale=None,
            norm_type="low_precision_layernorm",
            attn_config={
                "alibi": True,
                "alibi_bias_max": 8,
                "attn_type": "multihead_attention",
                "clip_qkv": None,
                "qk_ln": True,
            },
        ),
        hand={
            "transformer.wte.weight": "320x96",
            "transformer.blocks.{0-1}.norm_1.weight": "96",
            "transformer.blocks.{0-1}.norm_2.weight": "96",
            "transformer.blocks.{0-1}.attn.Wqkv.weight": "288x96",
            "transformer.blocks.{0-1}.attn.q_ln.weight": "96",
            "transformer.blocks.{0-1}.attn.k_ln.weight": "96",
            "transformer.blocks.{0-1}.attn.out_proj.weight": "96x96",
            "transformer.blocks.{0-1}.ffn.up_proj.weight": "384x96",
            "transformer.blocks.{0-1}.ffn.down_proj.weight": "96x384",
            "transformer.norm_f.weight": "96",
            "lm_head.weight": "320x96",
        },
    ),
    "redpajama": Row(
        "GPTNeoX",
        {
            "hidden_size": 96,
            "intermediate_size": 384,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
            "vocab_size": BPE,
            "use_parallel_residual": False,
        },
        tokenizer="bpe",
        dtype="float32",
        layout="bin",
        outtypes=("f32", "bf16", "auto"),
        edit=but(
            old,
            rope_theta=None,
            partial_rotary_factor=None,
            rotary_pct=1.0,
            rotary_emb_base=10000,
            hidden_act="gelu_fast",
        ),
        entries={"embed_out.weight": "49160x96"},
    ),
    "bloom-body": Row(
        "Bloom",
        {"hidden_size": 96, "n_layer": 2, "n_head": 4, "vocab_size": BPE},
        tokenizer="bpe",
        dtype="float32",
        outtypes=("f32", "f16", "bf16", "q8_0", "auto"),
        edit=but(
            old,
            n_embed=96,
            hidden_size=None,
            n_head=None,
            num_attention_heads=4,
            architectures=["BloomModel"],
            n_inner=None,
            attention_softmax_in_fp32=True,
        ),
        rename={"^transformer\\.": ""},
        entries={"lm_head.weight": "49160x96"},
    ),
    "gpt2-head-saved": Row(
        "GPT2",
        {"n_embd": 96, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": BPE},
        model="GPT2LMHeadModel",
        tokenizer="bpe",
        dtype="float16",
        layout="bin",
        edit=but(old, n_ctx=128, rope_scaling=None),
        entries={"lm_head.weight": "49160x96"},
        outtypes=("f32", "f16", "bf16", "q8_0", "auto"),
    ),
    "starcoder-old": Row(
        "GPTBigCode",
        {"n_embd": 96, "n_layer": 2, "n_head": 4, "n_positions": 128, "n_inner": 384, "vocab_size": BPE},
        tokenizer="bpe",
        dtype="float32",
        edit=but(
            old,
            attention_softmax_in_fp32=True,
            inference_runner=0,
            max_batch_size=None,
            pad_key_length=True,
            validate_runner_input=True,
            rope_scaling=None,
        ),
        entries={"lm_head.weight": "49160x96"},
        outtypes=("f32", "f16", "bf16", "q8_0", "auto"),
    ),
    "starcoder": Row(
        "GPTBigCode",
        {"n_embd": 96, "n_layer": 2, "n_head": 4, "n_positions": 128, "n_inner": 384, "vocab_size": BPE},
        tokenizer="bpe",
    ),
    "starcoder2": Row("Starcoder2", {**BASE_BPE, "sliding_window": 128}, tokenizer="bpe"),
    "starcoder2-without-biases": Row("Starcoder2", {**BASE_BPE, "use_bias": False}, tokenizer="bpe"),
    "starcoder2-old": Row(
        "Starcoder2", {**BASE_BPE, "sliding_window": 128, "tie_word_embeddings": False}, tokenizer="bpe", edit=old
    ),
    "stablelm2": Row("StableLm", {**BASE_BPE, "use_qkv_bias": True}, tokenizer="bpe"),
    "stablelm-3b-old": Row("StableLm", {**BASE_BPE, "num_key_value_heads": 4}, tokenizer="bpe", edit=old),
    "stablelm2-12b": Row(
        "StableLm", {**BASE_BPE, "qk_layernorm": True, "use_parallel_residual": True}, tokenizer="bpe"
    ),
    "stablelm-epoch": Row(
        "",
        hand_config(
            "StableLMEpochForCausalLM",
            "stablelm_epoch",
            hidden_act="silu",
            hidden_size=96,
            intermediate_size=160,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            norm_eps=1e-5,
            rope_pct=0.25,
            rope_theta=10000,
            rotary_scaling_factor=1.0,
            use_qkv_bias=True,
            vocab_size=BPE,
        ),
        tokenizer="bpe",
        dtype="float16",
        outtypes=("f32", "f16", "bf16", "q8_0", "auto"),
        hand={
            "model.embed_tokens.weight": "49160x96",
            "lm_head.weight": "49160x96",
            "model.norm.weight": "96",
            "model.norm.bias": "96",
            f"{LAYER}input_layernorm.weight": "96",
            f"{LAYER}input_layernorm.bias": "96",
            f"{LAYER}post_attention_layernorm.weight": "96",
            f"{LAYER}post_attention_layernorm.bias": "96",
            **ATTENTION,
            f"{LAYER}self_attn.q_proj.bias": "96",
            f"{LAYER}self_attn.k_proj.bias": "48",
            f"{LAYER}self_attn.v_proj.bias": "48",
            f"{LAYER}mlp.gate_proj.weight": "160x96",
            f"{LAYER}mlp.up_proj.weight": "160x96",
            f"{LAYER}mlp.down_proj.weight": "96x160",
            f"{LAYER}self_attn.rotary_emb.inv_freq": "3",
        },
    ),
    "nemotron": Row("Nemotron", {**BASE, "head_dim": 24, "partial_rotary_factor": 0.5}),
    "nemotron-old": Row("Nemotron", {**BASE, "head_dim": 24, "partial_rotary_factor": 0.5}, edit=old),
    "nemotron-biases": Row(
        "Nemotron",
        {**BASE, "partial_rotary_factor": 0.5, "attention_bias": True, "mlp_bias": True},
        dtype="float16",
        edit=but(old, head_dim=None, rope_scaling={"type": "linear", "factor": 2.0}),
    ),
    # OLMo
    "olmo": Row("Olmo", BASE_BPE, tokenizer="bpe"),
    "olmo-clipped": Row(
        "Olmo",
        {**BASE_BPE, "clip_qkv": 8.0, "num_key_value_heads": 4, "tie_word_embeddings": True},
        tokenizer="bpe",
        edit=old,
    ),
    "olmo2": Row("Olmo2", BASE_BPE, tokenizer="bpe"),
    "olmo2-tied-biases": Row(
        "Olmo2", {**BASE_BPE, "tie_word_embeddings": True, "attention_bias": True}, tokenizer="bpe"
    ),
    "olmo2-old": Row("Olmo2", BASE_BPE, tokenizer="bpe", edit=old),
    "olmo3": Row("Olmo3", {**BASE_BPE, "num_hidden_layers": 4, "sliding_window": 64}, tokenizer="bpe"),
    "olmo3-yarn": Row(
        "Olmo3",
        {
            **BASE_BPE,
            "num_hidden_layers": 4,
            "sliding_window": 64,
            "rope_parameters": {
                "full_attention": YARN,
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
        tokenizer="bpe",
    ),
    "olmo3-yarn-old": Row(
        "Olmo3",
        {**BASE_BPE, "num_hidden_layers": 4, "sliding_window": 64},
        tokenizer="bpe",
        edit=but(
            rope_parameters=None,
            rope_theta=500000,
            rope_scaling={**YARN, "attention_factor": 1.2079441541679836, "beta_fast": 32.0, "beta_slow": 1.0},
        ),
    ),
    "olmoe": Row(
        "Olmoe", {**BASE_BPE, "num_experts": 6, "num_experts_per_tok": 3, "num_key_value_heads": 4}, tokenizer="bpe"
    ),
    # Granite
    "granite": Row(
        "Granite",
        {
            **BASE,
            "vocab_size": GRANITE_BPE,
            "attention_multiplier": 0.0625,
            "embedding_multiplier": 12.0,
            "residual_multiplier": 0.25,
            "logits_scaling": 8.0,
        },
        tokenizer="bpe",
    ),
    "granite-tied-old": Row(
        "Granite",
        {
            **BASE,
            "vocab_size": GRANITE_BPE,
            "attention_multiplier": 0.0625,
            "embedding_multiplier": 12.0,
            "residual_multiplier": 0.25,
            "logits_scaling": 8.0,
            "tie_word_embeddings": True,
        },
        tokenizer="bpe",
        edit=old,
    ),
    "granite-moe": Row(
        "GraniteMoe",
        {
            **BASE,
            "vocab_size": GRANITE_BPE,
            "num_local_experts": 6,
            "num_experts_per_tok": 3,
            "embedding_multiplier": 12.0,
            "tie_word_embeddings": True,
        },
        tokenizer="bpe",
    ),
    "granite-moe-shared": Row(
        "GraniteMoeShared",
        {
            **BASE,
            "vocab_size": GRANITE_BPE,
            "num_local_experts": 6,
            "num_experts_per_tok": 3,
            "shared_intermediate_size": 128,
        },
        tokenizer="bpe",
    ),
    # Cohere
    "cohere": Row("Cohere", {**BASE_BPE, "logit_scale": 0.0625}, tokenizer="bpe"),
    "cohere-old": Row(
        "Cohere", {**BASE_BPE, "logit_scale": 0.0625}, tokenizer="bpe", edit=but(old, model_max_length=131072)
    ),
    "cohere-plus": Row("Cohere", {**BASE_BPE, "logit_scale": 0.8333, "use_qk_norm": True}, tokenizer="bpe"),
    "cohere2": Row(
        "Cohere2", {**BASE_BPE, "num_hidden_layers": 4, "sliding_window": 64, "logit_scale": 0.25}, tokenizer="bpe"
    ),
    "cohere2-old": Row(
        "Cohere2",
        {**BASE_BPE, "num_hidden_layers": 4, "sliding_window": 64, "logit_scale": 0.25},
        tokenizer="bpe",
        edit=but(old, rotary_pct=1.0, sliding_window_pattern=4),
    ),
    # GLM
    "glm4": Row(
        "Glm4",
        {**WIDE_BPE, "partial_rotary_factor": 0.5, "attention_bias": False, "pad_token_id": 0},
        tokenizer="bpe",
        files=GLM_TOKENS,
    ),
    "glm4-biases-old": Row(
        "Glm4",
        {**WIDE_BPE, "partial_rotary_factor": 0.5, "attention_bias": True, "pad_token_id": 0},
        tokenizer="bpe",
        files=GLM_TOKENS,
        edit=old,
    ),
    "glm": Row(
        "Glm",
        {**WIDE_BPE, "partial_rotary_factor": 0.5, "attention_bias": True, "pad_token_id": 0},
        tokenizer="bpe",
        files=GLM_TOKENS,
    ),
    # EXAONE
    "exaone4": Row(
        "Exaone4",
        {**WIDE_BPE, "num_hidden_layers": 4, "sliding_window": 64, "sliding_window_pattern": 4},
        tokenizer="bpe",
    ),
    "exaone4-full": Row(
        "Exaone4",
        {
            **BASE_BPE,
            "sliding_window": None,
            "layer_types": ["full_attention"] * 2,
            "rope_parameters": LLAMA3,
            "tie_word_embeddings": True,
        },
        tokenizer="bpe",
    ),
    "exaone4-32b-old": Row(
        "Exaone4",
        {**WIDE_BPE, "num_hidden_layers": 4, "sliding_window": 64, "rope_parameters": LLAMA3},
        tokenizer="bpe",
        edit=but(old, sliding_window_pattern="LLLG", layer_types=["sliding_attention"] * 3 + ["full_attention"]),
    ),
    "exaone4-old": Row(
        "Exaone4",
        {**WIDE_BPE, "num_hidden_layers": 4, "sliding_window": 64, "rope_parameters": LLAMA3},
        tokenizer="bpe",
        edit=but(old, sliding_window_pattern="LLLG", layer_types=[*3 * ["sliding_attention"], "full_attention"]),
    ),
    "exaone3.5": Row(
        "",
        hand_config(
            "ExaoneForCausalLM",
            "exaone",
            activation_function="silu",
            hidden_size=96,
            intermediate_size=160,
            num_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=24,
            layer_norm_epsilon=1e-5,
            max_position_embeddings=512,
            rope_theta=1000000,
            vocab_size=BPE,
            rope_scaling={
                "factor": 8.0,
                "high_freq_factor": 4.0,
                "low_freq_factor": 1.0,
                "original_max_position_embeddings": 64,
                "rope_type": "llama3",
            },
        ),
        tokenizer="bpe",
        hand={
            "transformer.wte.weight": "49160x96",
            "transformer.h.{0-1}.ln_1.weight": "96",
            "transformer.h.{0-1}.attn.attention.q_proj.weight": "96x96",
            "transformer.h.{0-1}.attn.attention.k_proj.weight": "48x96",
            "transformer.h.{0-1}.attn.attention.v_proj.weight": "48x96",
            "transformer.h.{0-1}.attn.attention.out_proj.weight": "96x96",
            "transformer.h.{0-1}.ln_2.weight": "96",
            "transformer.h.{0-1}.mlp.c_fc_0.weight": "160x96",
            "transformer.h.{0-1}.mlp.c_fc_1.weight": "160x96",
            "transformer.h.{0-1}.mlp.c_proj.weight": "96x160",
            "transformer.ln_f.weight": "96",
            "lm_head.weight": "49160x96",
        },
    ),
    # InternLM, MiniCPM, Baichuan
    "internlm2": Row(
        "",
        hand_config(
            "InternLM2ForCausalLM",
            "internlm2",
            **{**HAND_SIZES, "vocab_size": 300},
            bias=False,
            rope_theta=1000000,
            rope_scaling={"type": "dynamic", "factor": 2.0},
            attn_implementation="eager",
        ),
        files={"tokenizer_config.json": {"tokenizer_class": "InternLM2Tokenizer"}},
        hand={
            "model.tok_embeddings.weight": "300x96",
            f"{LAYER}attention.wqkv.weight": "192x96",
            f"{LAYER}attention.wo.weight": "96x96",
            f"{LAYER}attention_norm.weight": "96",
            f"{LAYER}ffn_norm.weight": "96",
            f"{LAYER}feed_forward.w1.weight": "160x96",
            f"{LAYER}feed_forward.w2.weight": "96x160",
            f"{LAYER}feed_forward.w3.weight": "160x96",
            "model.norm.weight": "96",
            "output.weight": "300x96",
        },
    ),
    "internlm2-chat": Row(
        "",
        hand_config(
            "InternLM2ForCausalLM",
            "internlm2",
            **{**HAND_SIZES, "vocab_size": 300},
            bias=False,
            rope_theta=1000000,
            rope_scaling={"type": "dynamic", "factor": 2.0},
        ),
        files={
            "tokenizer_config.json": {
                "tokenizer_class": "InternLM2Tokenizer",
                "added_tokens_decoder": {
                    "0": {"content": "<unk>", **PLAIN, "special": True},
                    "1": {"content": "<s>", **PLAIN, "special": True},
                    "2": {"content": "</s>", **PLAIN, "special": True},
                    "298": {"content": "<|im_end|>", **PLAIN, "special": True},
                    "299": {"content": "<|plugin|>", **PLAIN, "special": False},
                },
            }
        },
        hand={
            "model.tok_embeddings.weight": "300x96",
            f"{LAYER}attention.wqkv.weight": "192x96",
            f"{LAYER}attention.wo.weight": "96x96",
            f"{LAYER}attention_norm.weight": "96",
            f"{LAYER}ffn_norm.weight": "96",
            f"{LAYER}feed_forward.w1.weight": "160x96",
            f"{LAYER}feed_forward.w2.weight": "96x160",
            f"{LAYER}feed_forward.w3.weight": "160x96",
            "model.norm.weight": "96",
            "output.weight": "300x96",
        },
    ),
    "internlm3": Row(
        "",
        hand_config(
            "InternLM3ForCausalLM",
            "internlm3",
            **{**HAND_SIZES, "head_dim": 24},
            qkv_bias=False,
            bias=False,
            rope_theta=50000000,
            rope_scaling={"factor": 6.0, "rope_type": "dynamic"},
        ),
        files=added("<|im_start|>", "<|im_end|>", first=300, tokenizer_class="InternLM3Tokenizer"),
        hand={**DECODER, **ATTENTION},
    ),
    "internlm3-prefix-null": Row(
        "",
        hand_config("InternLM3ForCausalLM", "internlm3", **{**HAND_SIZES, "head_dim": 24}),
        files={"tokenizer_config.json": {"add_prefix_space": None}},
        hand={**DECODER, **ATTENTION},
    ),
    "internlm3-biases": Row(
        "",
        hand_config(
            "InternLM3ForCausalLM",
            "internlm3",
            **{**HAND_SIZES, "head_dim": 32},
            qkv_bias=True,
            bias=True,
            rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 50000000.0},
        ),
        dtype="float32",
        files={"tokenizer_config.json": {"add_prefix_space": False}},
        hand={
            **DECODER,
            f"{LAYER}self_attn.q_proj.weight": "128x96",
            f"{LAYER}self_attn.k_proj.weight": "64x96",
            f"{LAYER}self_attn.v_proj.weight": "64x96",
            f"{LAYER}self_attn.o_proj.weight": "96x128",
            f"{LAYER}self_attn.q_proj.bias": "128",
            f"{LAYER}self_attn.k_proj.bias": "64",
            f"{LAYER}self_attn.v_proj.bias": "64",
            f"{LAYER}self_attn.o_proj.bias": "96",
            f"{LAYER}mlp.gate_proj.bias": "160",
            f"{LAYER}mlp.up_proj.bias": "160",
            f"{LAYER}mlp.down_proj.bias": "96",
        },
    ),
    "minicpm": Row(
        "",
        hand_config(
            "MiniCPMForCausalLM",
            "minicpm",
            **HAND_SIZES,
            scale_emb=12,
            dim_model_base=48,
            scale_depth=1.4,
            rope_scaling=None,
        ),
        edit=but(tie_word_embeddings=None),
        dtype="float16",
        layout="bin",
        hand={name: shape for name, shape in {**DECODER, **ATTENTION}.items() if name != "lm_head.weight"},
    ),
    "minicpm-longrope": Row(
        "",
        hand_config(
            "MiniCPMForCausalLM",
            "minicpm",
            **HAND_SIZES,
            scale_emb=12,
            dim_model_base=48,
            scale_depth=1.4,
            rope_theta=10000.0,
            rope_scaling={"type": "longrope", **FACTORS, "original_max_position_embeddings": 512},
        ),
        hand={**DECODER, **ATTENTION},
    ),
    "minicpm3": Row(
        "",
        hand_config(
            "MiniCPM3ForCausalLM",
            "minicpm3",
            **{**HAND_SIZES, "num_key_value_heads": 4},
            q_lora_rank=56,
            kv_lora_rank=40,
            qk_nope_head_dim=32,
            qk_rope_head_dim=24,
            v_head_dim=24,
            scale_emb=12,
            dim_model_base=256,
            scale_depth=1.4,
            rope_scaling={"type": "longrope", **FACTORS, "original_max_position_embeddings": 512},
            tie_word_embeddings=True,
        ),
        hand={
            **{name: shape for name, shape in DECODER.items() if name != "lm_head.weight"},
            f"{LAYER}self_attn.q_a_proj.weight": "56x96",
            f"{LAYER}self_attn.q_a_layernorm.weight": "56",
            f"{LAYER}self_attn.q_b_proj.weight": "224x56",
            f"{LAYER}self_attn.kv_a_proj_with_mqa.weight": "64x96",
            f"{LAYER}self_attn.kv_a_layernorm.weight": "40",
            f"{LAYER}self_attn.kv_b_proj.weight": "224x40",
            f"{LAYER}self_attn.o_proj.weight": "96x96",
        },
    ),
    # llama.cpp tells these two by their layers: rotary embedding or ALiBi.
    "baichuan-7b": Row(
        "",
        hand_config(
            "BaiChuanForCausalLM",
            "baichuan",
            **{key: value for key, value in HAND_SIZES.items() if key != "num_key_value_heads"}
            | {"num_hidden_layers": 32},
        ),
        layout="bin",
        hand={name.replace("{0-1}", "{0-31}"): shape for name, shape in PACKED.items()},
        entries={"model.layers.{0-31}.self_attn.rotary_emb.inv_freq": "12"},
    ),
    "baichuan2-13b": Row(
        "",
        hand_config(
            "BaichuanForCausalLM",
            "baichuan",
            **{
                key: value
                for key, value in HAND_SIZES.items()
                if key not in ("num_key_value_heads", "max_position_embeddings")
            }
            | {"num_hidden_layers": 40},
            model_max_length=512,
            z_loss_weight=0,
        ),
        hand={name.replace("{0-1}", "{0-39}"): shape for name, shape in PACKED.items()},
    ),
    # DeepSeek
    "deepseek-moe": Row(
        "",
        hand_config(
            "DeepseekForCausalLM",
            "deepseek",
            **{**HAND_SIZES, "num_hidden_layers": 3, "num_key_value_heads": 4, "vocab_size": BPE},
            **EXPERTS,
            n_routed_experts=6,
            n_shared_experts=2,
            first_k_dense_replace=1,
            moe_layer_freq=1,
            norm_topk_prob=False,
            scoring_func="softmax",
            rope_theta=10000,
            rope_scaling=None,
        ),
        tokenizer="bpe",
        hand={
            "model.embed_tokens.weight": "49160x96",
            "model.norm.weight": "96",
            "lm_head.weight": "49160x96",
            "model.layers.{0-2}.input_layernorm.weight": "96",
            "model.layers.{0-2}.post_attention_layernorm.weight": "96",
            **{f"model.layers.{{0-2}}.self_attn.{name}_proj.weight": "96x96" for name in "qkvo"},
            "model.layers.0.mlp.gate_proj.weight": "160x96",
            "model.layers.0.mlp.up_proj.weight": "160x96",
            "model.layers.0.mlp.down_proj.weight": "96x160",
            "model.layers.{1-2}.mlp.gate.weight": "6x96",
            "model.layers.{1-2}.mlp.experts.{0-5}.gate_proj.weight": "64x96",
            "model.layers.{1-2}.mlp.experts.{0-5}.up_proj.weight": "64x96",
            "model.layers.{1-2}.mlp.experts.{0-5}.down_proj.weight": "96x64",
            "model.layers.{1-2}.mlp.shared_experts.gate_proj.weight": "128x96",
            "model.layers.{1-2}.mlp.shared_experts.up_proj.weight": "128x96",
            "model.layers.{1-2}.mlp.shared_experts.down_proj.weight": "96x128",
        },
    ),
    "deepseek-v2-lite": Row("DeepseekV2", {**MLA, "q_lora_rank": None}, tokenizer="bpe"),
    "deepseek-v2": Row(
        "DeepseekV2",
        {**MLA, "n_group": 2, "topk_group": 1, "topk_method": "group_limited_greedy", "routed_scaling_factor": 16.0},
        tokenizer="bpe",
    ),
    "deepseek-v2-yarn-old": Row(
        "DeepseekV2",
        {**MLA, "q_lora_rank": None},
        tokenizer="bpe",
        edit=but(
            old,
            rope_scaling={
                "beta_fast": 32,
                "beta_slow": 1,
                "factor": 40,
                "mscale": 0.707,
                "mscale_all_dim": 0.707,
                "original_max_position_embeddings": 64,
                "type": "yarn",
            },
            scoring_func="softmax",
            moe_layer_freq=1,
        ),
    ),
    # transformers does not save scoring_func; without it llama.cpp takes softmax, and we refuse.
    "deepseek-v3": Row(
        "DeepseekV3",
        {**MLA, "n_group": 2, "topk_group": 1},
        tokenizer="bpe",
        edit=but(scoring_func="sigmoid"),
        outtypes=("f32", "f16", "bf16", "q8_0"),
    ),
    "deepseek-v3-old": Row(
        "DeepseekV3",
        {**MLA, "n_group": 2, "topk_group": 1, "q_lora_rank": None, "tie_word_embeddings": True},
        tokenizer="bpe",
        layout="indexed",
        edit=but(
            old,
            head_dim=None,
            rope_scaling={
                "beta_fast": 32,
                "beta_slow": 1,
                "factor": 40,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "original_max_position_embeddings": 64,
                "type": "yarn",
            },
            scoring_func="sigmoid",
            moe_layer_freq=1,
            topk_method="noaux_tc",
            num_nextn_predict_layers=1,
        ),
        entries={
            "lm_head.weight": "49160x96",
            # The layer that predicts one token more, which is left out.
            "model.layers.3.eh_proj.weight": "96x192",
            "model.layers.3.embed_tokens.weight": "49160x96",
            "model.layers.3.mlp.experts.{0-5}.up_proj.weight": "64x96",
            "model.layers.3.shared_head.head.weight": "49160x96",
        },
    ),
    "deepseek-v3-fp8-old": Row(
        "DeepseekV3",
        {**MLA, "n_group": 2, "topk_group": 1},
        tokenizer="bpe",
        edit=but(
            old,
            rope_scaling={
                "beta_fast": 32,
                "beta_slow": 1,
                "factor": 40,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "original_max_position_embeddings": 64,
                "type": "yarn",
            },
            scoring_func="sigmoid",
            moe_layer_freq=1,
            topk_method="noaux_tc",
            num_nextn_predict_layers=1,
            quantization_config=FP8,
        ),
        entries={
            "model.layers.{1-2}.mlp.gate.e_score_correction_bias": "6 float32",
            **fp8(
                ("model.layers.{0-2}.self_attn.q_a_proj", 56, 96),
                ("model.layers.{0-2}.self_attn.q_b_proj", 192, 56),
                ("model.layers.{0-2}.self_attn.kv_a_proj_with_mqa", 56, 96),
                ("model.layers.{0-2}.self_attn.kv_b_proj", 224, 40),
                ("model.layers.{0-2}.self_attn.o_proj", 96, 96),
                ("model.layers.{1-2}.mlp.experts.{0-5}.gate_proj", 64, 96),
                ("model.layers.{1-2}.mlp.experts.{0-5}.up_proj", 64, 96),
                ("model.layers.{1-2}.mlp.experts.{0-5}.down_proj", 96, 64),
            ),
            # The layer that predicts one token more, which is left out.
            "model.layers.3.eh_proj.weight": "96x192",
            "model.layers.3.enorm.weight": "96",
            "model.layers.3.shared_head.norm.weight": "96",
        },
    ),
    # GPT-OSS
    "gpt-oss-bf16": Row(
        "GptOss",
        {**WIDE_BPE, "num_local_experts": 6, "num_experts_per_tok": 3, "sliding_window": 64},
        tokenizer="bpe",
        outtypes=("f16", "bf16"),
    ),
    "gpt-oss": Row(
        "GptOss",
        {**WIDE_BPE, "num_local_experts": 6, "num_experts_per_tok": 3, "sliding_window": 64},
        tokenizer="bpe",
        outtypes=("f16", "bf16", "auto"),
        edit=but(
            quantization_config={
                "quant_method": "mxfp4",
                "modules_to_not_convert": [
                    "model.layers.*.self_attn",
                    "model.layers.*.mlp.router",
                    "model.embed_tokens",
                    "lm_head",
                ],
            }
        ),
        entries={
            f"{LAYER}mlp.experts.gate_up_proj": None,
            f"{LAYER}mlp.experts.down_proj": None,
            f"{LAYER}mlp.experts.gate_up_proj_blocks": "6x320x3x16 uint8",
            f"{LAYER}mlp.experts.gate_up_proj_scales": "6x320x3 uint8",
            f"{LAYER}mlp.experts.down_proj_blocks": "6x96x5x16 uint8",
            f"{LAYER}mlp.experts.down_proj_scales": "6x96x5 uint8",
        },
    ),
    "gpt-oss-old": Row(
        "GptOss",
        {**WIDE_BPE, "num_local_experts": 6, "num_experts_per_tok": 3, "sliding_window": 64},
        tokenizer="bpe",
        outtypes=("f32", "q8_0"),
        edit=but(
            rope_parameters=None,
            rope_theta=150000,
            rope_scaling={
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "factor": 32.0,
                "original_max_position_embeddings": 4096,
                "rope_type": "yarn",
                "truncate": False,
            },
            experts_per_token=3,
            initial_context_length=4096,
            quantization_config={"quant_method": "mxfp4"},
        ),
        entries={
            f"{LAYER}mlp.experts.gate_up_proj": None,
            f"{LAYER}mlp.experts.down_proj": None,
            f"{LAYER}mlp.experts.gate_up_proj_blocks": "6x320x3x16 uint8",
            f"{LAYER}mlp.experts.gate_up_proj_scales": "6x320x3 uint8",
            f"{LAYER}mlp.experts.down_proj_blocks": "6x96x5x16 uint8",
            f"{LAYER}mlp.experts.down_proj_scales": "6x96x5 uint8",
        },
    ),
}
