"""A store with one run worth a report: real documents, made-up models, answers drawn by chance and truly scored."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from gguf_bench import compare, dataset
from gguf_bench.baselines import BASELINES
from gguf_bench.records import FIELDS, Answer, Document, GgufFile
from gguf_bench.score import SCORER_VERSION, score_output, score_over_context
from gguf_bench.store import Store

SETTINGS = {
    "engine": 2,
    "task": "eps_extraction 1",
    "build": "0.3.36 CPU : AVX2 = 1",
    "machine": "Quellmark CPU",
    "gpu_layers": "auto",
    "n_parallel": 8,
    "n_ubatch": 512,
    "flash_attention": True,
    "kv_type": "f16",
    "grammar": True,
}
MACHINE = {
    "cpu": "Quellmark 9000",
    "physical_cores": 8,
    "memory_bytes": 32 * 2**30,
    "gpus": [],
    "os": "Linux-6.1-x86_64",
}


@dataclass(frozen=True)
class Made:
    """A contender: how often each figure is right, its file's size in MiB, its speed, and how it ends."""

    model: str
    quant: str
    share: float
    mebibytes: float
    bits: float
    speed: float
    display_name: str = ""
    error: str | None = None
    output: str | None = None  # what it says to every third document, instead of figures
    n_over_context: int = 0


USUAL = (
    Made("zorp_3b", "Q8_0", 0.78, 3100, 8.51, 6.1),
    Made("zorp_3b", "Q4_K_M", 0.76, 1900, 4.95, 9.4),
    Made("zorp_3b", "Q2_K", 0.55, 1250, 3.4, 9.9),
    Made("bloop_1b", "Q8_0", 0.58, 1150, 8.5, 20.3, "Bloop 1B Instruct"),
    Made("bloop_1b", "Q5_K_M", 0.57, 760, 5.7, 24.0, "Bloop 1B Instruct"),
    Made("bloop_1b", "Q4_0", 0.5, 640, 4.6, 26.5, "Bloop 1B Instruct", n_over_context=3),
    Made("bloop_1b", "Q2_K", 0.31, 480, 3.3, 27.0, "Bloop 1B Instruct", output="I would rather not say."),
    Made("wreck_7b", "Q4_0", 0.0, 4000, 4.5, 1.0, error="reading wreck died (SIGSEGV)"),
)


def reported(
    path: Path,
    made: Sequence[Made] = USUAL,
    *,
    documents: Sequence[Document] | None = None,
    name: str = "a comparison",
    with_texts: bool = True,
    seed: int = 7,
) -> Path:
    """Write the store at `path`: one finished run of `made` and both baselines on `documents` (60 of eps-v1)."""
    if documents is None:
        documents = dataset.limit(dataset.load("eps-v1"), 60).documents
    chance = random.Random(seed)
    companies = {document.id: document.company for document in documents}
    with closing(Store(path)) as store:
        run_id = _run(store, made, documents, name)
        if with_texts:
            store.save_excerpts(run_id, [_excerpt(document) for document in documents])
        for row, contender in zip(store.contenders(run_id), [*made, *BASELINES], strict=True):
            if isinstance(contender, str):
                outputs = {document.id: BASELINES[contender](document, document.text) for document in documents}
                _finish(store, row["id"], documents, companies, outputs, None)
                continue
            file = _artifact(store, contender)
            store.set_contender(row["id"], file_sha256=file.sha256)
            if contender.error is not None:
                store.set_contender(row["id"], status="failed", error=contender.error)
                continue
            outputs = {
                document.id: contender.output
                if contender.output is not None and number % 3 == 0
                else _answered(document, contender.share, chance)
                for number, document in enumerate(documents)
            }
            _finish(store, row["id"], documents, companies, outputs, contender)
        store.set_run(run_id, status="finished", finished="2024-03-01T12:00:00+00:00")
    return path


