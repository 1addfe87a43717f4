"""The whole path with real parts: the real Hub client, the real converter, llama.cpp, SmolLM2 and the store."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader

from tests.conftest import asked_for
from tests.hub_server import HubServer
from tests.processes import with_default_signals
from tests.smollm2 import write_smollm2_checkpoint

pytestmark = pytest.mark.model

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def checkpoint(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 as its authors publish it: safetensors, tokenizer and model card."""
    folder = tmp_path_factory.mktemp("checkpoint") / "SmolLM2-135M-Instruct"
    return write_smollm2_checkpoint(folder, smollm2)


def test_from_a_hub_id_to_a_leaderboard(checkpoint: Path, releases: Path, tmp_path: Path, gguf_bench: Command) -> None:
    """Pulled, converted, quantized, compared, queried; and again offline from what is there, in no time."""
    database = tmp_path / "results.db"
    arguments = ["--db", database, "compare", "HuggingFaceTB/SmolLM2-135M-Instruct", "-q", "Q8_0", "-q", "Q4_K_M"]
    arguments += ["--dataset", releases, "--json"]
    with HubServer() as server:
        commit = server.add_repo("HuggingFaceTB/SmolLM2-135M-Instruct", checkpoint)
        environment = server.environment(tmp_path / "hub")
        first = gguf_bench(*arguments, env=environment)
    assert first.returncode == 0, first.stderr
    everyone = json.loads(first.stdout)["leaderboard"]
    board = asked_for(everyone)
    assert {row["quant"] for row in board} == {"Q8_0", "Q4_K_M"}
    assert all(row["n_documents"] == 5 and 0 <= row["eps_score"] <= 1 for row in board)
    assert {row["quant"]: round(row["bits_per_weight"], 2) for row in board} == {"Q8_0": 8.51, "Q4_K_M": 6.17}

    again = gguf_bench(*arguments, env={**environment, "HF_HUB_OFFLINE": "1"})
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["leaderboard"] == everyone

    named = json.loads(gguf_bench("--db", database, "query", "--json", "select path from artifacts").stdout)
    names = {str(GGUFReader(row["path"]).fields["general.name"].contents()) for row in named}
    assert names == {"SmolLM2 135M Instruct"}, "the name in the file is the repo's, not the commit's"

    csv = gguf_bench(
        "--db", database, "query", "--csv", "select model, quant, eps_score from eps_scores where asked order by quant"
    )
    assert csv.stdout.splitlines()[0] == "model,quant,eps_score"
    assert len(csv.stdout.splitlines()) == 3

    with sqlite3.connect(database) as connection:
        made = dict(connection.execute("select quant, made_by from artifacts").fetchall())
        sources = set(connection.execute("select source_repo, source_commit from artifacts").fetchall())
    assert made == {"BF16": "converted", "Q8_0": "quantized", "Q4_K_M": "quantized"}
    assert sources == {("HuggingFaceTB/SmolLM2-135M-Instruct", commit)}


def answers_of(database: Path) -> list[tuple[Any, ...]]:
    """What the models answered and how it was scored, without what was measured."""
    with sqlite3.connect(database) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        return connection.execute(
            "select c.model, c.quant, c.status, c.eps_score, c.eps_score_low, c.missed, a.document_id, a.output,"
            " a.score, a.prompt_sha256 from contenders c join answers a on a.contender_id = c.id"
            " where c.asked order by c.position, a.document_id"
        ).fetchall()


