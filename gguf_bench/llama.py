"""llama.cpp, through llama-cpp-python's low-level API. The only module that imports llama_cpp.

Everything here may crash the process (a failed assert in llama.cpp calls abort), so it runs in the child (`worker`),
never in the process that holds the results store.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp._ggml import libggml

from gguf_bench import chat_template
from gguf_bench.errors import ModelError, QuantizeError

PAD = 256
"""llama.cpp rounds a context up to this many cells."""

ERROR, WARN = 4, 3
"""ggml's log levels (llama-cpp-python's own table is off by one)."""


class Log:
    """llama.cpp's log: `recent` lines for reading facts back, `errors` for saying why something failed."""

    def __init__(self) -> None:
        self.recent: deque[str] = deque(maxlen=2000)
        self.errors: deque[str] = deque(maxlen=20)
        self.on_line: Callable[[str], None] | None = None
        self._level, self._partial = 0, ""
        self._callback = llama_cpp.llama_log_callback(self._hear)  # kept: llama.cpp holds only the pointer
        llama_cpp.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _hear(self, level: int, text: bytes, _user_data: object) -> None:
        self._level = self._level if level == 5 else level  # 5 continues the line before
        *lines, self._partial = (self._partial + text.decode("utf-8", "replace")).split("\n")
        for line in lines:
            self.recent.append(line)
            if self._level in (WARN, ERROR):
                os.write(2, (line + "\n").encode())
            if self._level == ERROR and line.strip():
                self.errors.append(line.strip())
            if self.on_line is not None:
                self.on_line(line)

    def why(self) -> str:
        """The first error since the last clear (later ones only repeat that it failed), as ': reason', or nothing."""
        return f": {self.errors[0]}" if self.errors else ""

    def last_match(self, pattern: str) -> re.Match[str] | None:
        return next((match for line in reversed(self.recent) if (match := re.search(pattern, line))), None)


_log: Log | None = None


def log() -> Log:
    """The one log of this process; the first call starts llama.cpp's backends."""
    global _log
    if _log is None:
        _log = Log()
        llama_cpp.llama_backend_init()
    return _log


def version() -> str:
    """llama-cpp-python's version and that of the llama.cpp in it: '0.3.36 (ggml 0.25.3)'."""
    libggml.ggml_version.restype = ctypes.c_char_p
    return f"{llama_cpp.__version__} (ggml {libggml.ggml_version().decode()})"


def system_info() -> str:
    """The CPU and GPU features this build uses, as llama.cpp prints them."""
    return str(llama_cpp.llama_print_system_info().decode())


@dataclass(frozen=True, slots=True)
class Device:
    """A compute device llama.cpp sees. `kind` is "cpu", "gpu", "igpu" or "accel"."""

    name: str
    description: str
    kind: str
    free_bytes: int
    total_bytes: int


def devices() -> list[Device]:
    """Every device of this build on this machine, the CPU included."""
    log()
    kinds = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accel"}  # enum ggml_backend_dev_type
    get, name, describe = (getattr(libggml, f"ggml_backend_dev_{verb}") for verb in ("get", "name", "description"))
    memory, kind = libggml.ggml_backend_dev_memory, libggml.ggml_backend_dev_type
    libggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    get.argtypes, get.restype = [ctypes.c_size_t], ctypes.c_void_p
    for text in (name, describe):
        text.argtypes, text.restype = [ctypes.c_void_p], ctypes.c_char_p
    kind.argtypes, kind.restype = [ctypes.c_void_p], ctypes.c_int
    memory.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t), ctypes.POINTER(ctypes.c_size_t)]
    found = []
    for index in range(libggml.ggml_backend_dev_count()):
        device = get(index)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        memory(device, ctypes.byref(free), ctypes.byref(total))
        found.append(
            Device(
                name(device).decode(),
                describe(device).decode(),
                kinds.get(kind(device), "other"),
                free.value,
                total.value,
            )
        )
    return found


