"""Where llama.cpp computes answers: on this machine (HERE), or on the workers of a cluster, which are all alike."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gguf_bench import calibrate, llama_build
from gguf_bench.calibrate import Choice, Subject, Work
from gguf_bench.errors import ModelError
from gguf_bench.llama_build import Build
from gguf_bench.progress import Progress
from gguf_bench.records import Answer, Finished, GgufFile, Loaded, ModelSpec, Settings
from gguf_bench.tasks import Task


class Place(Protocol):
    """What a comparison's settings are made by. `memory_bytes` is what one contender at work may take."""

    def look(self) -> Build: ...
    def extra_buffers_work(self) -> bool: ...
    def crash_note(self) -> str | None: ...
    def memory_bytes(self) -> int: ...
    def facts(self) -> dict[str, Any]: ...
    def choose(self, subjects: Sequence[Subject], work: Work, machine: str, progress: Progress) -> Choice: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one contender is to be asked: the documents `missing`, of all that the run has.

    `n_ctx` is the context that fits all of them, once it is known.
    """

    contender_id: int
    spec: ModelSpec
    file: GgufFile
    settings: Settings
    missing: tuple[str, ...]
    n_ctx: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What came of a range of a contender's documents: its answers, and the `failure` that ended it, if one did.

    `wall_seconds` is the time from the loaded model to the last answer. With the last part of a contender `is_last`.
    """

    contender_id: int
    loaded: Loaded | None = None
    answers: tuple[Answer, ...] = ()
    finished: Finished | None = None
    wall_seconds: float = 0.0
    failure: ModelError | None = None
    is_last: bool = False


class Cluster(Place, Protocol):
    """A place that answers several contenders at once."""

    def answers(
        self, questions: Sequence[Question], task: Task, messages: Mapping[str, str], progress: Progress
    ) -> Iterator[Part]:
        """What comes of all `questions`, as it comes; `messages` are those of all the run's documents.

        Leaving the iterator early ends the work. Raises ClusterError where the cluster is gone.
        """
        ...


class Here:
    """This machine, one contender after the other."""

    def look(self) -> Build:
        return llama_build.look()

    def extra_buffers_work(self) -> bool:
        return llama_build.extra_buffers_work()

    def crash_note(self) -> str | None:
        return llama_build.crash_note()

    def memory_bytes(self) -> int:
        return memory_bytes()

    def facts(self) -> dict[str, Any]:
        """What `runs` says of the machine besides its devices."""
        return {"memory_bytes": memory_bytes(), "os": platform.platform()}

    def choose(self, subjects: Sequence[Subject], work: Work, machine: str, progress: Progress) -> Choice:
        return calibrate.choose(subjects, work, machine, progress)


HERE = Here()


def memory_bytes() -> int:
    """The machine's memory, or what the container may use of it."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text().strip() if limit.exists() else "max"
    return min(physical, int(allowed)) if allowed.isdecimal() else physical
