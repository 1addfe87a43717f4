"""The records that pass between the stages: frozen, typed, no behaviour beyond derived facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

Provider = Literal["huggingface", "package", "file", "openai"]

FIELDS = ("basic", "diluted", "adjusted")
"""The three figures of an answer, in the order they are asked for."""

FAMILY_COLUMNS = {"group": "model_group", "base_model": "base_model", "quant": "quant", "parameters": "parameters"}
"""What contenders can be taken together by, and the column of a leaderboard that says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What to test: an entry of models.yaml, or a MODEL argument that needs none.

    `key` is how the user names it. `quantization` is the GGUF type an entry asks for ("Q4_K_M"),
    `ready_quantization` the type of a ready-made GGUF to look for in the Hub repo (`org/name:Q4_K_M`).
    `path` is the absolute checkpoint folder or .gguf of provider "file". What answers without a model is of provider
    "baseline".
    """

    key: str
    provider: Provider | Literal["baseline"] = "huggingface"
    name: str | None = None
    revision: str | None = None
    file: str | None = None
    ready_quantization: str | None = None
    package: str | None = None
    path: Path | None = None
    base: str | None = None
    display_name: str = ""
    group: str = ""
    parameters: str | None = None
    quantization: str | None = None
    context: int | None = None
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    base_url: str | None = None
    model: str | None = None
    api_key_env: str | None = None
    concurrency: int | None = None
    usd_per_million_prompt_tokens: float | None = None
    usd_per_million_generated_tokens: float | None = None
    license: str | None = None
    gated: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A Hub-style checkpoint folder on disk; `repo` and `commit` (40 hex) when it came from the Hub."""

    folder: Path
    repo: str | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufFile:
    """A whole GGUF file on disk. `path` is the first shard of a split one, `shard_paths` all of them.

    `quant` is llama.cpp's name of the file type; `bits_per_weight` is the real figure (8 · tensor bytes / parameters).
    `adapter` is the LoRA adapter it is run with, itself a GGUF, whose `n_params` are its own.
    """

    path: Path
    shard_paths: tuple[Path, ...]
    sha256: str
    size_bytes: int
    quant: str
    bits_per_weight: float
    n_params: int
    architecture: str
    context_train: int
    repo: str | None = None
    commit: str | None = None
    adapter: GgufFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One earnings release with its labels.

    `gold` holds a Decimal at its printed precision, or None, for each of FIELDS. `traps` are named wrong figures that
    stand in the text (prior year, year to date, ...), by which an error is typed.
    """

    id: str
    company: str
    period: str
    text: str
    gold: Mapping[str, Decimal | None]
    traps: Mapping[str, Decimal] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    tier: str = ""
    source: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """`sha256` is of the file's bytes, so that two datasets of one name are never taken for each other."""

    name: str
    sha256: str
    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model said about one document.

    `status` is "answered" or "over_context" (the prompt did not fit; nothing was asked). `output` is the raw text.
    `sampled_tokens` are those of `generated_tokens` that the model chose; the others the grammar forced.
    `decoded_prompt_tokens` are those of `prompt_tokens` that were not in the cache already, in `prompt_seconds`. An
    endpoint does not say what its time went into: all of it is in `prompt_seconds`, and `decoded_prompt_tokens` is 0.
    """

    document_id: str
    status: Literal["answered", "over_context"]
    prompt_sha256: str
    output: str = ""
    prompt_tokens: int = 0
    decoded_prompt_tokens: int = 0
    generated_tokens: int = 0
    sampled_tokens: int | None = None
    prompt_seconds: float = 0.0
    generation_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """An answer, read and judged. `values` is None where the output could not be parsed.

    `kinds` has "right" or an error kind for each of FIELDS; `value` is the share of FIELDS that are right (0, ⅓, ⅔, 1).
    """

    status: Literal["answered", "unparseable", "over_context"]
    values: Mapping[str, Decimal | None] | None
    kinds: Mapping[str, str]
    value: float

    @property
    def columns(self) -> dict[str, Any]:
        """As the table `answers` has it."""
        values = self.values or dict.fromkeys(FIELDS)
        return {
            "status": self.status,
            **{field: None if (value := values[field]) is None else float(value) for field in FIELDS},
            **{f"kind_{field}": self.kinds[field] for field in FIELDS},
            "score": self.value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How answers are computed. Two answers are the same experiment only when all of this is equal.

    `engine` is raised whenever prompts or decoding change in a way that changes answers; `task` names the task and its
    version, grammar included. `build` names the llama.cpp that computes and the CPU and GPU features it uses, `machine`
    the CPU and GPUs. `gpu_layers` is what was asked for ("auto", "all" or a number).
    `n_parallel` sequences are decoded side by side, prompts in micro-batches of `n_ubatch` tokens, on a KV cache of
    `kv_type`; with `grammar` answers are held to the task's form, with `jump_forward` what it forces is not sampled.
    `context` caps the model's own, and `template_kwargs` go to its chat template: these two differ from contender to
    contender.
    """

    engine: int
    task: str
    build: str
    machine: str
    gpu_layers: str
    n_threads: int
    n_parallel: int
    n_ubatch: int
    flash_attention: bool
    kv_type: str
    grammar: bool
    jump_forward: bool
    extra_buffers: bool
    max_answer_tokens: int
    context: int | None = None
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model is ready: what its context holds, how much of it landed on a GPU, and the memory taken so far."""

    load_seconds: float
    n_ctx: int
    gpu_layers: int
    n_layers: int
    gpu_build: bool
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A contender is through: the most memory it took."""

    peak_rss_bytes: int
    peak_vram_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Who answers at an endpoint, as far as it says: the model's name and the fingerprints it reports.

    `request` is JSON of what every request asked for besides its message. `schema_kept` says whether every whole answer
    was of the JSON schema that the server took; None where it took none, or nothing was answered yet.
    """

    served_model: str
    system_fingerprint: str
    request: str
    schema_kept: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedSize:
    """What a quantization comes to: the bytes of all tensors and of the file, the real bits per weight, its types.

    `file_bytes` is exact but for keys that quantizing adds or changes. `types` counts tensors by ggml's name of their
    type, and `n_fallback` those whose shape the type asked for does not fit. `needs_imatrix` says that llama.cpp will
    refuse to make it of this model without an importance matrix. `n_uncovered` tensors have no entry in the one given.
    """

    tensor_bytes: int
    file_bytes: int
    bits_per_weight: float
    types: Mapping[str, int]
    n_fallback: int
    needs_imatrix: bool
    n_uncovered: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the documents that both answered show about two contenders: `better` minus `worse`, in score (0 … 1).

    `low` and `high` bound the difference with 95 % confidence, taken alone. `p_alone` is the permutation p-value of
    this pair, `p_value` the same adjusted by Holm's method over all `n_pairs` of the comparison; `shown` says whether
    that is below 5 %. Zero lies outside the interval exactly where `p_alone` is below 5 %. `detectable` is the smallest
    true difference that these documents would show about four times out of five, among these pairs.
    `better_only` and `worse_only` count the documents that one alone had all right, `exact_p_value` is McNemar's for
    them, unadjusted.
    """

    better: str
    worse: str
    n_documents: int
    n_companies: int
    n_pairs: int
    difference: float
    low: float
    high: float
    p_alone: float
    p_value: float
    detectable: float
    shown: bool
    better_only: int
    worse_only: int
    exact_p_value: float

    def seen_from(self, name: str) -> tuple[float, float, float]:
        """By how much `name`, one of the pair, is better than the other: (difference, low, high)."""
        if name == self.better:
            return self.difference, self.low, self.high
        return -self.difference, -self.high, -self.low


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What runs came to: their rows, the leaderboard (rows of `eps_scores`, best first), and the paired verdicts.

    `runs` are oldest first; a contender that answered the same in several is in the leaderboard once, as of the newest.
    Each row of the leaderboard has besides its `name`, which is unique and what verdicts call it ('smollm2_135m Q8_0',
    with ' (run 3)' where several runs have one), and its score by tier in `tiers`: {tier: {"n_documents": n,
    "eps_score": x}}, empty where the documents are of none. `verdicts` are about the contenders that were asked for.
    `excerpts` says how many of the `gold_figures` stand in the excerpts (`gold_kept`) of how many documents
    (`n_documents`), and which fields of which document do not (`lost`); None where an earlier version made the run.
    `base_model` is what its model is called without its type, `parameters` how many it has ('135M'), `fidelity` the
    measurement of which the row's `kl_divergence` is, with the type of its `reference`, or None. `remarks` are what
    has to be known of several runs beside each other, a sentence each; where `speeds_compare` is false one says why.
    """

    runs: Sequence[Mapping[str, Any]]
    leaderboard: list[dict[str, Any]]
    verdicts: list[Verdict]
    excerpts: Mapping[str, Any] | None = None
    remarks: Sequence[str] = ()
    speeds_compare: bool = True

    @property
    def run(self) -> Mapping[str, Any]:
        """The newest of `runs`."""
        return self.runs[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Contenders that share something: its `value` ('' where they say none), and the best of them by name.

    Scores are None where none of them has one; `n_unscored` failed or did not finish.
    """

    value: str
    best: str | None
    eps_score: float | None
    mean_eps_score: float | None
    n_scored: int
    n_unscored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationCost:
    """What a file loses and saves `beside` the one of the highest precision of the same base model, by name.

    `score_lost` with `low` and `high` is a difference of scores (0 … 1), paired, `shown` as of Verdict. `size_saved` is
    a share of the larger file; `times_as_fast` None where a speed is not known.
    """

    base_model: str
    name: str
    quant: str
    beside: str
    bits_per_weight: float
    size_bytes: int
    size_saved: float
    score_lost: float
    low: float
    high: float
    shown: bool
    times_as_fast: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a recommended file has to keep to. `margin` is the loss of score (0 … 1) that does not matter."""

    margin: float = 0.02
    max_size_bytes: int | None = None
    max_memory_bytes: int | None = None
    min_documents_per_minute: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A contender that might be recommended, and the `reason` why it is not ('' where it is).

    `behind`, `low` and `high` are by how much the best is better (score, 0 … 1). `within` says whether it is "shown" to
    be within the margin, "refuted", or "open"; None where that was not asked. Where it is open, about
    `documents_needed` might show it. The fronts are of files that fit the limits: score against size, and speed.
    """

    name: str
    model: str
    quant: str | None
    eps_score: float | None
    size_bytes: int | None
    documents_per_minute: float | None
    memory_bytes: int | None
    behind: float | None
    low: float | None
    high: float | None
    within: Literal["shown", "open", "refuted"] | None
    documents_needed: int | None
    on_size_front: bool
    on_speed_front: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The files to run, by name, and all the others with the reason why not, best score first.

    `best` has the highest score of those that fit the limits. Where `is_shown` is false no file is shown to be within
    the margin, and the one with the highest score stands in both places. `commands` run what is recommended, by name.
    `runs` are rows of `runs`, oldest first.
    """

    limits: Limits
    best: str | None
    smallest: str | None
    fastest: str | None
    is_shown: bool
    candidates: Sequence[Candidate]
    remarks: Sequence[str] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    runs: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One thing `doctor` looked at: "ok", "note" (works, but know this) or "broken"; `way_out` is what to do."""

    name: str
    state: Literal["ok", "note", "broken"]
    found: str
    way_out: str = ""
