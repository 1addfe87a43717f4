"""RESULTS: what the store holds of a run -> the comparison that is shown; stored answers scored again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gguf_bench import compare as compare_stage
from gguf_bench import rescore as rescore_stage
from gguf_bench.errors import StoreError
from gguf_bench.paired import differences
from gguf_bench.progress import Progress
from gguf_bench.records import (
    Comparison,
    Document,
    Score,
)
from gguf_bench.rescore import Rescored, RescoredContender
from gguf_bench.score import score_over_context
from gguf_bench.store import Row, Store
from gguf_bench.tasks import TASKS, Task


def comparison(run_id: int, store: Store) -> Comparison:
    """The stored results of a run. Raises StoreError when there is no such run."""
    run, tiers = store.run(run_id), store.tiers(run_id)
    finished = [row for row in store.contenders(run_id) if row["status"] == "finished"]
    scores = {row["id"]: store.scores(row["id"]) for row in finished}
    asked = {contender_name(row): scores[row["id"]] for row in finished if row["asked"]}
    return Comparison(
        run=run,
        leaderboard=[
            {**row, "tiers": compare_stage.by_tier(scores.get(row["contender_id"], {}), tiers)}
            for row in store.leaderboard(run_id)
        ],
        verdicts=differences(asked, store.companies(run_id)),
        excerpts=_recall(store.excerpts(run_id)),
    )


def _recall(rows: Sequence[Row]) -> dict[str, Any] | None:
    """How much of the gold figures the excerpts of a run hold; None where nobody looked."""
    if not rows:
        return None
    return {
        "n_documents": len(rows),
        "gold_figures": sum(row["gold_figures"] for row in rows),
        "gold_kept": sum(row["gold_kept"] for row in rows),
        "lost": {row["document_id"]: row["lost"].split() for row in rows if row["lost"]},
    }


def rescore(run_id: int, store: Store) -> Rescored:
    """Score the answers of a run again, by today's scorer and without a model, and write it: all of it, or nothing.

    Raises StoreError where there is no such run, where it is being computed, or where its task or labels are not known.
    """
    run = store.run(run_id)
    if run["status"] == "running":
        raise StoreError(f"run {run_id} is being computed by another process", hint="rescore it when it is through")
    with store.run_lock(run["key"]):
        return _rescored(run, store)


def is_old(run: Mapping[str, Any]) -> bool:
    """Whether a run was scored by another scorer than today's, so that its figures and today's are not comparable."""
    return run["task"] in TASKS and run["scorer_version"] != TASKS[run["task"]].scorer_version


def rescore_if_old(run_id: int, store: Store, progress: Progress) -> None:
    """No run holds scores of two scorers: one that is gone on with is rescored first."""
    run = store.run(run_id)
    if is_old(run):
        found = _rescored(run, store)
        progress.say(
            f"run {run_id} was scored by scorer {found.version_before}; by {found.version_after}, "
            f"{found.n_changed} of {found.n_answers} answers are judged otherwise"
        )


def _rescored(run: Row, store: Store) -> Rescored:
    if run["task"] not in TASKS:
        raise StoreError(
            f"run {run['id']} is of the task {run['task']!r}, which this gguf-bench does not have",
            hint="use the version that made it",
        )
    task, documents = TASKS[run["task"]], store.documents(run["id"])
    companies = {document.id: document.company for document in documents.values()}

    def judge(row: Row) -> Score:
        return judged(task, row["status"], row["output"], documents[row["document_id"]])

    contenders, answers, figures = [], {}, {}
    for contender in store.contenders(run["id"]):
        rows = store.answers(contender["id"])
        if unknown := [row["document_id"] for row in rows if row["document_id"] not in documents]:
            raise StoreError(
                f"the labels of document {unknown[0]!r} of run {run['id']} are not in {store.path}",
                hint="compare again, under another --name",
            )
        changed = rescore_stage.changed_answers(rows, judge)
        answers.update({(contender["id"], answer.document_id): answer.after for answer in changed})
        if contender["status"] == "finished":
            summary = compare_stage.summarise(rescore_stage.with_changes(rows, changed), companies)
            figures[contender["id"]] = {
                name: figure for name, figure in summary.items() if name not in rescore_stage.MEASURED
            }
        contenders.append(
            RescoredContender(
                contender_id=contender["id"],
                model=contender["model"],
                quant=contender["quant"],
                status=contender["status"],
                n_answers=len(rows),
                changed=changed,
                score_before=contender["eps_score"],
                score_after=figures.get(contender["id"], contender)["eps_score"],
            )
        )
    store.rescore(run["id"], task.scorer_version, answers, figures)
    return Rescored(
        run_id=run["id"],
        run_name=run["name"],
        version_before=run["scorer_version"],
        version_after=task.scorer_version,
        contenders=contenders,
    )


def judged(task: Task, status: str, output: str, document: Document) -> Score:
    """The score of an answer; `status` as of Answer, or as it is stored."""
    return score_over_context(document) if status == "over_context" else task.score(output, document)


def contender_name(row: Row) -> str:
    """How a contender is called in words: 'smollm2_135m Q8_0'."""
    return " ".join(filter(None, [row["model"], row["quant"]]))