def supports_gpu_offload() -> bool:
    """Whether this build can put layers on a GPU at all."""
    return bool(llama_cpp.llama_supports_gpu_offload())


class Model:
    """A loaded GGUF: its vocabulary, its chat template, and facts about its file.

    `adapter` is the GGUF of a LoRA adapter, which every context of the model computes with. `metadata_only` reads the
    header and tensor list but no weights. Raises ModelError with llama.cpp's own reason when a file cannot be loaded.
    """

    def __init__(
        self,
        path: Path,
        *,
        gpu_layers: int = 0,
        extra_buffers: bool = True,
        adapter: Path | None = None,
        metadata_only: bool = False,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        self.path = path
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        params.use_extra_bufts = extra_buffers
        if metadata_only:
            params.no_alloc, params.load_mode = True, llama_cpp.LLAMA_LOAD_MODE_NONE
        if on_progress is not None:
            self._progress = llama_cpp.llama_progress_callback(lambda done, _: on_progress(done) or True)
            params.progress_callback = self._progress
        log().errors.clear()
        self.handle = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        if not self.handle:
            raise ModelError(f"{path.name}: llama.cpp cannot load it{log().why()}")
        self.vocab = llama_cpp.llama_model_get_vocab(self.handle)
        self.n_vocab: int = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.context_train: int = llama_cpp.llama_model_n_ctx_train(self.handle)
        self.n_params: int = llama_cpp.llama_model_n_params(self.handle)
        self.tensor_bytes: int = llama_cpp.llama_model_size(self.handle)
        self.n_layers: int = llama_cpp.llama_model_n_layer(self.handle)
        self.file_type: int = llama_cpp.llama_model_ftype(self.handle) & ~llama_cpp.LLAMA_FTYPE_GUESSED
        template = llama_cpp.llama_model_chat_template(self.handle, None)
        self.chat_template: str | None = template.decode("utf-8", "replace") if template else None
        self.adapter = self._load_adapter(adapter) if adapter is not None else None

    def _load_adapter(self, path: Path) -> Any:
        """llama.cpp's handle of the adapter; it is freed with the model."""
        log().errors.clear()
        handle = llama_cpp.llama_adapter_lora_init(self.handle, os.fsencode(path))
        if not handle:
            raise ModelError(f"{path.name}: llama.cpp cannot apply it to {self.path.name}{log().why()}")
        return handle

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            llama_cpp.llama_model_free(self.handle)

    def metadata(self, key: str) -> str | None:
        """The value of a GGUF metadata key as text, or None; at most 4 kB of it."""
        buffer = ctypes.create_string_buffer(4096)
        length = llama_cpp.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if length >= 0 else None

    def offloaded_layers(self) -> int:
        """Layers that really landed on a GPU, read back from the log of the load."""
        match = log().last_match(r"offloaded (\d+)/(\d+) layers to GPU")
        return int(match.group(1)) if match else 0

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Token ids of `text`, no BOS added; `special` says whether '<|im_end|>' and the like become control tokens."""
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        while True:
            tokens = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(self.vocab, raw, len(raw), tokens, room, False, special)
            if count >= 0:
                return list(tokens[:count])
            room = -count

    def piece(self, token: int) -> bytes:
        """The bytes of a token's text; nothing for control tokens."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, room, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    def control_texts(self) -> frozenset[str]:
        """The spellings that tokenizing with `special` would turn into control tokens."""
        is_special = (
            llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
            | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
            | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
        )
        return frozenset(
            text.decode("utf-8", "replace")
            for token in range(self.n_vocab)
            if llama_cpp.llama_vocab_get_attr(self.vocab, token) & is_special
            and len(text := llama_cpp.llama_vocab_get_text(self.vocab, token)) > 1
            and not text.isspace()
        )

    def bos(self) -> int | None:
        """The BOS token, where this vocabulary wants one at the start of a prompt."""
        token = llama_cpp.llama_vocab_bos(self.vocab)
        return token if token >= 0 and llama_cpp.llama_vocab_get_add_bos(self.vocab) else None

    def token_text(self, token: int) -> str:
        return llama_cpp.llama_vocab_get_text(self.vocab, token).decode("utf-8", "replace") if token >= 0 else ""

    def is_end(self, token: int) -> bool:
        """Whether the vocabulary counts `token` among those that end a generation."""
        return bool(llama_cpp.llama_vocab_is_eog(self.vocab, token))


class PromptMaker:
    """User messages -> token ids, by the model's own chat template, with exactly the BOS the vocabulary asks for.

    Raises ModelError where the GGUF has no chat template: llama.cpp would silently use another model's.
    """

    def __init__(self, model: Model, template_kwargs: Mapping[str, Any]) -> None:
        if model.chat_template is None:
            raise ModelError(
                f"{model.path.name} has no chat template, so there is no right way to ask it a question",
                hint="use an instruction-tuned model, or convert a checkpoint whose tokenizer_config.json has one",
            )
        self._model, self._kwargs = model, template_kwargs
        self._template = model.chat_template
        texts = sorted(model.control_texts(), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, texts))) if texts else None

    def text(self, user_message: str) -> str:
        bos, eos = llama_cpp.llama_vocab_bos(self._model.vocab), llama_cpp.llama_vocab_eos(self._model.vocab)
        return chat_template.render(
            self._template,
            user_message,
            bos=self._model.token_text(bos),
            eos=self._model.token_text(eos),
            kwargs=self._kwargs,
        )

    def tokens(self, user_message: str) -> list[int]:
        """The prompt's token ids. Control tokens spelled out in the message stay text."""
        prompt = self.text(user_message)
        if self._control is None or not self._control.search(user_message):
            tokens = self._model.tokenize(prompt, special=True)
        else:
            tokens = [token for part, special in self._parts(prompt, user_message) for token in self._of(part, special)]
        bos = self._model.bos()
        if bos is None:
            return tokens
        while tokens[:1] == [bos]:
            tokens = tokens[1:]
        return [bos, *tokens]

    def _of(self, part: str, special: bool) -> list[int]:
        return self._model.tokenize(part, special=special) if part else []

    def _parts(self, prompt: str, user_message: str) -> Iterator[tuple[str, bool]]:
        """The prompt cut round each control text the message spells out; only these are tokenized as plain text.

        Templates may strip the message's ends; its stripped middle is always there.
        """
        message = user_message.strip()
        before, found, after = prompt.partition(message)
        if not found:
            raise ModelError("the model's chat template changes the message, which spells out control tokens")
        assert self._control is not None
        pending, at = before, 0
        for match in self._control.finditer(message):
            yield pending + message[at : match.start()], True
            yield match.group(), False
            pending, at = "", match.end()
        yield pending + message[at:] + after, True


