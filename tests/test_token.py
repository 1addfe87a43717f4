"""The Hub token goes to the Hub and nowhere else: whole commands are run, and everything they leave is searched for it.

Searched are both streams (with -v, and with huggingface_hub's own debug log), every file below the home, cache and data
folders, the store among them, the command lines of all processes while the command runs, and every request that the
Hub and its storage host get.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import close_session

from gguf_bench import hub
from gguf_bench.errors import HubError
from gguf_bench.records import ModelSpec
from tests.converters.lora_cases import ADAPTERS, write_adapter
from tests.hub_server import READER, STRANGER, HubServer

WRONG = "hf_wrongwrongwrongwrong"
NAME = "bank/base"

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    """One gated repo with a checkpoint, and its LoRA adapter."""
    config = {"base_model_name_or_path": NAME}
    adapter, base = write_adapter(tmp_path / "made", replace(ADAPTERS["llama"], config=config), whole_base=True)
    with HubServer() as running:
        running.add_repo(NAME, base, gated=True)
        running.add_repo("bank/tuned", adapter, gated=True)
        yield running
        close_session()


class ProcessList:
    """The command lines of all processes, looked at again and again."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._ended = threading.Event()

    def look(self) -> None:
        while not self._ended.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    self.seen.add((process / "cmdline").read_bytes())
                except OSError:  # it is gone
                    continue

    @contextmanager
    def watched(self) -> Iterator[None]:
        thread = threading.Thread(target=self.look)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()


def leaks(token: str, folder: Path, server: HubServer, *texts: str) -> list[str]:
    """Where `token` shows that it must not: in a text, in a file below `folder`, in a request not to the Hub."""
    found = [f"text: {text}" for text in texts if token in text]
    found += [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".env" and token.encode() in path.read_bytes()
    ]
    for request in server.requests:
        rest = {name: value for name, value in request.headers.items() if name != "authorization"}
        if request.host != "hub" or request.headers.get("authorization") not in (None, f"Bearer {token}"):
            rest = dict(request.headers)
        if token in f"{request.path} {rest}":
            found.append(f"request to {request.host}: {request}")
    return found


PLACES = {
    "environment": [
        ["models", "check", NAME, "--json"],
        ["models", "add", "bank/tuned"],
        ["pull", "tuned"],
        ["quantize", NAME, "-q", "Q8_0"],
        ["doctor"],
    ],
    ".env": [["pull", NAME]],
}
"""Where the token is, and the commands that are run with it. doctor may find something broken here."""


@pytest.mark.parametrize("place", PLACES)
def test_it_shows_nowhere_when_all_goes_well(
    server: HubServer, gguf_bench: Command, tmp_path: Path, place: str
) -> None:
    environment = server.environment(tmp_path / "hf", token=READER if place == "environment" else None)
    environment |= {"HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug"}
    (tmp_path / "elsewhere" / "models.yaml").write_text("# mine\n")
    if place == ".env":
        (tmp_path / "elsewhere" / ".env").write_text(f"HUGGINGFACE_API_TOKEN={READER}\n")
    processes = ProcessList()
    with processes.watched():
        done = [
            gguf_bench("--db", tmp_path / "results.db", "-v", *command, env=environment) for command in PLACES[place]
        ]
    assert not [one for one in done if one.returncode and one.args[-1] != "doctor"], done
    assert leaks(READER, tmp_path, server, *(text for one in done for text in (one.stdout, one.stderr))) == []
    assert len(processes.seen) > 1
    assert not [line for line in processes.seen if READER.encode() in line]
    assert any(request.headers.get("authorization") == f"Bearer {READER}" for request in server.requests)
    assert any(request.host == "storage" for request in server.requests)


@pytest.mark.model
def test_it_shows_nowhere_in_a_comparison(
    smollm2: Path, server: HubServer, gguf_bench: Command, tmp_path: Path
) -> None:
    """Commands that need no Hub are told it as well, by the environment that all commands share."""
    environment, processes = server.environment(tmp_path / "hf", token=READER), ProcessList()
    commands = [
        ["compare", str(smollm2), "--limit", "2", "--excerpt", "300"],
        ["results", "export", "1"],
        ["report", "1", "-o", str(tmp_path / "report.html")],
    ]
    with processes.watched():
        done = [gguf_bench("--db", tmp_path / "results.db", "-v", *command, env=environment) for command in commands]
    assert not [one for one in done if one.returncode], done
    assert leaks(READER, tmp_path, server, *(text for one in done for text in (one.stdout, one.stderr))) == []
    assert any(b"gguf_bench.worker" in line for line in processes.seen)
    assert not [line for line in processes.seen if READER.encode() in line]


