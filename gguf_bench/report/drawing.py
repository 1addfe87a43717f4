"""Vega-Lite specs -> SVG, by vl-convert: the one module that knows it. It draws without a browser or the network.

vl-convert's engine takes half a second to start and holds Python's lock all the while, so it runs in
processes of its own, beside the one that asks the store. This file is their program, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import vl_convert

VEGA_LITE = "6.1"
ANY_CHART = {"data": {"values": [{}]}, "mark": "point"}


PROCESSES = max(1, min(3, len(os.sched_getaffinity(0)) - 1))
"""One core is left to the one that asks the store."""


class Pens:
    """Draw charts side by side; use as a context manager. They get ready while other work is done."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(PROCESSES)
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        # By its path, so that it need not import the package; not of the terminal's group, so that Ctrl-C is ours.
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-P", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for _ in range(PROCESSES)
        ]
        for process in self._processes:
            self._free.put(process)

    def __enter__(self) -> Pens:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.communicate()

    def draw(self, spec: Mapping[str, Any]) -> Future[str]:
        """The SVG element of a chart to be, for a page that has the CSS variables its colours are.

        Its result raises GgufBenchError where vl-convert cannot draw it.
        """
        return self._threads.submit(self._drawn, spec)

    def _drawn(self, spec: Mapping[str, Any]) -> str:
        from gguf_bench.errors import GgufBenchError

        process = self._free.get()
        try:
            reply = _asked(process, spec)
        finally:
            self._free.put(process)
        if "error" in reply:
            raise GgufBenchError(f"a chart cannot be drawn: {reply['error']}")
        return reply["svg"][reply["svg"].index("<svg") :]


def _asked(process: subprocess.Popen[bytes], spec: Mapping[str, Any]) -> dict[str, str]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(spec).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        line = b""
    reply: dict[str, str] = json.loads(line) if line else {"error": "vl-convert died"}
    return reply


def _reply(spec: Mapping[str, Any]) -> dict[str, str]:
    try:
        return {"svg": vl_convert.vegalite_to_svg(dict(spec), vl_version=VEGA_LITE, allowed_base_urls=[])}
    except ValueError as error:
        return {"error": str(error)}


def main() -> None:
    """A process of `Pens`: a spec a line on standard input, a reply a line on standard output."""
    _reply(ANY_CHART)  # starts the engine
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(_reply(json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