@pytest.mark.parametrize("whom", ["parent", "child"])
def test_kill_9_loses_and_doubles_nothing(
    whom: str, smollm2: Path, releases: Path, tmp_path: Path, gguf_bench: Command
) -> None:
    """Killed after its first answers and run again, a comparison ends as one that nobody disturbed.

    `make faults` does so at random moments.
    """
    compare = ["compare", smollm2, "--dataset", releases, "--parallel", "2"]  # so that not all end at once
    whole, broken = tmp_path / "whole.db", tmp_path / "broken.db"
    assert gguf_bench("--db", whole, *compare).returncode == 0
    expected = answers_of(whole)
    assert len(expected) == 5

    command = [sys.executable, "-m", "gguf_bench", "--db", str(broken), *map(str, compare)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_an_answer(broken, process)
    (child,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    os.kill(child if whom == "child" else process.pid, signal.SIGKILL)
    stdout, _ = process.communicate(timeout=60)
    if whom == "child":
        assert process.returncode == 3
        assert "died (SIGKILL)" in stdout
    assert 0 < len(answers_of(broken)) < 5
    last = gguf_bench("--db", broken, *compare)
    assert last.returncode == 0, last.stderr
    assert answers_of(broken) == expected


def test_ctrl_c_stops_soon_and_the_run_goes_on_later(
    smollm2: Path, releases: Path, tmp_path: Path, gguf_bench: Command
) -> None:
    database = tmp_path / "results.db"
    compare = ["--db", str(database), "compare", str(smollm2), "--dataset", str(releases), "--parallel", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gguf_bench", *compare],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=with_default_signals,
    )
    wait_for_an_answer(database, process)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, stderr = process.communicate(timeout=30)
    assert time.monotonic() - started < 5
    assert process.returncode == 130
    assert "run the same command again" in stderr
    assert gguf_bench(*compare).returncode == 0
    assert len(answers_of(database)) == 5


def wait_for_an_answer(database: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "it was through before it could be interrupted"
        if database.exists():
            with sqlite3.connect(database, timeout=5) as connection:
                tables = connection.execute("select count(*) from sqlite_master where name = 'answers'").fetchone()[0]
                if tables and connection.execute("select count(*) from answers").fetchone()[0]:
                    return
        time.sleep(0.02)
    pytest.fail("no answer was stored in two minutes")


def test_free_answers_are_the_models_own_words(
    smollm2: Path, releases: Path, tmp_path: Path, gguf_bench: Command
) -> None:
    """No grammar gives them a form, none of their tokens is forced, and they are kept apart from those it held."""
    database = tmp_path / "results.db"
    compare = ["--db", database, "compare", smollm2, "--dataset", releases, "--limit", 2, "--json"]
    for arguments, is_held in ((compare, True), ([*compare, "--no-grammar"], False)):
        found = gguf_bench(*arguments)
        assert found.returncode == 0, found.stderr
        settings = json.loads(found.stdout)["run"]["settings"]
        assert (settings["grammar"], settings["max_answer_tokens"]) == (is_held, 96 if is_held else 256)
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "select s.grammar, a.output, a.generated_tokens, a.sampled_tokens from answers a"
            " join eps_scores s using (contender_id) where s.asked order by s.run_id, a.document_id"
        ).fetchall()
    assert [grammar for grammar, *_ in rows] == [1, 1, 0, 0]
    held, free = rows[:2], rows[2:]
    assert all(output.startswith('{"basic": ') and sampled < generated for _, output, generated, sampled in held)
    assert all(sampled == generated <= 256 for _, _, generated, sampled in free)
    assert {output for _, output, *_ in free}.isdisjoint(output for _, output, *_ in held)


def test_a_damaged_file_is_one_failed_contender(
    smollm2: Path, releases: Path, tmp_path: Path, gguf_bench: Command
) -> None:
    """It leaves the other contender its score, and the exit code says so."""
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(smollm2.read_bytes()[: 50 * 2**20])
    found = gguf_bench("--db", tmp_path / "r.db", "compare", damaged, smollm2, "--dataset", releases, "--limit", 1)
    assert found.returncode == 3, found.stderr
    assert "damaged.gguf" in found.stdout
    assert "failed" in found.stdout
    assert "Q4_1" in found.stdout


def test_quantize_prints_paths_and_refuses_what_it_should(smollm2: Path, tmp_path: Path, gguf_bench: Command) -> None:
    options = ["--db", tmp_path / "r.db", "quantize"]
    refused = gguf_bench(*options, smollm2, "-q", "Q2_K", "-o", tmp_path)
    assert refused.returncode == 1
    assert "--allow-requantize" in refused.stderr
    assert sorted(tmp_path.glob("*.gguf")) == []
    made = gguf_bench(*options, "smollm2_135m", "-q", "Q2_K", "-q", "Q8_0", "-o", tmp_path / "out")
    assert made.returncode == 0, made.stderr
    paths = [Path(line) for line in made.stdout.splitlines()]
    assert [path.name for path in paths] == ["SmolLM2-135M-Instruct-Q2_K.gguf", "SmolLM2-135M-Instruct-Q8_0.gguf"]
    assert all(path.read_bytes()[:4] == b"GGUF" for path in paths)
    assert sorted((tmp_path / "out").iterdir()) == sorted(paths)
    itself = gguf_bench(*options, paths[0], "-q", "Q2_K", "--allow-requantize", "-o", tmp_path / "out")
    assert itself.returncode == 1
    assert "would replace the file it is made from" in itself.stderr
    needs_imatrix = gguf_bench(*options, "smollm2_135m", "-q", "IQ2_XXS")
    assert needs_imatrix.returncode == 1
    assert "importance matrix" in needs_imatrix.stderr
    sizes = gguf_bench(*options, "smollm2_135m", "-q", "Q4_K_M", "--dry-run", "--json")
    assert json.loads(sizes.stdout)[0]["bits_per_weight"] == pytest.approx(6.17, abs=0.01)
