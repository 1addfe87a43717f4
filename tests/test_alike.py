"""Only like is compared: whatever answers and scores hang on is the same, or it is named."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import pytest

from gguf_bench.alike import ASKED, COMPUTED, SCORER, TIMED, Entry, require_alike, speed_differences
from gguf_bench.errors import ComparisonError
from gguf_bench.records import Settings

SETTINGS = asdict(
    Settings(
        engine=2,
        task="eps_extraction 1",
        build="0.3.36 AVX2",
        machine="a CPU",
        gpu_layers="auto",
        n_threads=2,
        n_parallel=8,
        n_ubatch=512,
        flash_attention=True,
        kv_type="f16",
        grammar=True,
        jump_forward=True,
        extra_buffers=True,
        max_answer_tokens=96,
    )
)
RUN = {
    "task": "eps_extraction",
    "task_version": "1",
    "dataset": "eps-v1",
    "dataset_sha256": "a" * 64,
    "prompt_version": "1",
    "scorer_version": "2",
    "excerpt_chars": 6000,
    "excerpt_version": "4",
    "versions": {"llama_cpp": "0.3.36"},
}


def entry(
    run_id: int = 1,
    *,
    documents: Collection[str] = ("d1", "d2"),
    has_files: bool = True,
    is_old: bool = False,
    settings: dict[str, Any] | None = None,
    **columns: Any,
) -> Entry:
    run = {**RUN, "id": run_id, "settings": {**SETTINGS, **(settings or {})}, **columns}
    return Entry(run=run, documents=documents, has_files=has_files, is_old=is_old)


ASKED_OTHERWISE = [
    ({"task": "poetry"}, "task (eps_extraction 1 and poetry 1)"),
    ({"dataset_sha256": "b" * 64}, "dataset (eps-v1 aaaaaaaa and eps-v1 bbbbbbbb)"),
    ({"prompt_version": "9"}, "prompt (1 and 9)"),
    ({"scorer_version": "9"}, "scorer (2 and 9)"),
    ({"excerpt_chars": None}, "characters of an excerpt (6,000 and all)"),
    ({"excerpt_version": "9"}, "way to make excerpts (4 and 9)"),
    ({"settings": {"grammar": False}}, "grammar (yes and no)"),
    ({"settings": {"max_answer_tokens": 400}}, "tokens an answer may have (96 and 400)"),
    ({"documents": ("d2", "d3", "d4")}, "documents (2 and 3, 1 of them the same)"),
]
COMPUTED_OTHERWISE = [
    ({"settings": {"engine": 3}}, "engine (2 and 3)"),
    ({"versions": {"llama_cpp": "0.4"}}, "llama.cpp (0.3.36 and 0.4)"),
    ({"settings": {"n_parallel": 1}}, "documents at once (8 and 1)"),
    ({"settings": {"n_ubatch": 256}}, "micro-batch (512 and 256)"),
    ({"settings": {"flash_attention": False}}, "flash attention (yes and no)"),
    ({"settings": {"kv_type": "q8_0"}}, "KV cache (f16 and q8_0)"),
    ({"settings": {"jump_forward": False}}, "feeding of forced text (yes and no)"),
]


def refusal(*entries: Entry) -> str:
    with pytest.raises(ComparisonError) as caught:
        require_alike(entries)
    return str(caught.value)


@pytest.mark.parametrize(("changes", "words"), ASKED_OTHERWISE + COMPUTED_OTHERWISE, ids=lambda value: str(value)[:40])
def test_what_differs_is_named(changes: dict[str, Any], words: str) -> None:
    said = refusal(entry(1), entry(4, **changes))
    assert said.startswith(f"runs 1 and 4 are not alike: {words}; ")
    assert len(said.splitlines()) == 1


def test_every_difference_has_a_case() -> None:
    assert len(ASKED_OTHERWISE) == len(ASKED) + 1
    assert len(COMPUTED_OTHERWISE) == len(COMPUTED)


@pytest.mark.parametrize(("changes", "_"), COMPUTED_OTHERWISE, ids=str)
def test_what_has_no_file_is_not_computed_here(changes: dict[str, Any], _: str) -> None:
    require_alike([entry(1), entry(2, has_files=False, **changes)])


def test_every_two_are_looked_at() -> None:
    """The third has no files and goes with both, who do not go with each other."""
    others = entry(1), entry(2, settings={"n_parallel": 1})
    assert "runs 1 and 2" in refusal(*others, entry(3, has_files=False))


def test_all_that_differs_is_named() -> None:
    said = refusal(entry(1), entry(2, prompt_version="9", settings={"kv_type": "q8_0"}))
    assert "prompt (1 and 9), KV cache (f16 and q8_0); compare their models in one run" in said


def test_another_scorer_alone_is_mended_by_rescoring() -> None:
    old = entry(3, scorer_version="1", is_old=True)
    assert refusal(old, entry(5)).endswith("`gguf-bench results rescore 3` scores the stored answers by today's")
    assert "rescore" not in refusal(entry(3, scorer_version="1", is_old=True, prompt_version="9"), entry(5))


def test_what_an_earlier_version_did_not_store_is_not_taken_for_the_same() -> None:
    settings = {name: value for name, value in SETTINGS.items() if name != "kv_type"}
    earlier = Entry(run={**entry().run, "settings": settings}, documents=("d1", "d2"), has_files=True, is_old=False)
    assert "KV cache (unknown and f16)" in refusal(earlier, entry(2))


MACHINES = {"machine": "another", "n_threads": 16, "gpu_layers": "all", "build": "AVX512", "extra_buffers": False}


@pytest.mark.parametrize("name", MACHINES)
def test_another_machine_changes_speeds_only(name: str) -> None:
    entries = [entry(1), entry(2, settings={name: MACHINES[name]})]
    require_alike(entries)
    assert len(speed_differences(entries)) == 1
    assert not speed_differences([entries[0], entry(2, has_files=False, settings={name: MACHINES[name]})])


def test_settings_are_all_accounted_for() -> None:
    """A setting that is added has to be put down as one that changes answers, or speeds, or is a contender's own."""
    own = {"task", "context", "template_kwargs"}
    told_apart = set()
    for name in SETTINGS.keys() - own:
        changed = {**entry().run, "settings": {**SETTINGS, name: "another"}}
        facts = ASKED | COMPUTED | TIMED
        if any(fact(changed) != fact(entry().run) for fact in facts.values()):
            told_apart.add(name)
    assert told_apart == SETTINGS.keys() - own
    assert SCORER in ASKED
