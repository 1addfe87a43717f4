"""CLUSTER: a comparison's answers, computed on many machines. The only package that imports Dask.

    connection   a scheduler's address, or workers of this machine's own -> a client
    workers      which there are, and having one of them do something
    vetting      what each is; only workers that are alike compute one comparison
    shares       which worker gets which documents of which contender
    coordinator  one coroutine a worker: hands out cells, and takes back what came of them
    sending      messages and files, to a worker that lacks them
    cell         what a worker does for a cell: finds the file, starts the child process, collects the answers
    files        a GGUF on a worker: found, fetched or received, and verified
    watch        whether what a worker computes is still wanted

    questions -> shares -> coordinator -> cell -> run -> coordinator -> session -> store

A cell is a range of documents of one contender. It is given to one worker by name, and the next one when that has come
back: so nothing is stolen, nothing queues behind a slow worker, and a worker that joins gets its share. The coordinator
alone writes the store. It sends documents and settings, and a file that a worker finds nowhere; never a token.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager

from gguf_bench.errors import ClusterError
from gguf_bench.place import Cluster
from gguf_bench.progress import SILENT, Progress

ADDRESS = re.compile(r"local:[1-9]\d{0,3}|(?:tcp|tls)://(?:\[[0-9a-fA-F:.%]+\]|[^\s/:\[\]]+):\d{1,5}")
"""`local:2`, `tcp://host:8786`, `tls://[::1]:8786`."""


@contextmanager
def connect(address: str, progress: Progress = SILENT) -> Iterator[Cluster]:
    """The cluster at `address`, or of this machine's own processes (`local:N`), its workers all alike.

    Leaving it ends what is still being computed, and the processes of `local:N`. Raises ClusterError where Dask is not
    installed, no scheduler or worker answers, or workers differ in what answers depend on.
    """
    if importlib.util.find_spec("distributed") is None:
        raise ClusterError("--cluster needs the distributed package", hint="pip install 'gguf-bench[cluster]'")
    if not ADDRESS.fullmatch(address):
        raise ClusterError(f"{address!r} is no cluster", hint="give local:N, tcp://HOST:PORT or tls://HOST:PORT")
    from gguf_bench.cluster.connection import connected
    from gguf_bench.cluster.coordinator import Coordinator
    from gguf_bench.cluster.workers import Workers

    with connected(address, progress) as client:
        yield Coordinator(Workers(client, address), progress)


__all__ = ["ADDRESS", "connect"]
