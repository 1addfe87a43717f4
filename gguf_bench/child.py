"""The child process every piece of llama.cpp work happens in, seen from the parent.

A child gets one job as a line of JSON on its standard input and answers with events, one JSON object a line. It ends
when its work is done, or at once when the parent does: a parent that is killed takes its children with it. It may die,
hang, or fill its log without end: each comes to an error here that says why.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from gguf_bench import errors
from gguf_bench.errors import ChildDied, ChildHung, GgufBenchError, ModelError, one_line

Event = dict[str, Any]

WORKER = (sys.executable, "-P", "-m", "gguf_bench.worker")
"""What a child runs; the name of its job goes on behind it."""

ENVIRONMENT = {
    # How long llama.cpp's threads spin at a barrier before they sleep. OpenMP's default is fifteen times as long: on an
    # idle machine no faster, but with anything else running beside it several times slower.
    "GOMP_SPINCOUNT": "20000",
    # A failed assertion would start a debugger on the child, which holds its pipes open and buries the reason.
    "GGML_NO_BACKTRACE": "1",
}
"""What the child gets unless the user has set it."""

SECRET = re.compile("TOKEN|SECRET|PASSWORD|API_?KEY|ACCESS_KEY", re.IGNORECASE)
"""Environment variables that hold what no child needs to know."""

PATIENCE_SECONDS = 1800.0
"""How long a child may be silent where its caller says nothing better, as while it quantizes one large tensor."""

ASK_PATIENCE_SECONDS = 300.0
"""The same for a job that reads a header, looks for devices or decodes a tiny model. The slowest of these is the first
start of CUDA, which compiles its kernels for a GPU it was not built for."""

LEAST_PATIENCE_SECONDS = 300.0
SLOWEST_READ = 10e6
"""Bytes a second of a model on a slow network disk. A load tells of its progress, but perhaps only at its end."""
SLOWEST_DECODE = 20e9
"""Floating-point operations a second of two cores of ten years ago."""
PARAMETERS_PER_BYTE = 1.8
"""Of a file of 4.5 bits a weight; smaller files are of smaller models, so that too many are assumed for the others."""
MARGIN = 10

LOG_TAIL_BYTES = 65536
MAX_EVENT_BYTES = 64 * 2**20
PIECE_BYTES = 65536
END_SECONDS = 60.0
"""How long a killed child may take to give its memory back before it is left to the kernel."""

LAST_WORDS = (
    *("error", "fail", "assert", "cannot", "unable", "abort", "out of memory", "invalid", "unknown", "missing"),
    *("terminate called", "what():", "exceeds", "corrupt"),
)


def patience(
    work: Literal["load", "answer"], model_bytes: int, *, batch_tokens: int = 512, longest_silence_seconds: float = 0.0
) -> float:
    """Seconds that a child with a model of `model_bytes` may be silent before it is taken to hang.

    For "load", what reading the file takes on the slowest disk worth waiting for. For "answer", what one batch of
    `batch_tokens` takes on the slowest CPU, since a child can tell of itself between two batches only: 7 minutes
    for a 7B model, an hour for a 70B one. A child that has come through a `longest_silence_seconds` is given ten times
    as long, whatever its machine. Never less than 5 minutes.
    """
    needed = {
        "load": model_bytes / SLOWEST_READ,
        "answer": 2 * model_bytes * PARAMETERS_PER_BYTE * batch_tokens / SLOWEST_DECODE,
    }
    return max(LEAST_PATIENCE_SECONDS, needed[work], MARGIN * longest_silence_seconds)


class Child:
    """One child at work on `job`. Use as a context manager: leaving it ends the process, and its memory is back.

    `patience_seconds` is how long it may be silent; set it anew whenever it begins with other work.
    `longest_silence_seconds` is the longest time it has been waited for so far.
    """

    def __init__(self, job: Mapping[str, Any], *, what: str, patience_seconds: float | None = None) -> None:
        self.patience_seconds = PATIENCE_SECONDS if patience_seconds is None else patience_seconds
        self.longest_silence_seconds = 0.0
        self._what = what
        self._lines: deque[bytes] = deque()
        self._partial = bytearray()
        self._log = bytearray()
        self._log_ended = self._closed = False
        self._use = threading.RLock()  # held while the pipes are in use, so that nobody closes them under a reader
        name = job["job"]
        self._process: subprocess.Popen[bytes]
        self._lifeline: int | None
        self._process, self._lifeline = _ahead.pop(name) if name in _ahead else _start(name)
        self.pid = self._process.pid
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdin, self._stdout, self._stderr = (
            pipe.fileno() for pipe in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        for pipe in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(pipe, False)
        try:
            self.send(job)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, message: Mapping[str, Any]) -> None:
        """Hand the child one more line. A child that is gone is noticed by the next `receive`.

        Raises ChildHung where it does not read it.
        """
        left = memoryview(json.dumps(message).encode() + b"\n")
        with self._use, suppress(BrokenPipeError):
            since = time.monotonic()
            while left and not self._closed:
                if self._wait(since, self._stdin, select.POLLOUT):
                    left = left[os.write(self._stdin, left) :]
                    since = time.monotonic()

    def receive(self) -> Event | None:
        """The next event, or None when the child has finished.

        Raises the child's own error (ModelError, QuantizeError, ...) where it reported one, ChildDied with the last
        lines of its log where it was killed or crashed, and ChildHung, after ending it, where it has been silent for
        `patience_seconds`.
        """
        with self._use:
            line = self._next_line()
            if line is not None:
                return self._event(line)
            grace = max(0.0, min(self.patience_seconds, END_SECONDS))
            try:
                returncode = self._process.wait(grace)
            except subprocess.TimeoutExpired:
                raise self._hung(grace) from None
            if returncode != 0:
                raise ChildDied(self._what, returncode, self.last_words())
            return None

    def _next_line(self) -> bytes | None:
        """The next whole line, however many pieces it comes in; None when no more will come."""
        since = time.monotonic()
        while not self._lines:
            if self._closed:
                return None
            if self._wait(since, self._stdout, select.POLLIN):
                now = time.monotonic()
                self.longest_silence_seconds, since = max(self.longest_silence_seconds, now - since), now
                piece = os.read(self._stdout, PIECE_BYTES)
                if not piece:
                    return None
                *lines, rest = piece.split(b"\n")
                if lines:
                    self._lines.append(bytes(self._partial) + lines[0])
                    self._lines.extend(lines[1:])
                    self._partial.clear()
                self._partial += rest
                if len(self._partial) > MAX_EVENT_BYTES:
                    self.close()
                    raise ModelError(f"{self._what} sent an event of more than {MAX_EVENT_BYTES / 2**20:.0f} MiB")
        return self._lines.popleft()

    def _wait(self, since: float, pipe: int, event: int) -> bool:
        """Wait until `pipe` is ready or there was something in the log; whether it is `pipe`.

        Raises ChildHung when patience, counted from `since`, is over.
        """
        poll = select.poll()
        poll.register(pipe, event)
        if not self._log_ended:
            poll.register(self._stderr, select.POLLIN)
        left = max(0.0, since + self.patience_seconds - time.monotonic())
        ready = [number for number, _ in poll.poll(math.ceil(1000 * min(left, 86400)))]
        if self._stderr in ready:
            self._read_log()
        if pipe not in ready and time.monotonic() - since >= self.patience_seconds:
            raise self._hung(time.monotonic() - since)
        return pipe in ready

    def _hung(self, silent_seconds: float) -> ChildHung:
        self.close()
        return ChildHung(self._what, silent_seconds, self.last_words())

    def _event(self, line: bytes) -> Event:
        try:
            event: Event = json.loads(line)
            name = event["event"]
            if name != "error":
                return event
            kind = getattr(errors, event["kind"], ModelError)
            error = kind(one_line(event["message"]), hint=event["hint"])
        except (ValueError, TypeError, KeyError, RecursionError) as fault:
            raise ModelError(f"{self._what} sent what is no event: {one_line(repr(line))}") from fault
        raise error

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def events(self) -> Iterator[Event]:
        """Every event until the child has finished; raises as `receive` does."""
        while (event := self.receive()) is not None:
            yield event

    def last_words(self) -> list[str]:
        """The last lines of the child's log that sound like a reason, else its last line."""
        with self._use:
            self._read_log()
            lines = [one_line(line) for line in self._log.decode("utf-8", "replace").splitlines() if line.strip()]
        telling = [line for line in lines if any(word in line.lower() for word in LAST_WORDS)]
        return telling[-3:] or lines[-1:]

    def _read_log(self) -> None:
        """Take what the log's pipe holds and keep the end of it: a child may write without end."""
        if self._log_ended or self._closed:
            return
        for _ in range(16):  # a pipe's worth, so that a flood leaves time for the events
            try:
                piece = os.read(self._stderr, PIECE_BYTES)
            except BlockingIOError:
                return
            if not piece:
                self._log_ended = True
                return
            self._log += piece
            del self._log[:-LOG_TAIL_BYTES]

    def close(self) -> None:
        """End the child, however busy it is, and wait until it is gone."""
        _kill(self._process)
        with self._use:
            self._read_log()
            self._closed = True
            _close_pipes(self._process)
            if self._lifeline is not None:
                os.close(self._lifeline)
                self._lifeline = None


