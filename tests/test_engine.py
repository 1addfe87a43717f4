"""The engine: answers that depend on nothing but their own prompt, whoever is decoded beside them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from converters import convert
from gguf_bench.engine import Answered, Engine
from gguf_bench.errors import ModelError
from gguf_bench.llama.context import Context, Layout
from gguf_bench.llama.devices import devices
from gguf_bench.llama.grammar import Grammar
from gguf_bench.llama.model import Model
from gguf_bench.tasks import TASKS
from tests.converters.cases import read_cases, write_case
from tests.tiny_models import lfm2, mamba

GRAMMAR = TASKS["eps_extraction"].grammar
N_PARALLEL = 4


def layout(**changes: object) -> Layout:
    plain = {
        "n_ctx": 512,
        "n_parallel": N_PARALLEL,
        "n_threads": 2,
        "n_ubatch": 64,
        "flash_attention": True,
        "kv_type": "f16",
    }
    return Layout(**(plain | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model(smollm2: Path) -> Model:
    return Model(smollm2)


def tokens_of(model: Model, text: str) -> list[int]:
    return model.tokenize(text, special=True)


def questions(model: Model) -> list[tuple[str, list[int]]]:
    """Prompts of very different lengths with one beginning."""
    return [
        (
            str(number),
            tokens_of(
                model,
                "<|im_start|>user\nFind the EPS and answer with JSON.\n"
                + "Sales grew in every region. " * (number * 7 % 5)
                + f"Basic EPS was ${number}.{number}7 and diluted EPS ${number}.{number}5.<|im_end|>\n"
                "<|im_start|>assistant\n",
            ),
        )
        for number in range(7)
    ]


def shared(prompts: list[tuple[str, list[int]]]) -> list[int]:
    together = zip(*(tokens for _, tokens in prompts), strict=False)
    return [tokens[0] for tokens in itertools.takewhile(lambda tokens: len(set(tokens)) == 1, together)]


def answers(
    model: Model,
    prompts: list[tuple[str, list[int]]],
    *,
    prefix: list[int],
    grammar: str | None = GRAMMAR,
    jump_forward: bool = True,
    max_tokens: int = 60,
    **changes: object,
) -> dict[str, Answered]:
    context = Context(model, layout(**changes))
    context.keep_prefix(prefix)
    rules = Grammar(model, grammar) if grammar else None
    engine = Engine(model, context, rules, max_tokens, jump_forward=jump_forward)
    return {answered.document_id: answered for answered in engine.answers(prompts)}


def text(model: Model, answered: Answered) -> str:
    return b"".join(model.pieces[token] for token in answered.tokens).decode()


def logits(
    model: Model,
    sequence: int,
    prompt: list[int],
    neighbours: dict[int, list[int]],
    prefix: list[int],
    **changes: object,
) -> list[np.ndarray]:
    """After the prompt, after a few tokens decoded alone, and after two steps together with the neighbours."""
    context = Context(model, layout(n_ctx=1024, **changes))
    context.keep_prefix(prefix)
    for other, tokens in neighbours.items():
        context.start(other, tokens)
    found = [context.start(sequence, prompt)[0].copy(), context.extend(sequence, [10, 20, 30]).copy()]
    for token in (5, 6):
        found.append(context.extend_each({sequence: token, **dict.fromkeys(neighbours, 9)})[sequence].copy())
    return found


def check_logits(model: Model, prompts: list[list[int]], prefix: list[int], **changes: object) -> None:
    """Of a prompt shorter than its neighbours, and of one longer: what is read of a cache is as long as the longest."""
    short, medium, long = prompts
    for mine, others in ((short, (long, medium)), (long, (short, medium))):
        alone = logits(model, 0, mine, {}, prefix, **changes)
        crowded = logits(model, 0, mine, {1: others[0], 2: others[1], 3: others[1][:-5]}, prefix, **changes)
        elsewhere = logits(model, 2, mine, {0: others[0]}, prefix, **changes)
        for expected, found in itertools.chain(zip(alone, crowded, strict=True), zip(alone, elsewhere, strict=True)):
            assert np.array_equal(expected, found)


def real_prompts(model: Model) -> tuple[list[list[int]], list[int]]:
    """Prompts of about 90, 280 and 600 tokens, and what they begin with."""
    beginning = "<|im_start|>user\nFind the EPS and answer with JSON.\n"
    prompts = [
        tokens_of(model, beginning + "Sales grew in every region, by 4%. " * count + f"EPS was $1.{count}")
        for count in (5, 22, 50)
    ]
    return prompts, tokens_of(model, beginning)


@pytest.mark.model
@pytest.mark.parametrize("flash_attention", [True, False])
def test_logits_are_the_same_to_the_bit_whoever_is_decoded_beside_them(model: Model, flash_attention: bool) -> None:
    check_logits(model, *real_prompts(model), flash_attention=flash_attention)


@pytest.mark.gpu
@pytest.mark.parametrize("flash_attention", [True, False])
def test_logits_are_the_same_to_the_bit_on_a_gpu(smollm2: Path, flash_attention: bool) -> None:
    if not any(device.kind == "gpu" for device in devices()):
        pytest.skip("llama.cpp sees no GPU here")
    model = Model(smollm2, gpu_layers=1000)
    check_logits(model, *real_prompts(model), flash_attention=flash_attention)


@pytest.mark.model
def test_answers_do_not_depend_on_order_or_company(model: Model) -> None:
    prompts = questions(model)
    prefix = shared(prompts)
    whole = {name: answered.tokens for name, answered in answers(model, prompts, prefix=prefix).items()}
    assert whole == {name: answered.tokens for name, answered in answers(model, prompts[::-1], prefix=prefix).items()}
    for some in (prompts[:1], prompts[2:5]):
        found = answers(model, some, prefix=prefix)
        assert {name: answered.tokens for name, answered in found.items()} == {name: whole[name] for name, _ in some}


@pytest.mark.model
def test_forced_text_is_fed_and_says_the_same(model: Model) -> None:
    prompts = questions(model)
    fed = answers(model, prompts, prefix=[], n_parallel=1)
    plain = answers(model, prompts, prefix=[], n_parallel=1, jump_forward=False)
    for name, answered in fed.items():
        assert text(model, answered) == text(model, plain[name])
        assert answered.n_sampled < len(answered.tokens) * 3 / 4
        assert plain[name].n_sampled == len(plain[name].tokens)


@pytest.mark.model
def test_the_prefix_is_decoded_once(model: Model) -> None:
    prompts = questions(model)
    prefix = shared(prompts)
    for (_, tokens), answered in zip(
        prompts, answers(model, prompts, prefix=prefix, n_parallel=1).values(), strict=True
    ):
        assert answered.prompt_tokens == len(tokens)
        assert answered.decoded_prompt_tokens == len(tokens) - len(prefix)
    (unlike,) = answers(model, [("x", prompts[0][1][1:])], prefix=prefix).values()
    assert unlike.decoded_prompt_tokens == unlike.prompt_tokens


def fed(model: Model, gbnf: str, *said: str) -> tuple[str, bool]:
    """What is fed behind the tokens `said`, and whether the answer is complete with it."""
    grammar = Grammar(model, gbnf)
    state = grammar.start()
    for piece in said:
        (token,) = tokens_of(model, piece)
        state.accept(token)
    tokens, is_complete = grammar.jump(state, behind=said[-1][-1:].encode() if said else b"")
    return b"".join(model.pieces[token] for token in tokens).decode(), is_complete


@pytest.mark.model
@pytest.mark.parametrize(
    ("gbnf", "said", "expected"),
    [
        (GRAMMAR, ("{",), ('"basic":', False)),  # the blank is left: " null" may follow as one token
        (GRAMMAR, ('{"',), ('basic":', False)),
        (GRAMMAR, ("{", '"', "basic", '":', " ", "1"), ("", False)),
        (GRAMMAR, ("{", '"', "basic", '":', " ", "1", ","), (' "diluted":', False)),
        ('root ::= "yes" | "no"', (), ("", False)),
        ('root ::= "yes" | "no"', ("y",), ("es", True)),
        ('root ::= "a" [0-9]', (), ("a", False)),
        ('root ::= "é" "!"', (), ("é!", True)),
        ('root ::= "caf" ("é" | "e")', ("c",), ("", False)),  # "afe" is a token, so that "a" is left, too
        ('root ::= "x"?', (), ("", False)),
        ('root ::= "x"?', ("x",), ("", True)),
    ],
)
def test_what_is_fed(model: Model, gbnf: str, said: tuple[str, ...], expected: tuple[str, bool]) -> None:
    assert fed(model, gbnf, *said) == expected


@pytest.mark.model
def test_every_micro_batch_is_a_sign_of_life(model: Model) -> None:
    beats: list[None] = []
    context = Context(model, layout(n_ubatch=64), beat=lambda: beats.append(None))
    context.keep_prefix(list(range(100, 200)))
    assert len(beats) == 2
    context.start(0, [*range(100, 200), *range(300, 450)])
    assert len(beats) == 2 + 3


@pytest.mark.model
def test_an_answer_is_never_longer_than_it_may_be(model: Model) -> None:
    for count in (1, 2, 5, 9):
        for answered in answers(model, questions(model)[:2], prefix=[], max_tokens=count).values():
            assert len(answered.tokens) == count


@pytest.mark.model
def test_a_grammar_that_llama_cpp_refuses(model: Model) -> None:
    with pytest.raises(ModelError, match="refuses the answer grammar"):
        Grammar(model, "root ::= missing")


def converted(family: str) -> Callable[[Path], Path]:
    return lambda path: convert(write_case(path.parent, read_cases()[family]), path, "f16")


@pytest.mark.parametrize(
    "write",
    [mamba, lfm2, converted("gemma3"), converted("gpt-oss"), converted("deepseek-v2")],
    ids=["recurrent", "mixed", "sliding window", "sliding window and sinks", "latent attention"],
)
def test_every_kind_of_memory_answers_alike_alone_and_in_company(write: Callable[[Path], Path], tmp_path: Path) -> None:
    """Some cannot drop a token, some forget what is behind a window; the prefix is shared all the same."""
    model = Model(write(tmp_path / "x.gguf"))
    random = np.random.default_rng(1)
    long = random.integers(3, 60, 500).tolist()
    check_logits(model, [long[:40], long[:250], long], long[:20], flash_attention=None)
    prefix = random.integers(3, 60, 40).tolist()
    prompts = [(str(n), prefix + random.integers(3, 60, 30 + 25 * n).tolist()) for n in range(5)]
    kept = {"n_ctx": 256, "grammar": None, "max_tokens": 12, "flash_attention": None}
    side_by_side = answers(model, prompts, prefix=prefix, **kept)  # type: ignore[arg-type]
    for name, tokens in prompts:
        (alone,) = answers(model, [(name, tokens)], prefix=prefix, **kept).values()  # type: ignore[arg-type]
        assert side_by_side[name].tokens == alone.tokens
        assert alone.decoded_prompt_tokens == len(tokens) - len(prefix)
