"""What the Hub and the network may do to a pull, done by a Hub on loopback to the real client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import workshop
from tests.faults.fault import Fault, Outcome, outcome
from tests.faults.workshop import REPO, SHARD
from tests.hub_server import READER, STRANGER, HubServer

HURRIED = "from gguf_bench.hub import patience\npatience.FIRST_WAIT_SECONDS = 0.05"
"""Before a command that would wait 15 s in all."""
STALLED = "import os\nos.environ['HF_HUB_DOWNLOAD_TIMEOUT'] = '2'"
MIDDLE = 5_678_901
"""A byte within the shard."""
AGAIN = "asked again, and goes on"


@dataclass(frozen=True)
class Bad:
    """A pull while `make` is the matter with the Hub: its exit code and what it says; then again, all well.

    `resumes`: the second pull asks for the rest of the shard alone.
    """

    make: Callable[[HubServer], object]
    says: tuple[str, ...]
    code: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    before: str = HURRIED
    resumes: bool = False

    def strike(self, folder: Path, _n: int) -> Outcome:
        with workshop.hub() as server:
            trial = workshop.trial(workshop.PULL, folder, server)
            trial.environment = {**trial.environment, **self.environment}
            trial.before = self.before
            self.make(server)
            trial.run()
            wrong = trial.message(*self.says, code=self.code)
            wrong += [] if self.resumes else [f"left over: {name}" for name in trial.partials()]
            server.faults.clear()
            server.requests.clear()
            server.repos[REPO].gated = False
            again = trial.again()
            again.environment = server.environment(folder)
            again.run()
        ranges = [r.headers.get("range") for r in server.requests if r.host == "storage" and SHARD in r.path]
        if self.resumes and not (ranges and ranges[0]):
            wrong.append(f"begun from the first byte again: {ranges}")
        if self.code == 0 and ranges:
            wrong.append("fetched again")
        wrong += again.message(code=0) + workshop.unlike_whole(workshop.PULL, again)
        came = f"exit {self.code}; the second pull {'asks for the rest' if self.resumes else 'is whole'}"
        if self.code == 0:
            came = "goes on by itself, whole"
        return outcome(came, wrong, message=trial.said())


def always(status: int, part: str = SHARD, **headers: str) -> Callable[[HubServer], object]:
    return lambda server: server.fail(status, part, times=99, **headers)


def once(status: int, part: str = SHARD, **headers: str) -> Callable[[HubServer], object]:
    return lambda server: server.fail(status, part, times=1, **headers)


def gate(server: HubServer) -> None:
    server.repos[REPO].gated = True


def cut_away(server: HubServer) -> None:
    """In the middle of the shard, and from then on nothing comes any more."""
    server.cut(SHARD, MIDDLE)
    server.cut(SHARD, 0, times=99, reset=True)


def refused_range(server: HubServer) -> None:
    server.cut(SHARD, MIDDLE)
    server.refuse_range(SHARD)


ONE_LINE = "one line with the way out; pulling again is whole"
BUSY = (408, 429, 500, 502, 503, 504)

CASES: Mapping[tuple[str, str], Bad] = {
    ("connection cut", "in the middle of a shard"): Bad(
        lambda server: server.cut(SHARD, MIDDLE), ("the connection broke", "trying again"), 0
    ),
    ("connection reset", "in the middle of a shard"): Bad(
        lambda server: server.cut(SHARD, MIDDLE, reset=True), ("the connection broke", "trying again"), 0
    ),
    ("connection stalls", "in the middle of a shard"): Bad(
        lambda server: server.stall(SHARD, MIDDLE), ("the connection broke", "trying again"), 0, before=STALLED
    ),
    ("connection cut for good", "in the middle of a shard"): Bad(
        cut_away, ("cannot be reached", "; check the network"), resumes=True
    ),
    ("401", "no such repo, or no token"): Bad(always(401, "/api/models"), ("there is no model", "; check the name")),
    ("401", "a token that the Hub does not know"): Bad(
        lambda _server: None,
        ("does not know the token in $HF_TOKEN", "; renew it"),
        environment={"HF_TOKEN": "hf_unknown"},
    ),
    ("401", "gated, no token"): Bad(gate, ("is gated and no token was found", "; accept its licence at")),
    ("403", "gated, licence not accepted"): Bad(
        gate, ("the licence of", "is not accepted", "; accept it at"), environment={"HF_TOKEN": STRANGER}
    ),
    ("403", "a shard"): Bad(always(403), ("may not read", "(403", "; see"), environment={"HF_TOKEN": READER}),
    ("404", "a shard"): Bad(always(404), ("has no file", "; see http")),
    ("416", "a shard, by range"): Bad(refused_range, ("does not go on", "it is begun again"), 0),
    ("429, Retry-After: 1", "a shard"): Bad(once(429, retry_after="1"), ("answers 429", "trying again in 1 s"), 0),
    ("429, Retry-After: 3600", "a shard"): Bad(
        always(429, retry_after="3600"), ("answers 429", "; try again in 3600 s; it resumes")
    ),
    **{(f"{status}", "a shard, once"): Bad(once(status), (f"answers {status}", "trying again"), 0) for status in BUSY},
    **{
        (f"{status}", f"{where}, always"): Bad(always(status, part), (f"answers {status}", "; try again later"))
        for status in BUSY
        for where, part in (("the file list", "/api/models"), ("a shard", SHARD))
    },
    ("wrong checksum", "a shard"): Bad(
        lambda server: server.damage(SHARD), ("was damaged on the way", "; the download was removed; pull again")
    ),
    ("wrong checksum", "config.json"): Bad(
        lambda server: server.damage("config.json"),
        ("was damaged on the way", "; the download was removed; pull again"),
    ),
    ("Hub away", "the file list"): Bad(
        lambda _server: None,
        ("cannot be reached", "; check the network"),
        environment={"HF_ENDPOINT": "http://127.0.0.1:9"},
    ),
}
PROMISES = {0: "goes on by itself", 1: ONE_LINE}
ROWS = tuple(Fault(name, f"pull: {where}", PROMISES[bad.code], bad.strike) for (name, where), bad in CASES.items())
