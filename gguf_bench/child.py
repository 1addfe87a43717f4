"""The child process every piece of llama.cpp work happens in, seen from the parent.

A child gets one job as a line of JSON on its standard input and answers with events, one JSON object a line. It ends
when its work is done, or at once when its standard input closes: a parent that is killed takes its children with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gguf_bench import errors
from gguf_bench.errors import ChildDied, GgufBenchError, ModelError
from gguf_bench.hub_token import TOKEN_NAMES

Event = dict[str, Any]

SPIN = {"GOMP_SPINCOUNT": "20000"}
"""How long llama.cpp's threads spin at a barrier before they sleep. OpenMP's default is fifteen times as long: on an
idle machine no faster, but with anything else running beside it several times slower. A user's own setting wins."""

LOG_TAIL_BYTES = 8192
LAST_WORDS = ("error", "fail", "assert", "cannot", "unable", "abort", "out of memory", "invalid", "unknown", "missing")


class Child:
    """One child at work on `job`. Use as a context manager: leaving it ends the process, and its memory is back."""

    def __init__(self, job: Mapping[str, Any], *, what: str) -> None:
        self._what = what
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the child)
        environment = SPIN | {name: value for name, value in os.environ.items() if name not in TOKEN_NAMES}
        # Without the token: the child runs files from strangers, and needs no network.
        package_root = str(Path(__file__).resolve().parent.parent)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [environment.get("PYTHONPATH"), package_root]))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gguf_bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends the child in order
        )
        self.pid = self._process.pid
        self.send(job)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, message: Mapping[str, Any]) -> None:
        """Hand the child one more line. A child that is gone is noticed by the next `receive`."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError, ValueError):  # ValueError: closed by us
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> Event | None:
        """The next event, or None when the child has finished.

        Raises the child's own error (ModelError, QuantizeError, ...) where it reported one, and ChildDied with the last
        lines of its log where it was killed or crashed.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line.endswith(b"\n"):
            event: Event = json.loads(line)
            if event["event"] == "error":
                kind = getattr(errors, event["kind"], ModelError)
                raise kind(event["message"], hint=event["hint"])
            return event
        returncode = self._process.wait()
        if returncode != 0:
            raise ChildDied(self._what, returncode, self.last_words())
        return None

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def events(self) -> Iterator[Event]:
        """Every event until the child has finished; raises as `receive` does."""
        while (event := self.receive()) is not None:
            yield event

    def last_words(self) -> list[str]:
        """The last lines of the child's log that sound like a reason, else its last line."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - LOG_TAIL_BYTES))
        lines = [line.strip() for line in self._log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        telling = [line for line in lines if any(word in line.lower() for word in LAST_WORDS)]
        return (telling or lines)[-3:]

    def close(self) -> None:
        """End the child, however busy it is, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def ask(job: Mapping[str, Any], *, what: str) -> Event:
    """Run a job that answers with one event, and return it."""
    with Child(job, what=what) as child:
        for event in child.events():
            return event
    raise GgufBenchError(f"{what}: the child process ended without an answer")
