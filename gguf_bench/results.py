"""RESULTS: what the store holds of runs -> the comparison that is shown; stored answers scored again."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gguf_bench import compare as compare_stage
from gguf_bench import rescore as rescore_stage
from gguf_bench.alike import Entry, require_alike, speed_differences
from gguf_bench.errors import ComparisonError, StoreError
from gguf_bench.families import base_models, parameters
from gguf_bench.paired import Alone, alone, among
from gguf_bench.progress import Progress
from gguf_bench.recommend import recommend
from gguf_bench.records import (
    Comparison,
    Document,
    Limits,
    Recommendation,
    Score,
)
from gguf_bench.rescore import Rescored, RescoredContender
from gguf_bench.score import score_over_context
from gguf_bench.store import Row, Store
from gguf_bench.tasks import TASKS, Task


@dataclass(frozen=True, slots=True)
class _Gathered:
    """What the store holds of runs that are alike: rows of `Comparison.leaderboard`, and scores by name and document.

    Only contenders that finished have scores here.
    """

    runs: list[Row]
    leaderboard: list[Row]
    scores: Mapping[str, Mapping[str, float]]
    companies: Mapping[str, str]
    remarks: list[str]
    speeds_compare: bool


def comparison(run_ids: Sequence[int], store: Store) -> Comparison:
    """The stored results of one run, or of several beside each other.

    Raises StoreError when there is no such run, ComparisonError when their scores cannot be compared.
    """
    found = _gathered(run_ids, store)
    return _comparison(found, alone({name: found.scores[name] for name in _compared(found)}, found.companies), store)


def recommendation(run_ids: Sequence[int], store: Store, limits: Limits) -> Recommendation:
    """The file of these runs to use within `limits`, and the command that runs it; see `recommend.recommend`.

    Raises what `comparison` does, and ComparisonError for a least speed where speeds do not compare.
    """
    found = _gathered(run_ids, store)
    return _recommendation(found, alone(found.scores, found.companies), store, limits)


def comparison_and_recommendation(
    run_ids: Sequence[int], store: Store, limits: Limits
) -> tuple[Comparison, Recommendation]:
    """Both, each pair compared once."""
    found = _gathered(run_ids, store)
    pairs = alone(found.scores, found.companies)
    return _comparison(found, pairs, store), _recommendation(found, pairs, store, limits)


def _compared(found: _Gathered) -> list[str]:
    """The names of those whose differences are judged: the contenders that were asked for and came to their end."""
    return [row["name"] for row in found.leaderboard if row["asked"] and row["status"] == "finished"]


def _comparison(found: _Gathered, pairs: Sequence[Alone], store: Store) -> Comparison:
    return Comparison(
        runs=found.runs,
        leaderboard=found.leaderboard,
        verdicts=among(pairs, _compared(found)),
        excerpts=_recall(next(filter(None, (store.excerpts(run["id"]) for run in reversed(found.runs))), [])),
        remarks=found.remarks,
        speeds_compare=found.speeds_compare,
    )


def _recommendation(found: _Gathered, pairs: Sequence[Alone], store: Store, limits: Limits) -> Recommendation:
    if limits.min_documents_per_minute is not None and not found.speeds_compare:
        raise ComparisonError(found.remarks[0], hint="ask without a least speed")
    verdicts = among(pairs, found.scores)
    advice = recommend(found.leaderboard, verdicts, limits, speeds_compare=found.speeds_compare)
    rows = {row["name"]: row for row in found.leaderboard}
    chosen = [name for name in dict.fromkeys((advice.smallest, advice.fastest)) if name is not None]
    return replace(
        advice,
        runs=found.runs,
        remarks=[*found.remarks, *advice.remarks],
        commands={name: _command(store.contender(rows[name]["contender_id"]), store) for name in chosen},
    )


def newest_run(store: Store) -> list[int]:
    """The id of the newest run. Raises StoreError where there is none."""
    if (newest := store.newest_run()) is None:
        raise StoreError(f"there is no run in {store.path}", hint="`gguf-bench compare MODEL` makes one")
    return [newest]


def _command(contender: Row, store: Store) -> str:
    """A llama-server that answers as the contender did: its file, context and kernels, one document at a time."""
    settings = store.run(contender["run_id"])["settings"]
    words = ["llama-server", "-m", _path(contender["file_sha256"], store)]
    if contender["adapter_sha256"]:
        words += ["--lora", _path(contender["adapter_sha256"], store)]
    if contender["n_ctx"]:
        words += ["-c", str(contender["n_ctx"])]
    if contender["gpu_layers"]:
        words += ["-ngl", str(contender["gpu_layers"])]
    if "flash_attention" in settings:
        words += ["-fa", "on" if settings["flash_attention"] else "off"]
    if settings.get("kv_type", "f16") != "f16":
        words += ["-ctk", settings["kv_type"], "-ctv", settings["kv_type"]]
    variables = json.loads(contender["template_kwargs"] or "{}")
    if template := variables.pop("chat_template", None):
        words += ["--chat-template", template]
    if variables:
        words += ["--chat-template-kwargs", json.dumps(variables)]
    return shlex.join([*words, "-np", "1", "--temp", "0"])


def _path(sha256: str, store: Store) -> str:
    return str((store.artifact(sha256) or {"path": sha256})["path"])


def _gathered(run_ids: Sequence[int], store: Store) -> _Gathered:
    runs = [store.run(run_id) for run_id in sorted(set(run_ids))]
    contenders = {row["id"]: row for run in runs for row in store.contenders(run["id"])}
    board = [row for run in runs for row in store.leaderboard(run["id"])]
    remarks: list[str] = []
    differing: list[str] = []
    if len(runs) > 1:
        entries = [_entry(run, store) for run in runs]
        require_alike(entries)
        if differing := speed_differences(entries):
            remarks.append(f"speeds and memory of these runs do not compare: {', '.join(differing)} differ")
        board = sorted(_each_once(board, contenders, store), key=_place)
    names = _names(board)
    scores = {name: store.scores(row["contender_id"]) for name, row in names.items() if row["status"] == "finished"}
    tiers = store.tiers(runs[-1]["id"])
    artifacts = _artifacts(contenders.values(), store)
    models = base_models([contenders[row["contender_id"]] for row in board], artifacts)
    fidelity = store.fidelity(row["fidelity_id"] for row in board if row["fidelity_id"] is not None)
    return _Gathered(
        runs=runs,
        leaderboard=[
            {
                **row,
                "tiers": compare_stage.by_tier(scores.get(name, {}), tiers),
                "name": name,
                "base_model": models[row["contender_id"]],
                "parameters": parameters(contenders[row["contender_id"]], artifacts),
                "fidelity": fidelity.get(row["fidelity_id"]),
            }
            for name, row in names.items()
        ],
        scores=scores,
        companies=store.companies(runs[-1]["id"]),
        remarks=remarks,
        speeds_compare=not differing,
    )


def _artifacts(contenders: Iterable[Row], store: Store) -> dict[str, Row]:
    """The files that contenders ran, and those that they were made of, by sha256."""
    found: dict[str, Row] = {}
    for contender in contenders:
        sha256 = contender["file_sha256"]
        while sha256 and sha256 not in found and (artifact := store.artifact(sha256)) is not None:
            found[sha256] = artifact
            sha256 = artifact["parent_sha256"]
    return found


def _entry(run: Row, store: Store) -> Entry:
    """A run as `alike` wants to know it."""
    contenders = store.contenders(run["id"])
    documents = {row["document_id"] for row in store.excerpts(run["id"])}
    if not documents:  # an earlier version made the run: those that anybody answered
        documents = documents.union(*(store.answered(row["id"]) for row in contenders))
    return Entry(
        run=run,
        documents=documents,
        has_files=any(row["file_sha256"] for row in contenders),
        is_old=is_old(run),
    )


def _each_once(board: Sequence[Row], contenders: Mapping[int, Row], store: Store) -> list[Row]:
    """The rows of `board`, oldest run first, with one row, the newest, of contenders that are the same throughout.

    That is: the same file or server, settings and answers. Whoever was asked for in one run was asked for.
    """
    sources = {row["contender_id"]: _source(contenders[row["contender_id"]]) for row in board}
    several = {source for source, count in Counter(sources.values()).items() if count > 1}
    found: dict[object, Row] = {}
    for row in board:
        source = sources[row["contender_id"]]
        key = (source, _outcome(contenders[row["contender_id"]], store)) if source in several else source
        earlier = found.pop(key, None)
        found[key] = row | {"asked": max(row["asked"], earlier["asked"] if earlier else 0)}
    return list(found.values())


def _source(contender: Row) -> tuple[Any, ...]:
    """What a contender's answers come from; our own machine and settings are no part of an endpoint's."""
    settings = None if contender["base_url"] else contender["settings_sha256"]
    names = ("model", "quant", "file_sha256", "adapter_sha256", "base_url", "served_model")
    return (*(contender[name] for name in names), settings)


def _outcome(contender: Row, store: Store) -> tuple[Any, ...]:
    """What a contender came to: all it answered, or why it failed."""
    answers = ((row["document_id"], row["status"], row["output"]) for row in store.answers(contender["id"]))
    return contender["status"], contender["error"], frozenset(answers)


def _place(row: Row) -> tuple[Any, ...]:
    """As `Store.leaderboard` orders."""
    return (
        row["eps_score"] is None,
        -(row["eps_score"] or 0),
        row["size_bytes"] or 0,
        row["model"],
        row["quant"] or "",
    )


def _names(board: Sequence[Row]) -> dict[str, Row]:
    """The rows of `board` by how they are called in words, each otherwise."""
    names = [contender_name(row) for row in board]
    for addition in (" (run {run_id})", " (contender {contender_id})"):
        counts = Counter(names)
        names = [
            name + addition.format_map(row) if counts[name] > 1 else name
            for name, row in zip(names, board, strict=True)
        ]
    return dict(zip(names, board, strict=True))


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