def gpu_layer_steps(path: Path) -> list[int]:
    """Numbers of layers to try to put on the GPUs, best first, always ending with 0, the CPU alone.

    The first is what nine tenths of the free GPU memory hold of the file's tensors (the rest is for the KV cache and
    compute buffers).
    """
    free_bytes = sum(device.free_bytes for device in devices() if device.kind == "gpu")
    if not supports_gpu_offload() or not free_bytes:
        return [0]
    model = Model(path, metadata_only=True)
    layers, tensor_bytes = model.n_layers + 1, model.tensor_bytes  # the output layer counts as one
    most = min(layers, int(layers * 0.9 * free_bytes / max(1, tensor_bytes)))
    return sorted({most, most * 3 // 4, most // 2, most // 4, 0}, reverse=True)


def physical_cores() -> int:
    """Physical cores this process may use: hyperthreads share the units matrix work needs, containers have quotas."""
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(siblings.read_text().strip() if siblings.exists() else str(cpu))
    quota = Path("/sys/fs/cgroup/cpu.max")  # "150000 100000": microseconds of CPU time in every period of so many
    limit, _, period = quota.read_text().partition(" ") if quota.exists() else ("max", "", "")
    return max(1, len(cores) if limit == "max" else min(len(cores), round(int(limit) / int(period))))


class Grammar:
    """A GBNF grammar over a vocabulary, restarted for each answer. Raises ModelError where llama.cpp refuses it."""

    def __init__(self, vocab: Any, gbnf: str) -> None:
        self._sampler = llama_cpp.llama_sampler_init_grammar(vocab, gbnf.encode(), b"root")
        if not self._sampler:  # llama.cpp would crash on the NULL later
            raise ModelError(f"llama.cpp refuses the answer grammar{log().why()}")

    def restart(self) -> None:
        llama_cpp.llama_sampler_reset(self._sampler)

    def accept(self, token: int) -> None:
        llama_cpp.llama_sampler_accept(self._sampler, token)

    def allowed(self, tokens: np.ndarray) -> np.ndarray:
        """Which of `tokens` (int32, n) may come next (bool, n)."""
        candidates = np.zeros(len(tokens), dtype=CANDIDATE)
        candidates["id"] = tokens
        array = llama_cpp.llama_token_data_array(
            data=candidates.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data)),
            size=len(tokens),
            selected=-1,
            sorted=False,
        )
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(array))
        kept: np.ndarray = candidates["logit"] != -np.inf
        return kept


CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


@dataclass(frozen=True, slots=True)
class Generated:
    """A greedy answer and what it took. `decoded_prompt_tokens` excludes a prefix that was still in the cache."""

    tokens: list[int]
    decoded_prompt_tokens: int
    prompt_seconds: float
    generation_seconds: float


class Context:
    """A KV cache of `n_ctx` tokens with a shared prefix: greedy answers to one prompt after another.

    The prefix's cache is kept between prompts and everything after it dropped, so each answer is computed from the same
    state, in the same batch shapes, whatever was asked before: answers do not depend on their order.
    """

    def __init__(self, model: Model, *, n_ctx: int, n_threads: int, n_batch: int, gbnf: str | None) -> None:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = -(-n_ctx // PAD) * PAD
        params.n_batch = params.n_ubatch = n_batch
        params.n_threads = params.n_threads_batch = n_threads
        params.no_perf = True
        log().errors.clear()
        self.handle = llama_cpp.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise ModelError(f"no memory for a context of {params.n_ctx} tokens{log().why()}")
        if model.adapter is not None:
            adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(model.adapter)
            if llama_cpp.llama_set_adapters_lora(self.handle, adapters, 1, (ctypes.c_float * 1)(1.0)) != 0:
                raise ModelError(f"llama.cpp cannot use the adapter of {model.path.name}{log().why()}")
        self.n_ctx: int = params.n_ctx
        self._model, self._memory = model, llama_cpp.llama_get_memory(self.handle)
        self._grammar = Grammar(model.vocab, gbnf) if gbnf else None
        self._prefix: list[int] = []
        self._n_batch = n_batch

    def answer(self, prefix: Sequence[int], prompt: Sequence[int], max_tokens: int) -> Generated:
        """The greedy answer to `prefix` + `prompt`, at most `max_tokens` tokens of it."""
        started = time.monotonic()
        kept = self._keep_prefix(list(prefix))
        self._decode(prompt)
        llama_cpp.llama_synchronize(self.handle)
        asked = time.monotonic()
        tokens = self._generate(max_tokens)
        return Generated(
            tokens=tokens,
            decoded_prompt_tokens=len(prompt) + (0 if kept else len(prefix)),
            prompt_seconds=asked - started,
            generation_seconds=time.monotonic() - asked,
        )

    def _keep_prefix(self, prefix: list[int]) -> bool:
        """Bring the cache to hold exactly `prefix`; False where it had to be decoded again.

        Recurrent and hybrid models cannot drop the end of a sequence, and a sliding window may have lost its start.
        """
        if prefix and prefix == self._prefix:
            whole = llama_cpp.llama_memory_seq_pos_min(self._memory, 0) == 0
            if whole and llama_cpp.llama_memory_seq_rm(self._memory, 0, len(prefix), -1):
                return True
        llama_cpp.llama_memory_clear(self._memory, True)
        self._decode(prefix)
        self._prefix = prefix
        return False

    def _decode(self, tokens: Sequence[int]) -> None:
        for start in range(0, len(tokens), self._n_batch):
            chunk = tokens[start : start + self._n_batch]
            array = (llama_cpp.llama_token * len(chunk))(*chunk)  # the batch only points to it
            code = llama_cpp.llama_decode(self.handle, llama_cpp.llama_batch_get_one(array, len(chunk)))
            if code != 0:
                raise ModelError(f"llama_decode failed with {code}{log().why()}")

    def _generate(self, max_tokens: int) -> list[int]:
        if self._grammar is not None:
            self._grammar.restart()
        answer: list[int] = []
        while len(answer) < max_tokens:
            token = self._best_token()
            if self._model.is_end(token):
                break
            answer.append(token)
            if self._grammar is not None:
                self._grammar.accept(token)
            if len(answer) < max_tokens:
                self._decode([token])
        return answer

    def _best_token(self) -> int:
        """The likeliest token the grammar allows: the likeliest one is tried alone, then 64, then all."""
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.handle, -1), shape=(self._model.n_vocab,))
        best = int(logits.argmax())  # of NaNs the first
        if not np.isfinite(logits[best]):
            raise ModelError(f"{self._model.path.name} computes no numbers (NaN or infinity): its weights are broken")
        if self._grammar is None or self._grammar.allowed(np.array([best], dtype=np.int32))[0]:
            return best
        for count in (64, len(logits)):
            likely = np.argpartition(-logits, min(count, len(logits) - 1))[:count].astype(np.int32)
            likely = likely[np.lexsort((likely, -logits[likely]))]  # ties go to the lower id, as argmax has it
            allowed = likely[self._grammar.allowed(likely)]
            if len(allowed):
                return int(allowed[0])
        raise ModelError("the answer grammar allows no token of this vocabulary")


