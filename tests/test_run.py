"""What the parent makes of a child's words, where a GPU's memory kills it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gguf_bench import child
from gguf_bench.calibrate import CHOICES
from gguf_bench.errors import ChildDied
from gguf_bench.progress import Silent
from gguf_bench.records import Answer, Finished, GgufFile, Loaded, ModelSpec, Settings
from gguf_bench.run import run
from gguf_bench.tasks import TASKS

DYING = """
import json, os, sys
job = json.loads(sys.stdin.readline())
say = lambda **event: print(json.dumps(event), flush=True)
plans = job.get("plans", [[31, []], [0, []]])
say(event="offload", gpu_layers=plans[0][0], tensor_split=[], left=plans[1:])
say(event="loaded", load_seconds=1, n_ctx=256, gpu_layers=plans[0][0], n_layers=30, gpu_build=True, peak_rss_bytes=1)
say(event="over_context", document_id="long", prompt_tokens=999)
if ANSWERS_FIRST:
    say(event="answer", document_id="short", output="{}")
if plans[0][0]:
    print("ggml_cuda: CUDA error: out of memory", file=sys.stderr, flush=True)
    os.abort()
say(event="answer", document_id="short", output="{}")
say(event="done", peak_rss_bytes=2)
"""

SETTINGS = Settings(
    engine=2,
    task="t",
    build="b",
    machine="m",
    gpu_layers="auto",
    n_threads=1,
    n_parallel=1,
    grammar=True,
    jump_forward=True,
    extra_buffers=True,
    max_answer_tokens=9,
    **CHOICES[0],
)


class Listener(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def events(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, *, answers_first: bool
) -> list[Loaded | Answer | Finished]:
    script = DYING.replace("ANSWERS_FIRST", str(answers_first))
    monkeypatch.setattr(child, "WORKER", (sys.executable, "-c", script))
    gguf = GgufFile(
        path=Path("x.gguf"),
        shard_paths=(Path("x.gguf"),),
        sha256="0",
        size_bytes=1,
        quant="Q8_0",
        bits_per_weight=8.5,
        n_params=1,
        architecture="llama",
        context_train=512,
    )
    spec = ModelSpec(key="m", provider="file", path=gguf.path)
    messages = {"long": "x", "short": "y"}
    return list(run(gguf, spec, TASKS["eps_extraction"], messages, SETTINGS, progress=listener))


def test_a_child_that_gpu_memory_kills_is_started_again_with_fewer_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener()
    found = events(monkeypatch, listener, answers_first=False)
    assert [event.gpu_layers for event in found if isinstance(event, Loaded)] == [31, 0]
    assert [event.document_id for event in found if isinstance(event, Answer)] == ["long", "short"]
    (line,) = listener.lines
    assert "31 layers do not fit the GPU" in line
    assert "ON THE CPU ALONE" in line


def test_answers_of_more_layers_are_not_mixed_with_those_of_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ChildDied, match="out of memory"):
        events(monkeypatch, Listener(), answers_first=True)