_ahead: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
"""Processes that wait for the next Child with a job of this name to be made."""


@contextmanager
def started_ahead(job_name: str) -> Iterator[None]:
    """The process of the next Child with a job of this name starts now, and imports while its parent does.

    Worth half a second where one child does all the work. A process that no Child took is ended on leaving.
    """
    _ahead[job_name] = _start(job_name)
    try:
        yield
    finally:
        if job_name in _ahead:
            process, lifeline = _ahead.pop(job_name)
            _kill(process)
            _close_pipes(process)
            os.close(lifeline)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # stuck in the kernel, on a disk that is gone
            process.wait(END_SECONDS)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _start(job_name: str) -> tuple[subprocess.Popen[bytes], int]:
    """A child that waits for its job of this name, and the end of a pipe that keeps it alive.

    When the parent ends, however it does, the kernel closes that end and kills the child for it: also one that is
    stopped, or deep in a call that lets no other thread of Python run. (A death signal set by prctl would come when the
    thread that started the child ends.)
    """
    # Without tokens and keys: the child runs files from strangers, and needs no network.
    environment = ENVIRONMENT | {name: value for name, value in os.environ.items() if not SECRET.search(name)}
    package_root = str(Path(__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [environment.get("PYTHONPATH"), package_root]))
    held, lifeline = os.pipe()
    try:
        process = subprocess.Popen(
            (*WORKER, job_name),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(held,),
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends the child in order
        )
        with suppress(ProcessLookupError):  # died already
            fcntl.fcntl(held, fcntl.F_SETOWN, process.pid)
            fcntl.fcntl(held, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(held, fcntl.F_SETFL, fcntl.fcntl(held, fcntl.F_GETFL) | os.O_ASYNC)
            resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))  # no copy of the model when it crashes
    except OSError as error:
        os.close(lifeline)
        raise ModelError(
            f"no process can be started: {error}", hint="free some memory, or end other programs"
        ) from error
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(held)
    return process, lifeline


def ask(job: Mapping[str, Any], *, what: str) -> Event:
    """Run a job that answers with one event, and return it."""
    with Child(job, what=what, patience_seconds=ASK_PATIENCE_SECONDS) as child:
        for event in child.events():
            return event
    raise GgufBenchError(f"{what}: the child process ended without an answer")
