"""Which class transformers 5 (as of 5.23) loads a tokenizer with, and what that class makes of it, as data.

Most tokenizer.json are taken as they are. Some classes keep only vocabulary, merges and post-processor, and bring the
rest themselves; llama.cpp's converter sees the tokenizer through them, so its bytes depend on which class it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from converters.errors import TokenizerError

PLAIN = "TokenizersBackend"
"""transformers' name for the class that takes a tokenizer.json as it is."""

NAMED_TOKENS = tuple(f"{kind}_token" for kind in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerClass:
    """What a class sets whatever tokenizer.json says, in the terms of tokenizer.json.

    `tokens` are the special tokens where tokenizer_config.json names none (None: there is none). `reads_slow_files`:
    vocab.json and merges.txt will do. `resets_template`: the post-processor goes too. `adds_special_tokens` is what the
    class does with the special tokens at last: "again" adds them as ordinary added tokens, "as special" as special.
    """

    pre_tokenizer: dict[str, Any]
    decoder: dict[str, Any]
    tokens: Mapping[str, str | None]
    model: Mapping[str, Any] = field(default_factory=dict)
    normalizer: dict[str, Any] | None = None
    reads_slow_files: bool = True
    resets_template: bool = False
    adds_special_tokens: str = ""


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _byte_level(*, use_regex: bool = True) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def _split_then_bytes(letters: str, signs: str) -> dict[str, Any]:
    """Qwen's rules: contractions, `letters`, single digits, runs of what is none of `signs`, line ends, spaces."""
    pattern = (
        rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?{letters}+|\p{{N}}"
        rf"| ?[^\s{signs}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _byte_level(use_regex=False)]}


SPACE_DECODER = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ],
}
STRIP_FIRST_SPACE = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
END_OF_TEXT = dict.fromkeys(("unk_token", "bos_token", "eos_token"), "<|endoftext|>")
LLAMA_TOKENS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
QWEN_TOKENS = {**END_OF_TEXT, "bos_token": None, "pad_token": "<|endoftext|>"}

TOKENIZER_CLASSES: Mapping[str, TokenizerClass] = {
    "GPT2Tokenizer": TokenizerClass(
        pre_tokenizer=_byte_level(), decoder=_byte_level(), tokens={**END_OF_TEXT, "pad_token": None}
    ),
    "CodeGenTokenizer": TokenizerClass(
        pre_tokenizer=_byte_level(), decoder=_byte_level(), tokens={**END_OF_TEXT, "pad_token": None}
    ),
    "GPTNeoXTokenizer": TokenizerClass(
        normalizer={"type": "NFC"},
        pre_tokenizer=_byte_level(),
        decoder=_byte_level(),
        tokens={**END_OF_TEXT, "pad_token": "<|padding|>"},
        resets_template=True,
    ),
    "Qwen2Tokenizer": TokenizerClass(
        normalizer={"type": "NFC"},
        pre_tokenizer=_split_then_bytes(r"\p{L}", r"\p{L}\p{N}"),
        decoder=_byte_level(),
        tokens=QWEN_TOKENS,
        adds_special_tokens="again",
    ),
    "Qwen3_5Tokenizer": TokenizerClass(
        normalizer={"type": "NFC"},
        pre_tokenizer=_split_then_bytes(r"[\p{L}\p{M}]", r"\p{L}\p{M}\p{N}"),
        decoder=_byte_level(),
        tokens=QWEN_TOKENS,
        reads_slow_files=False,
    ),
    "CohereTokenizer": TokenizerClass(
        normalizer={"type": "NFC"},
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, _byte_level()],
        },
        decoder=_byte_level(),
        tokens={
            "unk_token": "<UNK>",
            "bos_token": "<BOS_TOKEN>",
            "eos_token": "<|END_OF_TURN_TOKEN|>",
            "pad_token": "<PAD>",
            "cls_token": "<CLS>",
            "sep_token": "<SEP>",
            "mask_token": "<MASK_TOKEN>",
        },
        adds_special_tokens="as special",
    ),
    "GemmaTokenizer": TokenizerClass(
        model={"fuse_unk": True, "byte_fallback": True, "unk_token": "<unk>"},
        normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        pre_tokenizer={
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        decoder=SPACE_DECODER,
        tokens={f"{kind}_token": f"<{kind}>" for kind in ("unk", "bos", "eos", "pad", "mask")},
        reads_slow_files=False,
    ),
    "LlamaTokenizer": TokenizerClass(
        model={"fuse_unk": True, "byte_fallback": True},
        pre_tokenizer=METASPACE,
        decoder=SPACE_DECODER,
        tokens=LLAMA_TOKENS,
        reads_slow_files=False,
    ),
}
"""The classes that models of text bring."""

