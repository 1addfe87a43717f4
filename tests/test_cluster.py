"""Many machines: a real scheduler and real workers on loopback, and what a comparison makes of their faults."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client

from gguf_bench import cluster, hub, llama_build, pipeline
from gguf_bench.catalog import load_catalog, resolve
from gguf_bench.cluster import cell, files, vetting
from gguf_bench.cluster.cell import Needs, Outcome
from gguf_bench.cluster.files import Wanted
from gguf_bench.cluster.vetting import Facts
from gguf_bench.cluster.workers import Workers
from gguf_bench.errors import ClusterError, ModelError
from gguf_bench.llama_build import Build
from gguf_bench.place import Cluster
from gguf_bench.prepare import contenders
from gguf_bench.progress import Silent
from gguf_bench.store import Store
from tests import tiny_models
from tests.conftest import until
from tests.dask_processes import DaskProcesses
from tests.hub_server import READER, STRANGER, HubServer
from tests.processes import children_of, descendants, ends_within, is_alive, with_default_signals
from tests.recording_proxy import RecordingProxy

Command = Callable[..., "subprocess.CompletedProcess[str]"]

PLAIN_TEMPLATE = '{chat_template: "{{ messages[0].content }}"}'
SECONDS_OF = ("prompt_seconds", "generation_seconds", "seconds")
"""What no two runs have alike."""
TOKEN = "hf_thisisthecoordinatorsown"


class Heard(Silent):
    """What is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """A scheduler with two workers, for tests that leave both as they are. All have one cache folder."""
    folder = tmp_path_factory.mktemp("dask")
    homes = {name: str(folder / name.lower()) for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "HF_HOME")}
    with DaskProcesses(folder / "processes", env=homes) as processes:
        processes.add("one")
        processes.add("two")
        processes.wait_for_workers(2)
        yield processes