def _run(store: Store, made: Sequence[Made], documents: Sequence[Document], name: str) -> int:
    store.save_documents("d" * 64, documents)
    contenders = [
        {
            "model": each.model,
            "display_name": each.display_name or each.model,
            "model_group": "made_up",
            "quant": each.quant,
            "settings_sha256": "s",
            "status": "running",
        }
        for each in made
    ]
    contenders += [
        {
            "model": each,
            "display_name": each,
            "model_group": "baselines",
            "quant": None,
            "settings_sha256": each,
            "status": "running",
            "asked": 0,
        }
        for each in BASELINES
    ]
    facts = {
        "key": hashlib.sha256(name.encode()).hexdigest(),
        "name": name,
        "description": "",
        "task": "eps_extraction",
        "task_version": "1",
        "prompt_version": "1",
        "scorer_version": SCORER_VERSION,
        "dataset": "eps-v1",
        "dataset_sha256": "d" * 64,
        "n_documents": len(documents),
        "excerpt_chars": 6000,
        "excerpt_version": "2",
        "fresh": 0,
        "settings": json.dumps(SETTINGS),
        "machine": json.dumps(MACHINE),
        "versions": json.dumps({"gguf_bench": "0.1.0", "llama_cpp": "0.3.36", "python": "3.11.7"}),
    }
    return store.create_run(facts, contenders)


def _excerpt(document: Document) -> dict[str, object]:
    return {
        "document_id": document.id,
        "text": document.text[:6000],
        "text_chars": len(document.text),
        "excerpt_chars": min(6000, len(document.text)),
        "gold_figures": sum(figure is not None for figure in document.gold.values()),
        "gold_kept": sum(figure is not None for figure in document.gold.values()),
        "lost": None,
    }


def _artifact(store: Store, made: Made) -> GgufFile:
    file = GgufFile(
        path=Path(f"/somewhere/{made.model}.{made.quant}.gguf"),
        shard_paths=(Path("x"),),
        sha256=hashlib.sha256(f"{made.model} {made.quant}".encode()).hexdigest(),
        size_bytes=int(made.mebibytes * 2**20),
        quant=made.quant,
        bits_per_weight=made.bits,
        n_params=10**9,
        architecture="llama",
        context_train=8192,
        repo=f"made-up/{made.model}",
        commit="c" * 40,
    )
    source = replace(file, sha256=hashlib.sha256(made.model.encode()).hexdigest(), quant="F16")
    store.save_artifact(source, made_by="converted", made_with={})
    store.save_artifact(file, made_by="quantized", made_with={}, parent_sha256=source.sha256)
    return file


def _answered(document: Document, share: float, chance: random.Random) -> str:
    traps = [figure for figure in document.traps.values() if figure.is_finite()]

    def figure(name: str) -> Decimal | None:
        gold = document.gold[name]
        if chance.random() < share:
            return gold
        return chance.choice([None, *document.gold.values(), *traps, *traps, Decimal("9.99")])

    said = {name: figure(name) for name in FIELDS}
    return json.dumps({name: None if value is None else float(value) for name, value in said.items()})


def _finish(
    store: Store,
    contender_id: int,
    documents: Sequence[Document],
    companies: dict[str, str],
    outputs: dict[str, str],
    made: Made | None,
) -> None:
    seconds = 60 / made.speed if made else 0.0
    scored = []
    for number, document in enumerate(documents):
        over = made is not None and number < made.n_over_context
        answer = Answer(
            document_id=document.id,
            status="over_context" if over else "answered",
            prompt_sha256="p",
            output="" if over else outputs[document.id],
            prompt_tokens=900,
            decoded_prompt_tokens=900,
            generated_tokens=30,
            prompt_seconds=seconds * 0.75,
            generation_seconds=seconds * 0.25,
        )
        scored.append((answer, score_over_context(document) if over else score_output(answer.output, document)))
    store.save_answers(contender_id, scored)
    figures = compare.summarise(store.answers(contender_id), companies)
    memory = int(made.mebibytes * 1.3 * 2**20) if made else None
    store.set_contender(
        contender_id, status="finished", peak_rss_bytes=memory, gpu_layers=0 if made else None, **figures
    )