CLASS_OF_MODEL_TYPE: Mapping[str, str] = {
    model_type: name
    for name, model_types in {
        "GPT2Tokenizer": "blip-2 codegen dbrx emu3 gpt2 gpt_neo gptj hyperclovax_vision_v2 jais2 opt phi starcoder2",
        "GPTNeoXTokenizer": "falcon_mamba gpt_neox mamba mamba2 mpt olmo olmoe rwkv xlstm",
        "Qwen2Tokenizer": (
            "audioflamingo3 colqwen2 cosmos3_omni dots3_note fun_asr_nano hunyuan_vl internvl lighton_ocr "
            "moss_transcribe_diarize ovis2 qianfan_ocr qwen2 qwen2_5_omni qwen2_5_vl qwen2_audio qwen2_moe qwen2_vl "
            "qwen3 qwen3_asr qwen3_moe qwen3_next qwen3_omni_moe qwen3_vl qwen3_vl_moe vibevoice"
        ),
        "Qwen3_5Tokenizer": "qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen3_5_text qwen4_exp",
        "CohereTokenizer": "aya_vision cohere cohere2",
        "GemmaTokenizer": (
            "diffusion_gemma gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text recurrent_gemma shieldgemma2 t5gemma "
            "zaya"
        ),
        "LlamaTokenizer": "idefics idefics2",
        PLAIN: (
            "EvollaModel aria beam bigbird_pegasus canary flex_olmo glm glm4 glm4_moe glm4_moe_lite glm4v glm4v_moe "
            "glm_image glmasr got_ocr2 gpt_bigcode gradium_phonon_tts granite granitemoe granitemoehybrid "
            "granitemoeshared kimi_k25 kimi_linear kosmos-2 mimo_v2_flash minicpm_ocr minicpmv4_6 minicpmv4_7 "
            "ministral ministral3 mistral mistral3 mistral_large4 mixtral nemo_speechlm nystromformer olmo2 olmo3 "
            "olmo_hybrid pegasus_x persimmon pix2struct pixtral pocket_tts stablelm umt5 voxtral voxtral_realtime "
            "xlm-roberta-xl"
        ),
    }.items()
    for model_type in model_types.split()
}
"""model_type of config.json -> its class (transformers' TOKENIZER_MAPPING_NAMES without mistral-common, and without the
model types whose class is not in TOKENIZER_CLASSES)."""

WRONG_CLASS_NAMED = _names(
    "arctic camembertv2-base chatlm cohere_asr ernie4_5 ernie4_5_moe fuyu h2ovl_chat hyperclovax hyperclovax_vision_v2 "
    "hyperclovax_vlm internlm2 internlm3 iquestcoder jamba llava llava_next minicpm3 minicpmv minimax_m2 modernbert "
    "modernbert-decoder molmo molmo2 nemotron nvfp4 opencua openvla paddleocr_vl phi3 phi3_v phimoe qwen2 qwen3_5 "
    "qwen3_5_moe qwen3_5_moe_text qwen4_exp siglip2 smolvlm step3_vl vipllava"
)
"""Model types whose checkpoints name a wrong class: the one of their model type is taken (PLAIN if it has none)."""

OTHER_CLASSES = frozenset(
    f"{name}Tokenizer"
    for name in _names(
        "Albert Auto Bart Barthez Bartpho Basic Bert BertGeneration BertJapanese Bertweet BigBird BioGpt "
        "Blenderbot BlenderbotSmall ByT5 CLIP CTRL Camembert Canine Character Clvp CodeLlama ConvBert CpmAnt Cpm "
        "DPRContextEncoder DPRQuestionEncoder DPRReader Deberta DebertaV2 Dia DistilBert Electra Esm Esmc FNet "
        "FSMT FastSpeech2Conformer Flaubert Funnel GPTNeoXJapanese GPTSw3 Herbert LED Lasr LayoutLM LayoutLMv2 "
        "LayoutLMv3 LayoutXLM Longformer Luke Lxmert M2M100 MBart50 MBart MLuke MPNet Marian MarkupLM Mecab Mgpstr "
        "MobileBert Mvp MyT5 Nllb Nougat OpenAIGPT PLBart Parakeet Pegasus Perceiver Phobert Pop2Piano ProphetNet "
        "Rag Reformer RemBert RoCBert RoFormer Roberta SeamlessM4T Siglip2 Siglip Speech2Text SpeechT5 Splinter "
        "SqueezeBert T5 Tapas Tipsv2 Udop VideoPrism Vits Wav2Vec2CTC Wav2Vec2PhonemeCTC Whisper Wordpiece XGLM "
        "XLMRoberta XLM XLNet"
    )
)
"""Classes that transformers has as well; no family that is converted comes with one."""


ALIASES = {"Phi3Tokenizer": "LlamaTokenizer"}
"""Names that are no class, for which transformers takes another that it converts alike."""

NO_CLASSES = frozenset((PLAIN, "PreTrainedTokenizer", "BloomTokenizer"))
"""Names that transformers knows for the class that takes a tokenizer.json as it is. Names that it does not know come
down to that class too."""


def find_class(model_type: str, named: str, *, byte_level: bool, own_code: bool) -> str:
    """The key of TOKENIZER_CLASSES, or PLAIN, that AutoTokenizer of transformers 5 takes.

    `named` is the tokenizer_class of tokenizer_config.json, else of config.json, else "". `byte_level` says whether
    tokenizer.json holds the word "ByteLevel" in quotes; `own_code` whether the checkpoint brings a class as Python
    code, which is never run. Raises TokenizerError for a class that is not converted.
    """
    named = named.removesuffix("Fast")
    usual = CLASS_OF_MODEL_TYPE.get(model_type, PLAIN if model_type in WRONG_CLASS_NAMED else None)
    if own_code:
        known = usual or named in NO_CLASSES | OTHER_CLASSES | TOKENIZER_CLASSES.keys() | ALIASES.keys()
        if not known:
            raise TokenizerError(
                "tokenizer_config.json", "the tokenizer is code that comes with the checkpoint, which is not run"
            )
    elif named == "LlamaTokenizer" and byte_level and model_type not in WRONG_CLASS_NAMED:
        return PLAIN
    elif usual == PLAIN or (usual and model_type in WRONG_CLASS_NAMED):
        return usual
    named = ALIASES.get(named, named)
    if named in OTHER_CLASSES:
        raise TokenizerError("tokenizer_config.json", f"tokenizers of the class {named} are not converted")
    if not named:
        return usual or PLAIN
    return named if named in TOKENIZER_CLASSES else PLAIN
