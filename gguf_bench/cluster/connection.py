"""A scheduler's address, or `local:N` -> a Dask client."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.security import Security

from gguf_bench.errors import ClusterError, one_line
from gguf_bench.progress import Progress

CONNECT_SECONDS = 20
CLOSE_SECONDS, INTERRUPTED_CLOSE_SECONDS = 30, 1
"""An interrupt leaves little more; a client that just goes away leaves nothing behind either."""

NO_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""Ctrl-C in a terminal reaches all processes of the command; the coordinator ends its workers in order."""


@contextmanager
def connected(address: str, progress: Progress) -> Iterator[Client]:
    """A client of the scheduler at `address`; for `local:N` with N workers, that end with it."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said by errors
    if address.startswith("local:"):
        with _local(int(address.removeprefix("local:"))) as scheduler, _client(scheduler) as client:
            yield client
        return
    if address.startswith("tcp://") and not _is_loopback(address):
        progress.say(
            f"WARNING: {address} is unencrypted, and whoever reaches it can run code on its workers; "
            "docs/cluster.md says how tls:// is set up"
        )
    with _client(address) as client:
        yield client


@contextmanager
def _local(n_workers: int) -> Iterator[LocalCluster]:
    settings: dict[str, Any] = {
        "distributed.scheduler.work-stealing": False,
        "distributed.worker.memory.terminate": False,  # the models are in its children, which are not counted
    }
    with dask.config.set(settings):
        try:
            cluster = LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=None,
                worker_dashboard_address=None,
                memory_limit=0,
                silence_logs=logging.CRITICAL,
                preload=[NO_SIGINT],
            )
        except (OSError, RuntimeError, TimeoutError) as error:
            raise ClusterError(f"{n_workers} local workers could not be started: {one_line(str(error))}") from error
        with _closing(cluster):
            yield cluster


@contextmanager
def _client(address: str | LocalCluster) -> Iterator[Client]:
    security = _security(str(address))
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False, security=security)
    except (OSError, ValueError, RuntimeError) as error:
        raise ClusterError(
            f"no scheduler answers at {address}: {one_line(str(error))}",
            hint="is `dask scheduler` running there, and does the address say tcp or tls as its own log does?",
        ) from error
    with _closing(client):
        yield client


@contextmanager
def _closing(one: Client | LocalCluster) -> Iterator[None]:
    """Close it behind the block. What takes too long ends with this process; the comparison is stored all the same."""
    seconds = INTERRUPTED_CLOSE_SECONDS
    try:
        yield
        seconds = CLOSE_SECONDS
    finally:
        with suppress(TimeoutError):
            one.close(timeout=seconds)


def _security(address: str) -> Security:
    """Dask's own settings. Raises ClusterError where they lack what `address` needs."""
    try:
        security = Security()
        has_certificates = security.get_connection_args("client").get("ssl_context") is not None
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ClusterError(
            f"the certificates in Dask's settings cannot be used: {one_line(str(error))}", hint="see docs/cluster.md"
        ) from error
    if address.startswith("tls://") and not has_certificates:
        raise ClusterError(
            f"{address} needs certificates, and Dask's settings name none",
            hint="set DASK_DISTRIBUTED__COMM__TLS__CA_FILE and the client's certificate, see docs/cluster.md",
        )
    return security


def _is_loopback(address: str) -> bool:
    host = address.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