@pytest.fixture
def one_cache(shared: DaskProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator's cache is the workers': what is measured once holds for both."""
    monkeypatch.setenv("XDG_CACHE_HOME", shared.env["XDG_CACHE_HOME"])


def models(folder: Path, *names: str, seen_at: Path | None = None, **tiny: Any) -> Path:
    """A catalog of tiny models that read text, each of a file of its own name, which `seen_at` has as its folder."""
    lines = ["tiny:"]
    for name in names:
        tiny_models.llama(folder / f"{name}.gguf", **tiny)
        entry = f"{{provider: file, file: {seen_at or folder}/{name}.gguf, template_kwargs: {PLAIN_TEMPLATE}}}"
        lines += [f"  {name}:", f"    {entry}"]
    catalog = folder / "models.yaml"
    catalog.write_text("\n".join(lines) + "\n")
    return catalog


def compared(
    catalog: Path, names: list[str], releases: Path, database: Path, workers: Cluster | None = None, **options: Any
) -> dict[str, Any]:
    """What is stored of a run: its settings, contenders by model, and the answers of each by document."""
    known = load_catalog(catalog)
    asked = contenders([resolve(name, known) for name in names], [])
    store, heard = Store(database), Heard()
    try:
        run_id = pipeline.compare(asked, pipeline.options(dataset=str(releases), **options), store, heard, workers)
        rows = {row["model"]: row for row in store.contenders(run_id) if row["asked"]}
        return {
            "run": store.run(run_id),
            "settings": json.loads(store.rows("select settings from runs where id = ?", [run_id])[0]["settings"]),
            "machine": json.loads(store.rows("select machine from runs where id = ?", [run_id])[0]["machine"]),
            "contenders": rows,
            "answers": {
                name: {
                    answer["document_id"]: {
                        key: value for key, value in answer.items() if key not in (*SECONDS_OF, "contender_id")
                    }
                    for answer in store.answers(row["id"])
                }
                for name, row in rows.items()
            },
            "said": heard.lines,
        }
    finally:
        store.close()


def left_out(workers: Cluster) -> set[str]:
    """Addresses of the workers that were found to be of no use."""
    found: set[str] = workers._workers.left_out  # type: ignore[attr-defined]
    return found


def threads_of_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine computes with as many threads as each of two workers on it does."""
    look = llama_build.look
    monkeypatch.setattr(
        llama_build, "look", lambda: replace(build := look(), physical_cores=max(1, build.physical_cores // 2))
    )


# --- the same as on one machine ---


@pytest.mark.model
def test_results_are_those_of_a_single_machine_byte_for_byte(
    shared: DaskProcesses,
    one_cache: None,
    releases: Path,
    smollm2: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalog = models(tmp_path, "one", "two")
    catalog.write_text(catalog.read_text() + f"  smollm2: {{provider: file, file: {smollm2}}}\n")
    asked = ["one", "smollm2", "two"]
    with cluster.connect(shared.address) as workers:
        many = compared(catalog, asked, releases, tmp_path / "many.db", workers, n_parallel=2)
    threads_of_half(monkeypatch)
    single = compared(catalog, asked, releases, tmp_path / "single.db", n_parallel=2)
    assert many["answers"] == single["answers"]
    assert many["settings"] == single["settings"]
    assert all(len(answers) == 5 for answers in many["answers"].values())
    assert len({answer["output"] for answer in many["answers"]["smollm2"].values()}) > 1
    alike = ("settings_sha256", "file_sha256", "status", "n_ctx", "gpu_layers", "eps_score", "exact_match", "missed")
    for name in asked:
        assert {key: many["contenders"][name][key] for key in alike} == {
            key: single["contenders"][name][key] for key in alike
        }
        for measured in ("load_seconds", "peak_rss_bytes", "documents_per_minute", "wall_seconds"):
            assert many["contenders"][name][measured] > 0
    assert many["machine"]["workers"] == 2


def test_a_run_goes_on_whether_it_was_begun_here_or_there(
    shared: DaskProcesses, one_cache: None, releases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = models(tmp_path, "one")
    threads_of_half(monkeypatch)
    first = compared(catalog, ["one"], releases, tmp_path / "r.db", limit=2)
    with cluster.connect(shared.address) as workers:
        second = compared(catalog, ["one"], releases, tmp_path / "r.db", workers)
        third = compared(catalog, ["one"], releases, tmp_path / "r.db", workers)
    assert second["run"]["id"] == third["run"]["id"] != first["run"]["id"]
    assert first["answers"]["one"].items() <= second["answers"]["one"].items()
    assert second["answers"] == third["answers"]


# --- faults ---


def test_a_cell_that_crashes_is_a_failed_contender_and_no_worker_dies(
    shared: DaskProcesses, one_cache: None, releases: Path, tmp_path: Path
) -> None:
    catalog = models(tmp_path, "crash", "good")
    with cluster.connect(shared.address) as workers:
        found = compared(catalog, ["crash", "good"], releases, tmp_path / "r.db", workers)
    assert found["contenders"]["crash"]["status"] == "failed"
    assert "died (SIGSEGV)" in found["contenders"]["crash"]["error"]
    assert found["contenders"]["crash"]["eps_score"] is None
    assert found["contenders"]["good"]["status"] == "finished"
    assert [process.poll() for process in shared.processes] == [None] * 3


def test_the_cell_of_a_killed_worker_is_computed_by_another(
    shared: DaskProcesses, one_cache: None, releases: Path, tmp_path: Path
) -> None:
    catalog = models(tmp_path, "one")
    hold = tmp_path / "one.hold"
    hold.touch()
    third = shared.add("killed")
    database = tmp_path / "r.db"

    def kill() -> None:
        def its_child() -> list[int]:
            return [pid for pid in children_of(third.pid) if (tmp_path / f"one.held-{pid}").exists()]

        held.extend(until(its_child))
        third.kill()
        third.wait()
        hold.unlink()

    held: list[int] = []
    with cluster.connect(shared.address) as workers:
        killer = threading.Thread(target=kill)
        killer.start()
        found = compared(catalog, ["one"], releases, database, workers, n_parallel=1)
        killer.join()
    assert found["contenders"]["one"]["status"] == "finished"
    assert len(found["answers"]["one"]) == 5
    assert [line for line in found["said"] if "was lost" in line]
    assert all(ends_within(pid, 5) for pid in held)


def test_without_its_scheduler_a_run_is_interrupted_and_no_contender_blamed(
    shared: DaskProcesses, one_cache: None, releases: Path, tmp_path: Path
) -> None:
    catalog, database = models(tmp_path, "one"), tmp_path / "r.db"
    hold = tmp_path / "one.hold"
    hold.touch()
    with DaskProcesses(tmp_path / "own", env=shared.env) as processes:
        processes.add("only")
        soon = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
        with soon, cluster.connect(processes.address) as workers:
            killer = threading.Thread(
                target=lambda: until(lambda: list(tmp_path.glob("one.held-*"))) and processes.end(processes.scheduler)
            )
            killer.start()
            with pytest.raises(ClusterError, match=r"the scheduler at tcp://127.0.0.1:\d+ is gone: .*; run the same"):
                compared(catalog, ["one"], releases, database, workers)
            killer.join()
    (held,) = tmp_path.glob("one.held-*")
    assert ends_within(int(held.suffix.removeprefix(".held-")), 10)
    store = Store(database)
    assert [run["status"] for run in store.runs()] == ["interrupted"]
    assert "failed" not in {row["status"] for row in store.contenders(1)}
    store.close()
    hold.unlink()
    with cluster.connect(shared.address) as workers:
        assert compared(catalog, ["one"], releases, database, workers)["run"]["id"] == 1


@pytest.fixture
def other_version(tmp_path: Path) -> dict[str, str]:
    """The environment of a worker whose gguf-bench is another one."""
    folder = tmp_path / "other"
    (folder / "gguf_bench-9.9.9.dist-info").mkdir(parents=True)
    (folder / "gguf_bench-9.9.9.dist-info" / "METADATA").write_text("Name: gguf-bench\nVersion: 9.9.9\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parent.parent)])}


def test_a_worker_of_another_version_is_refused(
    shared: DaskProcesses, one_cache: None, releases: Path, tmp_path: Path, other_version: dict[str, str]
) -> None:
    """Before any work; one that joins later is left out, and said."""
    catalog = models(tmp_path, "one")
    hold = tmp_path / "one.hold"
    hold.touch()
    heard = Heard()
    found: dict[str, Any] = {}
    with cluster.connect(shared.address) as workers:
        said = threading.Thread(
            target=lambda: found.update(compared(catalog, ["one"], releases, tmp_path / "r.db", workers))
        )
        said.start()
        until(lambda: list(tmp_path.glob("one.held-*")))
        other = shared.add("other", env=other_version)
        try:
            until(lambda: left_out(workers))
            hold.unlink()
            said.join()
            assert found["contenders"]["one"]["status"] == "finished"
            (line,) = [line for line in found["said"] if "9.9.9" in line]
            assert line.startswith("WARNING: worker tcp://127.0.0.1:")
            refused = r"worker tcp://127.0.0.1:\d+ has gguf-bench 9.9.9, wanted .*; pip install 'gguf-bench\[cluster\]"
            with pytest.raises(ClusterError, match=refused), cluster.connect(shared.address, heard):
                pass
        finally:
            shared.end(other)


@pytest.mark.parametrize(
    ("number", "work"),
    [(signal.SIGINT, "run"), (signal.SIGKILL, "run"), (signal.SIGINT, "calibrate")],
    ids=["Ctrl-C", "kill -9", "Ctrl-C while it measures"],
)
def test_a_coordinator_that_is_gone_leaves_no_child_at_work(
    shared: DaskProcesses, one_cache: None, releases: Path, tmp_path: Path, number: signal.Signals, work: str
) -> None:
    catalog, database = models(tmp_path, "one", n_layers=2 if work == "run" else 3), tmp_path / "r.db"
    hold = tmp_path / ("one.hold" if work == "run" else "one.hold-calibrate")
    hold.touch()
    options = ["--models", catalog, "--db", database, "compare", "one", "--dataset", releases, "--parallel", 1]
    command = [sys.executable, "-m", "gguf_bench", *map(str, options), "--cluster", shared.address]
    coordinator = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=with_default_signals
    )
    n_held = 2 if work == "run" else 1
    children = until(lambda: len(held := list(tmp_path.glob("one.held-*"))) == n_held and held)
    pids = [int(child.suffix.removeprefix(".held-")) for child in children]
    assert all(map(is_alive, pids))
    started = time.monotonic()
    coordinator.send_signal(number)
    _, stderr = coordinator.communicate(timeout=60)
    assert all(ends_within(pid, 10) for pid in pids)
    assert time.monotonic() - started < 10
    if number == signal.SIGINT:
        assert coordinator.returncode == 130
        assert stderr.endswith("run the same command again to go on\n")
        assert "Traceback" not in stderr
    hold.unlink()
    assert [process.poll() for process in shared.processes[:3]] == [None] * 3
    again = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr


# --- files ---


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that only this process finds where it says that it is."""
    folder = tmp_path / "away"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


SEEN_AT = Path("/proc/self/cwd")
LARGE = {"n_more_tokens": 20_000}
"""A file of 10 MB: three pieces."""


def test_a_file_that_a_worker_lacks_is_sent_and_no_token_with_it(
    shared: DaskProcesses, one_cache: None, releases: Path, tmp_path: Path, away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = models(away, "sent", seen_at=SEEN_AT, **LARGE)
    content = (away / "sent.gguf").read_bytes()
    for name in ("HF_TOKEN", "HUGGINGFACE_API_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.setenv(name, TOKEN)
    with (
        dask.config.set({"distributed.comm.compression": None}),
        RecordingProxy(shared.address) as proxy,
        cluster.connect(proxy.address) as workers,
    ):
        found = compared(catalog, ["sent"], releases, tmp_path / "r.db", workers)
        assert found["contenders"]["sent"]["status"] == "finished"
        cache = Path(shared.env["XDG_CACHE_HOME"])
        (received,) = cache.rglob("sent.gguf")
        assert received.read_bytes() == content
        assert content[-1000:] in proxy.sent  # whatever is sent is seen
        assert b"Quellmark 1 Inc." in proxy.sent
        n_sent = len(proxy.sent)
        assert n_sent < 2 * len(content)  # once to a host
        compared(catalog, ["sent"], releases, tmp_path / "r.db", workers, fresh=True)
        assert len(proxy.sent) - n_sent < len(content) / 10
        assert TOKEN.encode() not in proxy.sent


def test_a_damaged_transfer_is_refused(
    shared: DaskProcesses, one_cache: None, releases: Path, tmp_path: Path, away: Path
) -> None:
    catalog = models(away, "damaged", "good", seen_at=SEEN_AT, n_more_tokens=30_000)
    (away / "good.gguf").write_bytes(tiny_models.llama(away / "x.gguf").read_bytes())
    damage = (away / "damaged.gguf").read_bytes()[-1_000_000:][:16]
    with (
        dask.config.set({"distributed.comm.compression": None}),
        RecordingProxy(shared.address, damage) as proxy,
        cluster.connect(proxy.address) as workers,
    ):
        found = compared(catalog, ["damaged", "good"], releases, tmp_path / "r.db", workers)
    assert found["contenders"]["damaged"]["status"] == "failed"
    assert "damaged.gguf did not arrive as it is" in found["contenders"]["damaged"]["error"]
    assert found["contenders"]["good"]["status"] == "finished"
    assert not [path for path in Path(shared.env["XDG_CACHE_HOME"]).rglob("*damaged*") if path.is_file()]
    assert not list(Path(shared.env["XDG_CACHE_HOME"]).rglob("*.partial"))


def test_a_worker_pulls_from_the_hub_with_its_own_token(
    shared: DaskProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    folder = tmp_path / "repo"
    folder.mkdir()
    (part,) = files.wanted(tiny_models.llama(folder / "m-F32.gguf")).parts
    with HubServer() as server:
        commit = server.add_repo("bank/m", folder, gated=True)
        elsewhere = replace(part, path=tmp_path / "nowhere" / "m-F32.gguf")
        wanted = Wanted(parts=(elsewhere,), on_hub=("bank/m", commit, "m-F32.gguf"))
        home = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        others = [
            shared.add("reader", env=server.environment(tmp_path / "hf", token=READER) | home),
            shared.add("stranger", env=server.environment(tmp_path / "hf2", token=STRANGER) | home),
        ]
        try:
            shared.wait_for_workers(4)
            with Client(shared.address, set_as_default=False) as client:
                workers = Workers(client, shared.address)
                by_name = {one["name"]: address for address, one in client.scheduler_info()["workers"].items()}

                def bring(name: str) -> object:
                    return workers.sync(workers.on(by_name[name], cell.bring, wanted))

                assert bring("reader") == Outcome()
                needs = bring("stranger")
        finally:
            for other in others:
                shared.end(other)
        assert isinstance(needs, Needs)
        assert needs.files == (wanted,)
        assert "is sent instead" in needs.said[0]
        sent = {request.headers.get("authorization") for request in server.requests if request.host == "hub"}
        assert sent == {f"Bearer {READER}", f"Bearer {STRANGER}"}


def test_a_file_of_the_hub_cache_is_known_by_repo_and_commit() -> None:
    snapshot = hub.cache_folder() / "models--org--a--b" / "snapshots" / ("1" * 40)
    assert files._on_hub(snapshot / "q" / "x.gguf") == ("org/a--b", "1" * 40, "q/x.gguf")
    assert files._on_hub(hub.cache_folder() / "models--org--a" / "blobs" / "x.gguf") is None
    assert files._on_hub(Path("/x.gguf")) is None


# --- GPUs, TLS, processes of this machine ---


def test_where_workers_have_gpus_only_those_compute(
    shared: DaskProcesses, one_cache: None, releases: Path, tmp_path: Path
) -> None:
    catalog = models(tmp_path, "one")
    (tmp_path / "one.hold").touch()
    third = shared.add("gpu", "--resources", "GPU=1")
    shared.wait_for_workers(3)
    found: dict[str, Any] = {}
    try:
        with cluster.connect(shared.address) as workers:
            assert workers.facts()["workers"] == 1
            work = threading.Thread(
                target=lambda: found.update(
                    compared(catalog, ["one"], releases, tmp_path / "r.db", workers, n_parallel=1)
                )
            )
            work.start()
            (held,) = until(lambda: list(tmp_path.glob("one.held-*")))
            assert int(held.suffix.removeprefix(".held-")) in children_of(third.pid)
            (asked_for,) = client_of(workers).run_on_scheduler(resources_asked_for)
            assert asked_for == {"GPU": 1}
            (tmp_path / "one.hold").unlink()
            work.join()
        assert found["contenders"]["one"]["status"] == "finished"
        assert len(list(tmp_path.glob("one.held-*"))) == 1
    finally:
        shared.end(third)


def client_of(workers: Cluster) -> Any:
    return workers._workers._client  # type: ignore[attr-defined]


def resources_asked_for(dask_scheduler: Any) -> list[dict[str, float]]:
    return [task.resource_restrictions for task in dask_scheduler.tasks.values() if "answer" in task.key]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Dask's settings for a certificate of our own authority, the same for all."""
    folder = tmp_path_factory.mktemp("tls")
    new_key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]

    def openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=folder)

    openssl("req", "-x509", *new_key, "-subj", "/CN=Own CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *new_key[:3], "-subj", "/CN=node", "-keyout", "node.key", "-out", "node.csr")
    signed_by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
    openssl("x509", "-req", "-in", "node.csr", *signed_by, "-out", "node.pem")
    settings = {"CA_FILE": "ca.pem"}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        settings |= {f"{role}__CERT": "node.pem", f"{role}__KEY": "node.key"}
    return {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(folder / file) for name, file in settings.items()}


def test_tls_by_dasks_own_settings(
    shared: DaskProcesses,
    one_cache: None,
    certificates: dict[str, str],
    releases: Path,
    tmp_path: Path,
    gguf_bench: Command,
) -> None:
    catalog = models(tmp_path, "one")
    command = ["--models", catalog, "--db", tmp_path / "r.db", "compare", "one", "--dataset", releases, "--json"]
    encryption = certificates | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    with DaskProcesses(tmp_path / "tls", protocol="tls", env=shared.env | encryption) as processes:
        assert processes.address.startswith("tls://")
        processes.add("encrypted")
        found = gguf_bench(*command, "--cluster", processes.address, env=certificates)
        assert found.returncode == 0, found.stderr
        assert {row["status"] for row in json.loads(found.stdout)["leaderboard"]} == {"finished"}
        refused = gguf_bench(*command, "--cluster", processes.address)
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert line.startswith(
            f"Error: {processes.address} needs certificates, and Dask's settings name none; set DASK_"
        )


def test_workers_of_this_machine_come_and_go_with_the_command(
    shared: DaskProcesses, one_cache: None, releases: Path, tmp_path: Path
) -> None:
    """Also when a terminal's Ctrl-C reaches all of them at once."""
    catalog, database = models(tmp_path, "one"), tmp_path / "r.db"
    options = ["--models", catalog, "--db", database, "compare", "one", "--dataset", releases, "--parallel", 1]
    command = [sys.executable, "-m", "gguf_bench", *map(str, options), "--cluster", "local:2"]
    coordinator = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=with_default_signals,
        start_new_session=True,
    )
    started = until(lambda: len(found := descendants(coordinator.pid)) >= 4 and database.exists() and found)
    os.killpg(coordinator.pid, signal.SIGINT)
    _, stderr = coordinator.communicate(timeout=60)
    assert all(ends_within(pid, 5) for pid in started)
    assert coordinator.returncode == 130
    assert stderr.endswith("run the same command again to go on\n")
    assert "Traceback" not in stderr
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert {row["status"] for row in json.loads(again.stdout)["leaderboard"]} == {"finished"}
    assert again.stderr == ""


# --- what is said ---


def test_dask_is_imported_for_a_cluster_alone(releases: Path, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from gguf_bench.cli.commands import cli\n"
        "try: cli(sys.argv[1:])\n"
        "except SystemExit as end: print(end.code, 'distributed' in sys.modules, 'dask' in sys.modules)\n"
    )
    arguments = ["--db", tmp_path / "r.db", "compare", "baseline_null", "--dataset", releases]
    found = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[-1] == "0 False False", found.stderr


def test_without_the_extra_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ClusterError, match=r"pip install 'gguf-bench\[cluster\]'"), cluster.connect("local:1"):
        pass


@pytest.mark.parametrize("address", ["local:0", "local:", "host:8786", "http://host:1", "tcp://host", "tcp://a b:1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ClusterError, match="is no cluster"), cluster.connect(address):
        pass


@pytest.mark.parametrize(
    ("address", "is_here"),
    [
        ("tcp://127.0.0.1:1", True),
        ("tcp://localhost:1", True),
        ("tcp://[::1]:1", True),
        ("tcp://10.0.0.1:1", False),
        ("tcp://host:1", False),
    ],
)
def test_an_unencrypted_scheduler_elsewhere_is_warned_of(
    address: str, is_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_client(*_: object, **__: object) -> None:
        raise OSError("not tried")

    monkeypatch.setattr("gguf_bench.cluster.connection.Client", no_client)
    heard = Heard()
    with pytest.raises(ClusterError, match="not tried"):
        cluster.connect(address, heard).__enter__()
    warned = [line.startswith(f"WARNING: {address} is unencrypted") for line in heard.lines]
    assert warned == ([] if is_here else [True])


def test_a_scheduler_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gguf_bench.cluster.connection.CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(ClusterError, match=f"^no scheduler answers at {address}: .*dask scheduler"):
        cluster.connect(address).__enter__()


def test_threads_and_memory_of_a_host_are_shared_by_its_workers() -> None:
    build = replace(llama_build.NO_BUILD, physical_cores=16)
    one = Facts(
        build=build, extra_buffers=True, note=None, memory_bytes=64, host="a", cpus=tuple(range(16)), os="Linux"
    )  # fmt: skip
    assert vetting.shared_by([one]) == (16, 64)
    assert vetting.shared_by([one] * 4) == (4, 16)
    assert vetting.shared_by([one, one, replace(one, host="b")]) == (8, 32)
    job = replace(one, build=replace(build, physical_cores=8))  # two jobs of a queue on one machine
    assert vetting.shared_by([replace(job, cpus=tuple(range(8))), replace(job, cpus=tuple(range(8, 16)))]) == (8, 64)
    assert vetting.shared_by([one] * 40) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"build": Build("0.4", "CPU", False, 2, ())}, "has as llama.cpp '0.4 CPU', wanted '0.3 CPU' as A has"),
        ({"build": Build("0.3", "CPU", False, 2, ({"description": "Z", "kind": "cpu"},))}, "the machine 'Z', wanted"),
        ({"extra_buffers": False}, "has as AMX code that works 'no', wanted 'yes'"),
    ],
)
def test_workers_have_to_be_alike(changes: dict[str, Any], says: str) -> None:
    build = Build("0.3", "CPU", False, 2, ({"description": "Y", "kind": "cpu"},))
    wanted = Facts(build=build, extra_buffers=True, note=None, memory_bytes=1, host="a", cpus=(1,), os="Linux")
    assert vetting.fault("B", replace(wanted, host="b", cpus=(2,)), "A", wanted) is None
    found = vetting.fault("B", replace(wanted, **changes), "A", wanted)
    assert found is not None
    assert says in str(found)
    assert str(found).startswith("worker B ")


# --- files, on a worker ---


def test_a_file_is_known_by_content_until_it_changes(tmp_path: Path) -> None:
    path = tiny_models.llama(tmp_path / "m.gguf")
    wanted = files.wanted(path)
    assert files.found(wanted, Silent()) == (path,)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert files.found(wanted, Silent()) is None


def test_all_parts_of_a_split_file_are_received(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"m-0000{number}-of-00002.gguf").write_bytes(bytes([number]) * 1000)
    wanted = files.wanted(folder / "m-00001-of-00002.gguf")
    contents = [part.path.read_bytes() for part in wanted.parts]
    for part in wanted.parts:
        part.path.unlink()
    assert files.found(wanted, Silent()) is None
    for part, target, content in zip(wanted.parts, wanted.received_paths, contents, strict=True):
        files.receive(part, target, lambda content=content: iter([content[:700], content[700:]]))
    assert files.found(wanted, Silent()) == wanted.received_paths
    assert [path.name for path in wanted.received_paths] == [part.path.name for part in wanted.parts]


@pytest.mark.parametrize("pieces", [[b"x" * 999], [b"x" * 999, b"y"], [b"x" * 1001], []])
def test_what_is_not_the_file_is_not_kept(pieces: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"x" * 1000)
    wanted = files.wanted(path)
    with pytest.raises(ModelError, match="did not arrive as it is"):
        files.receive(wanted.parts[0], wanted.received_paths[0], lambda: iter(pieces))
    assert not list(wanted.received_paths[0].parent.iterdir())
