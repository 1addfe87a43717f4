"""How far a quantized model's predictions are from its reference's, token by token.

Both read the same chunks side by side, a part of a chunk at a time, so that no logits have to be kept. As
llama-perplexity does (`perplexity` and `kl_divergence` in tools/perplexity/perplexity.cpp), the tokens of a chunk's
second half are predicted, each from all before it in the chunk, and what the reference gives a probability of less than
e^-16 is left out of the divergence. It keeps the reference's log-probabilities in 16 bits in between; here they are
exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gguf_bench.errors import ModelError
from gguf_bench.llama.chunks import ChunkContext, chunks_of
from gguf_bench.llama.model import Model

Array = np.ndarray[Any, Any]

ROWS = 16
"""Predictions compared at a time: 33 MB each at a vocabulary of 262,144."""

LEAST_LOG_PROBABILITY = -16.0
"""Of the reference; a divergence is of the tokens above it. Of all tokens a small one would come out otherwise than the
figures that llama-perplexity's users know: SmolLM2-135M's Q8_0 2 % smaller."""


def measure(
    reference: tuple[Model, ChunkContext],
    quantized: tuple[Model, ChunkContext],
    job: Mapping[str, Any],
    tell: Callable[..., None],
    beat: Callable[..., None],
) -> None:
    """Go through the first job["n_chunks"] chunks of job["text"] with both.

    `tell` hears "loaded" with the tokens in `total`, whether they are the whole text's, and the layers of both on GPUs;
    then "measured" with the chunks of a batch: `divergence`, `surprise`, `reference_surprise` (nats) and `agrees` are
    lists (chunks, predictions). It and `beat` hear how many tokens are `done`. Raises ModelError where the two do not
    read the text alike, the text is too short, or a model computes no numbers.
    """
    whole, same = (chunks_of(model, job["text"], job["n_ctx"]) for model, _ in (reference, quantized))
    if reference[0].n_vocab != quantized[0].n_vocab or not np.array_equal(whole, same):
        raise ModelError(
            f"{quantized[0].path.name} and {reference[0].path.name} do not split text into the same tokens",
            hint="only files of one model can be held against each other",
        )
    if not len(whole):
        raise ModelError(f"{job['name']} is shorter than {job['n_ctx']} tokens", hint="give a longer text")
    chunks = whole[: job["n_chunks"]]
    tell(
        "loaded",
        total=chunks.size,
        is_whole_text=len(chunks) == len(whole),
        gpu_layers=quantized[0].offloaded_layers(),
        reference_gpu_layers=reference[0].offloaded_layers(),
    )
    together = reference[1].together
    for start in range(0, len(chunks), together):
        batch = chunks[start : start + together]
        found: dict[str, list[list[float]]] = {}
        for (place, expected), (_, logits) in zip(reference[1].decode(batch), quantized[1].decode(batch), strict=True):
            beat(done=start * job["n_ctx"] + len(batch) * place.stop)
            last = place.stop == job["n_ctx"]  # what follows a chunk's last token is not in it
            n_predictions = expected.shape[1] - last
            if n_predictions <= 0:
                continue
            following = batch[:, place.start + 1 : place.start + 1 + n_predictions]
            for row in range(len(batch)):
                figures = compared(expected[row, :n_predictions], logits[row, :n_predictions], following[row])
                for name, values in figures.items():
                    rows = found.setdefault(name, [[] for _ in batch])
                    rows[row] += values.tolist()
        tell("measured", done=(start + len(batch)) * job["n_ctx"], chunks=found)


def compared(expected: Array, logits: Array, following: Array) -> dict[str, Array]:
    """The figures of predictions (n, n_vocab) by the reference and by the model of the tokens that are `following`.

    Raises ModelError where a logit is no number.
    """
    parts = list(_in_parts(expected, logits, following))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _in_parts(expected: Array, logits: Array, following: Array) -> Iterator[dict[str, Array]]:
    for start in range(0, len(following), ROWS):
        rows = slice(start, start + ROWS)
        p, q = _log_softmax(expected[rows], "the reference"), _log_softmax(logits[rows], "the quantized model")
        each, token = np.arange(len(p)), following[rows]
        terms = np.subtract(p, q, where=p > LEAST_LOG_PROBABILITY, out=np.zeros_like(p)) * np.exp(p)
        yield {
            "divergence": terms.sum(axis=1),
            "surprise": -q[each, token],
            "reference_surprise": -p[each, token],
            "agrees": (p.argmax(axis=1) == q.argmax(axis=1)).astype(float),
        }


def _log_softmax(logits: Array, who: str) -> Array:
    exact = logits.astype(np.float64)
    most = exact.max(axis=1, keepdims=True)
    if not np.isfinite(most).all():
        raise ModelError(f"{who} computes no numbers (NaN or infinity): its weights are broken")
    exact -= most
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    return exact
