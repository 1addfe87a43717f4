"""Hub checkpoints become GGUF files without PyTorch, byte for byte those of llama.cpp's own converter."""

from converters.architecture import ARCHITECTURES
from converters.convert import CheckpointSummary, check, check_config, convert, inspect_checkpoint, resolve_outtype
from converters.errors import (
    CheckpointFileError,
    ConversionError,
    MetadataError,
    TensorError,
    TokenizerError,
    UnknownArchitecture,
    UnknownPreTokenizer,
    UnsafePickle,
    UnsupportedConfig,
)
from converters.lora import check_lora, convert_lora, lora_base
from converters.pretokenizers import PRE_TOKENIZERS

__all__ = [
    "ARCHITECTURES",
    "PRE_TOKENIZERS",
    "CheckpointFileError",
    "CheckpointSummary",
    "ConversionError",
    "MetadataError",
    "TensorError",
    "TokenizerError",
    "UnknownArchitecture",
    "UnknownPreTokenizer",
    "UnsafePickle",
    "UnsupportedConfig",
    "check",
    "check_config",
    "check_lora",
    "convert",
    "convert_lora",
    "inspect_checkpoint",
    "lora_base",
    "resolve_outtype",
]
