"""SESSION: the answers of one contender of a run, computed where they are missing, scored and stored as they come.

GgufFile, endpoint or rules -> run -> score -> store
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from gguf_bench import compare as compare_stage
from gguf_bench import endpoint as endpoint_stage
from gguf_bench import run as run_stage
from gguf_bench.endpoint import Endpoint
from gguf_bench.errors import GgufBenchError, ModelError
from gguf_bench.gguf_header import read_header
from gguf_bench.place import Cluster, Part, Question
from gguf_bench.prepare import Contender, Prepared, Rules
from gguf_bench.progress import Bar, Progress
from gguf_bench.records import (
    Answer,
    Document,
    Finished,
    GgufFile,
    Loaded,
    Score,
    Served,
    Settings,
)
from gguf_bench.results import contender_name, judged
from gguf_bench.store import Row, Store
from gguf_bench.tasks import Task
from gguf_bench.tasks.task import prompt_sha256


def adapter_sha256(file: GgufFile) -> str | None:
    """What identifies the LoRA adapter that `file` is run with."""
    return file.adapter.sha256 if file.adapter else None


def settings_of(contender: Contender, settings: Settings) -> Settings:
    """`settings` of a run with what `contender` has of its own."""
    return replace(settings, context=contender.spec.context, template_kwargs=dict(contender.spec.template_kwargs))


def _source_columns(contender: Contender, file: GgufFile | Endpoint | Rules) -> dict[str, Any]:
    """What a contender's row says of where its answers come from."""
    if isinstance(file, Rules):
        return {}
    if isinstance(file, Endpoint):
        return {"base_url": file.base_url, "quant": contender.spec.quantization}
    return {"file_sha256": file.sha256, "adapter_sha256": adapter_sha256(file), "quant": file.quant}


def _served(row: Row) -> Served | None:
    """Who answered for an endpoint so far; None where nobody did."""
    if row["request"] is None:
        return None
    kept = None if row["schema_kept"] is None else bool(row["schema_kept"])
    return Served(schema_kept=kept, **{name: row[name] for name in ("served_model", "system_fingerprint", "request")})


def price(asked: Sequence[Contender], rows: Sequence[Row], store: Store) -> None:
    """Write what each endpoint of `asked` costs by the prices that its entry has now."""
    for contender, row in zip(asked, rows, strict=True):
        if contender.spec.provider == "openai":
            usd = endpoint_stage.usd_per_document(contender.spec, store.answers(row["id"]))
            store.set_contender(row["id"], usd_per_document=usd)


def _is_asked_alike_everywhere(file: GgufFile) -> bool:
    """Whether answers of other runs can be taken over.

    A model with two sets of rotary factors takes the one for long contexts as soon as the longest of all documents
    needs it (llama_model::get_rope_factors), so that its answers depend on which documents are asked about.
    """
    with suppress(GgufBenchError):
        return not any("rope_factors_long" in tensor.name for tensor in read_header(file.path).tensors)
    return True


class Turn(NamedTuple):
    """A contender to be asked, what it answers from, and its row."""

    contender: Contender
    file: Prepared
    contender_id: int


SAVED_TOGETHER = 50
"""Answers of a baseline, which are there in milliseconds."""

LONG_SECONDS = 1.0
"""From here on a baseline's work is shown."""