@pytest.mark.parametrize(
    ("trouble", "token", "said"),
    [
        ("refused", WRONG, "does not know the token"),
        ("licence", STRANGER, "is not accepted"),
        ("broken", READER, "the Hub answers 500"),
        ("forbidden", READER, "may not read"),
        ("damaged", READER, "was damaged on the way"),
        ("storage", READER, "the Hub answers 500"),
        ("spaces", "hf_one two", "has spaces"),
        ("no hub", READER, "does not answer like a Hub"),
    ],
)
def test_it_shows_nowhere_when_something_goes_wrong(
    server: HubServer, gguf_bench: Command, tmp_path: Path, trouble: str, token: str, said: str
) -> None:
    faults: dict[str, Callable[[], None]] = {
        "broken": lambda: server.fail(500, "/api/models", times=99, retry_after="99"),
        "forbidden": lambda: server.fail(403, "config.json"),
        "damaged": lambda: server.damage("model.safetensors"),
        "storage": lambda: server.fail(500, "model.safetensors", times=99, retry_after="99"),
        "no hub": lambda: server.fail(200, "/api/models"),
    }
    faults.get(trouble, lambda: None)()
    environment = server.environment(tmp_path / "hf", token=token)
    done = gguf_bench("--db", tmp_path / "results.db", "-v", "pull", NAME, env=environment)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" in done.stderr
    assert leaks(token, tmp_path, server, done.stdout, done.stderr) == []


def test_a_bug_shows_a_traceback_without_it(server: HubServer, tmp_path: Path) -> None:
    """Whatever is raised where the token is at hand: a traceback has lines of code, not values."""
    script = (
        "import sys; from gguf_bench.hub import repo; from gguf_bench.cli.commands import cli\n"
        "def broken(*arguments, **more): raise RuntimeError('a bug')\n"
        "repo.Repo._append = broken\n"
        "cli(['--db', sys.argv[1], 'pull', 'bank/base'])"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script, str(tmp_path / "results.db")],
        env=server.environment(tmp_path / "hf", token=READER) | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "RuntimeError: a bug" in done.stderr
    assert leaks(READER, tmp_path, server, done.stdout, done.stderr) == []


@pytest.mark.parametrize("part", ["/api/models/bank/base", "config.json", "model.safetensors"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_takes_it_to_another_host(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: str, status: int
) -> None:
    """Another port is another origin. The storage host would refuse a token; that it got none is looked at here."""
    monkeypatch.chdir(tmp_path)
    server.use(monkeypatch, tmp_path / "hf", token=READER)
    (commit,) = server.repos[NAME].files
    file = server.repos[NAME].files[commit]["config.json"]
    server.fail(status, part, location=f"{server.url('storage')}/{file.etag}/{NAME}/{commit}/config.json")
    spec = ModelSpec(key=NAME, name=NAME)
    try:
        hub.pull(spec)
    except HubError as error:
        assert part != "config.json", error  # noqa: PT017 (the others get what they did not ask for)
    assert any(request.host == "storage" and request.path.endswith("config.json") for request in server.requests)
    assert leaks(READER, tmp_path, server) == []


def test_a_search_without_a_token_sends_none(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    server.use(monkeypatch, tmp_path / "hf", token=READER)
    hub.ready_made(NAME, "Q4_K_M")
    hub.reachable()
    assert [request.headers.get("authorization") for request in server.requests] == [None, None]


def test_the_search_finds_what_it_looks_for(server: HubServer, tmp_path: Path) -> None:
    """A test of leaks that cannot see one is none."""
    folder = tmp_path / "left"
    folder.mkdir()
    (folder / "log").write_text(f"... {READER} ...")
    assert leaks(READER, folder, server, f"token {READER}") == [f"text: token {READER}", str(folder / "log")]
    processes = ProcessList()
    with processes.watched():
        subprocess.run(
            [sys.executable, "-c", "import time; time.sleep(0.3)", READER], check=True, env=os.environ.copy()
        )
    assert [line for line in processes.seen if READER.encode() in line]