@dataclass(frozen=True, slots=True)
class QuantizeFacts:
    """What llama.cpp logged about a quantization: the bytes of all tensors, and how many took a fallback type.

    `needs_imatrix` is what a dry run found out; the real thing fails instead.
    """

    tensor_bytes: int
    bits_per_weight: float
    n_fallback: int
    needs_imatrix: bool


def quantize(
    source: Path,
    target: Path,
    file_type: int,
    *,
    n_threads: int = 0,
    allow_requantize: bool = False,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> QuantizeFacts:
    """Quantize `source` to `target` through llama_model_quantize: the bytes are llama-quantize's.

    `on_progress` hears (tensor number, tensors), read from the log, which is llama.cpp's only sign of progress.
    `dry_run` writes nothing and only says the size. Raises QuantizeError with llama.cpp's reason.
    """
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread, params.ftype = n_threads, file_type
    params.allow_requantize, params.dry_run = allow_requantize, dry_run

    def hear(line: str) -> None:
        match = re.match(r"\[\s*(\d+)/\s*(\d+)\]", line)
        if match and on_progress is not None:
            on_progress(int(match.group(1)), int(match.group(2)))

    log().errors.clear()
    log().on_line = hear
    code = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params))
    log().on_line = None
    if code != 0:
        raise QuantizeError(f"llama.cpp cannot quantize {source.name}{log().why()}")
    size = log().last_match(r"quant size\s*=\s*([\d.]+) MiB \(([\d.]+) BPW\)")
    fallback = log().last_match(r"(\d+) of \d+ tensor\(s\) required fallback")
    return QuantizeFacts(
        tensor_bytes=round(float(size.group(1)) * 2**20) if size else 0,
        bits_per_weight=float(size.group(2)) if size else 0.0,
        n_fallback=int(fallback.group(1)) if fallback else 0,
        needs_imatrix=log().last_match("will require an imatrix") is not None,
    )