@dataclass(frozen=True, slots=True)
class Session:
    """One process's work on a run.

    `excerpts` and `messages` map document ids to what every contender gets to read, and is asked.
    """

    task: Task
    settings: Settings
    store: Store
    progress: Progress
    documents: Mapping[str, Document]
    excerpts: Mapping[str, str]
    messages: Mapping[str, str]
    is_fresh: bool

    def run(self, turn: Turn) -> None:
        """Ask what a contender has not answered yet; its figures are written when the last answer is there."""
        contender, file, contender_id = turn
        if isinstance(file, GgufBenchError):
            self.store.set_contender(contender_id, status="failed", error=str(file))
            return
        missing = self._begin(contender, file, contender_id)
        try:
            if isinstance(file, Rules):
                self._work_out(file, missing, contender_id)
            elif missing:
                self._ask(contender, file, missing, contender_id)
            elif isinstance(file, GgufFile):
                self.store.reuse_figures(contender_id)
        except ModelError as error:
            self._fail(turn, error)
        else:
            self._end(turn)

    def run_on(self, cluster: Cluster, turns: Sequence[Turn]) -> None:
        """As `run`, of contenders with files, which the workers of `cluster` ask all at once."""
        asked: dict[int, Turn] = {}
        questions = []
        for turn in turns:
            contender, file, contender_id = turn
            assert isinstance(file, GgufFile)
            if missing := self._begin(contender, file, contender_id):
                asked[contender_id] = turn
                before = self.store.contender(contender_id)
                questions.append(
                    Question(
                        contender_id=contender_id,
                        spec=contender.spec,
                        file=file,
                        settings=self._settings(contender, before),
                        missing=tuple(missing),
                    )
                )
            else:
                self.store.reuse_figures(contender_id)
                self._end(turn)
        bar = self.progress.bar("answers", sum(len(question.missing) for question in questions), "docs")
        try:
            for part in cluster.answers(questions, self.task, self.messages, self.progress) if questions else ():
                self._take(part, asked[part.contender_id])
                bar.advance(len(part.answers))
        finally:
            bar.close()

    def _take(self, part: Part, turn: Turn) -> None:
        """Store what came of a range of documents: all its answers, or none."""
        before = self.store.contender(part.contender_id)
        self.store.save_answers(part.contender_id, [(answer, self._score(answer)) for answer in part.answers])
        seen: dict[str, Any] = {"wall_seconds": (before["wall_seconds"] or 0.0) + part.wall_seconds}
        if (loaded := part.loaded) is not None:
            if before["load_seconds"] is None:
                self._warn_of_idle_gpu(turn.contender, loaded)
                seen["load_seconds"] = loaded.load_seconds
            seen |= {"n_ctx": loaded.n_ctx, "gpu_layers": loaded.gpu_layers}
        for name in ("peak_rss_bytes", "peak_vram_bytes"):
            peaks = [before[name], getattr(part.loaded, name, None), getattr(part.finished, name, None)]
            seen[name] = max((peak for peak in peaks if peak is not None), default=None)
        self.store.set_contender(part.contender_id, **seen)
        if part.failure is not None:
            self._fail(turn, part.failure)
        elif part.is_last:
            self._end(turn)

    def _begin(self, contender: Contender, file: GgufFile | Endpoint | Rules, contender_id: int) -> dict[str, str]:
        """Mark it as running, take over what is known of it, and return what is missing: document id -> message."""
        self.store.set_contender(contender_id, **_source_columns(contender, file), status="running", error=None)
        if isinstance(file, GgufFile) and not self.is_fresh and _is_asked_alike_everywhere(file):
            self._reuse(contender_id)
        answered = self.store.answered(contender_id)
        return {document_id: text for document_id, text in self.messages.items() if document_id not in answered}

    def _fail(self, turn: Turn, error: ModelError) -> None:
        self.store.set_contender(turn.contender_id, status="failed", error=str(error))
        self.progress.say(f"{turn.contender.label} failed: {error}")

    def _end(self, turn: Turn) -> None:
        """Write the figures of a contender that has answered all documents."""
        contender, file, contender_id = turn
        answers = self.store.answers(contender_id)
        if len(answers) != len(self.messages):
            short = f"answered {len(answers)} of {len(self.messages)} documents"
            self.store.set_contender(contender_id, status="failed", error=short)
            return
        companies = {document_id: document.company for document_id, document in self.documents.items()}
        wall_seconds = None if isinstance(file, GgufFile) else self.store.contender(contender_id)["wall_seconds"]
        figures = compare_stage.summarise(answers, companies, wall_seconds)
        self.store.set_contender(contender_id, status="finished", **figures)
        price([contender], [self.store.contender(contender_id)], self.store)

    def _reuse(self, contender_id: int) -> None:
        """Take over what the same file answered to the same prompts before, scored by today's scorer."""
        prompts = {document_id: prompt_sha256(text) for document_id, text in self.messages.items()}
        known = self.store.known_answers(contender_id, prompts)
        self.store.save_answers(contender_id, [(answer, self._score(answer)) for answer in known])

    def _score(self, answer: Answer) -> Score:
        return judged(self.task, answer.status, answer.output, self.documents[answer.document_id])

    def _work_out(self, rules: Rules, missing: Mapping[str, str], contender_id: int) -> None:
        """What `rules` answer. Nothing of it is timed: their speed is not a model's."""
        name, started = contender_name(self.store.contender(contender_id)), time.monotonic()
        bar: Bar | None = None
        pending = list(missing.items())
        try:
            while pending:
                batch, pending = pending[:SAVED_TOGETHER], pending[SAVED_TOGETHER:]
                answers = [
                    Answer(
                        document_id=document_id,
                        status="answered",
                        prompt_sha256=prompt_sha256(message),
                        output=self._output(rules, document_id),
                    )
                    for document_id, message in batch
                ]
                self.store.save_answers(contender_id, [(answer, self._score(answer)) for answer in answers])
                if bar is None and time.monotonic() - started > LONG_SECONDS:
                    bar = self.progress.bar(name, len(self.messages), "docs")
                    bar.advance(len(self.messages) - len(pending))
                elif bar is not None:
                    bar.advance(len(batch))
        finally:
            if bar is not None:
                bar.close()

    def _output(self, rules: Rules, document_id: str) -> str:
        """What `rules` say about a document. A fault in them is one failed contender, and no model's affair."""
        try:
            return rules.answer(self.documents[document_id], self.excerpts[document_id])
        except Exception as fault:
            raise ModelError(f"its rules broke at {document_id}: {type(fault).__name__}: {fault}") from fault

    def _ask(
        self, contender: Contender, file: GgufFile | Endpoint, missing: Mapping[str, str], contender_id: int
    ) -> None:
        before = self.store.contender(contender_id)
        bar = self.progress.bar(contender_name(before), len(self.messages), "docs")
        bar.advance(len(self.messages) - len(missing))
        started = time.monotonic()
        try:
            for event in self._events(contender, file, missing, before):
                match event:
                    case Loaded():
                        self._warn_of_idle_gpu(contender, event)
                        self.store.set_contender(
                            contender_id,
                            load_seconds=event.load_seconds,
                            n_ctx=event.n_ctx,
                            gpu_layers=event.gpu_layers,
                            peak_rss_bytes=event.peak_rss_bytes,
                        )
                        started = time.monotonic()
                    case Served():
                        self.store.set_contender(contender_id, **dataclasses.asdict(event))
                    case Answer():
                        self.store.save_answer(contender_id, event, self._score(event))
                        wall_seconds = (before["wall_seconds"] or 0.0) + time.monotonic() - started
                        self.store.set_contender(contender_id, wall_seconds=wall_seconds)
                        bar.advance(1)
                    case Finished():
                        self.store.set_contender(contender_id, **dataclasses.asdict(event))
        finally:
            bar.close()

    def _events(
        self, contender: Contender, file: GgufFile | Endpoint, missing: Mapping[str, str], before: Row
    ) -> Iterator[Loaded | Served | Answer | Finished]:
        """The answers, from where they come; `before` is the contender's row."""
        spec, task = contender.spec, self.task
        if isinstance(file, Endpoint):
            return endpoint_stage.answers(file, spec, task, missing, _served(before), grammar=self.settings.grammar)
        settings = self._settings(contender, before)
        return run_stage.run(file, spec, task, self.messages, settings, missing=list(missing), progress=self.progress)

    def _settings(self, contender: Contender, before: Row) -> Settings:
        """What a file is asked by; `before` is the contender's row."""
        settings = settings_of(contender, self.settings)
        if before["gpu_layers"] is not None and self.store.answered(before["id"]):
            settings = replace(settings, gpu_layers=str(before["gpu_layers"]))  # as the answers that are there
        return settings

    def _warn_of_idle_gpu(self, contender: Contender, loaded: Loaded) -> None:
        if loaded.gpu_build and loaded.gpu_layers == 0 and self.settings.gpu_layers != "0":
            self.progress.say(
                f"WARNING: {contender.label} runs on the CPU alone, though this llama.cpp is built for GPUs: "
                "no layer landed on one; `gguf-bench doctor` shows the devices"
            )
