"""`browse` serves the store to this machine alone, for reading alone, in a real browser where there is one."""

from __future__ import annotations

import html
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from gguf_bench.queries import saved_queries
from gguf_bench.store import Store
from tests.chromium import chromium, needs_chromium
from tests.filled_store import HOSTILE, filled
from tests.processes import with_default_signals

pytest.importorskip("datasette", reason="the extra `browse` is not installed")
SECONDS = 120
NEEDED = {"model": "bloop_1b", "document": "d000001"}

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def said_in(path: Path) -> Path:
    return path.parent / "stderr.txt"


def started(path: Path, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    """`browse` as a process, and the URL it printed. What it says goes to a file: a pipe nobody reads would fill up."""
    command = [sys.executable, "-m", "gguf_bench", "--db", str(path), "browse", "--no-open", *arguments]
    with said_in(path).open("w") as said:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, preexec_fn=with_default_signals
        )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    if not url:
        pytest.fail(f"browse did not start: {said_in(path).read_text()}")
    return process, url


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("browse") / "r #1?.db")


@pytest.fixture(scope="module")
def url(store: Path) -> Iterator[str]:
    process, url = started(store)
    yield url
    process.kill()
    process.communicate()


def page(url: str, **headers: str) -> str:
    with urlopen(Request(url, headers=headers), timeout=SECONDS) as response:
        return str(response.read().decode())


def rows(url: str) -> list[dict[str, Any]]:
    return list(json.loads(page(f"{url}.json?_shape=array")))


def refused(url: str, **headers: str) -> str:
    with pytest.raises(HTTPError) as caught:
        page(url, **headers)
    assert caught.value.code in (400, 403, 404, 405)
    with caught.value as error:
        return str(error.read().decode())


def test_the_first_page_shows_tables_and_saved_queries(url: str) -> None:
    found = page(url)
    assert "Which local model, at which quantization" in found
    for name in ("eps_scores", "answers", "documents", *saved_queries()):
        assert f"/results/{name}" in found
    assert "_sqlite_migrations" not in re.sub("(?s)<div class=.hidden.*", "", found).split("hidden")[0]


@pytest.mark.parametrize("table", ["eps_scores", "runs", "contenders", "answers", "documents", "artifacts"])
def test_a_table_s_page_tells_what_its_columns_hold(url: str, table: str) -> None:
    found = page(f"{url}/{table}")
    assert 'class="column-descriptions"' in found


@pytest.mark.parametrize("name", saved_queries())
def test_a_saved_query_is_a_page(url: str, name: str) -> None:
    given = "&".join(f"{each.name}={NEEDED.get(each.name, '')}" for each in saved_queries()[name].parameters)
    found = json.loads(page(f"{url}/{name}.json?_shape=array&{given}"))
    assert found or name == "quantization-cost"
    shown = page(f"{url}/{name}?{given}")
    assert saved_queries()[name].title in html.unescape(shown)


def test_every_column_that_is_described_exists(store: Path) -> None:
    from gguf_bench.browse import described

    tables = described()["databases"]["results"]["tables"]
    with closing(sqlite3.connect(store)) as connection:
        for table, told in tables.items():
            columns = {row[1] for row in connection.execute(f"pragma table_info({table})")}
            assert columns, table
            assert set(told.get("columns", {})) <= columns


@pytest.mark.parametrize(
    "sql",
    [
        "select fts3_tokenizer('x', x'4141414141414141')",
        "select load_extension('x')",
        "select length(zeroblob(100000000))",
        "delete from runs",
        "attach ':memory:' as x",
        "select * from pragma_table_info('runs') join locks on 0; delete from runs",
    ],
)
def test_it_only_reads(url: str, store: Path, sql: str) -> None:
    refused(f"{url}.json?sql={quote(sql)}")
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute("select count(*) from runs").fetchone() == (2,)


def test_it_is_for_this_machine_and_this_address_alone(url: str) -> None:
    port = int(url.split(":")[2].partition("/")[0])
    assert "not the address of the store" in refused(url, Host=f"elsewhere.example:{port}")
    assert "Scores" in page(f"{url}/eps_scores", Host=f"localhost:{port}")
    own = [row.split()[1] for row in Path("/proc/net/tcp").read_text().splitlines() if f":{port:04X} " in row]
    assert f"0100007F:{port:04X}" in own  # listening at 127.0.0.1,
    assert f"00000000:{port:04X}" not in own  # and at nothing else


def test_it_asks_nobody_else(url: str) -> None:
    for path in ("", "/answers", "/leaderboard", "/document?document=d000001", "?sql=select+1"):
        found = page(url + path)
        loaded = re.findall(r"""<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=["']?([^"'\s>]+)""", found)
        assert loaded
        assert [each for each in loaded if not each.startswith(("/", url.rpartition("/")[0]))] == []
    with urlopen(url, timeout=SECONDS) as response:
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]


def test_what_is_written_meanwhile_is_shown(tmp_path: Path) -> None:
    process, url = started(filled(tmp_path / "r.db"))
    try:
        with closing(Store(tmp_path / "r.db")) as writer:
            assert rows(f"{url}/locks") == []
            writer.lock_commit("org/name", None, "1" * 40)
            assert [row["repo"] for row in rows(f"{url}/locks")] == ["org/name"]
            with writer._writing() as connection:  # a reader waits for no writer
                connection.execute("delete from locks")
                assert len(rows(f"{url}/locks")) == 1
            assert rows(f"{url}/locks") == []
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    process, url = started(filled(tmp_path / "r.db"))
    page(url)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=SECONDS)
    said = said_in(tmp_path / "r.db").read_text()
    assert (process.returncode, printed) == (130, "")
    assert said.startswith("interrupted")
    assert len(said.splitlines()) == 1


def test_mistakes_are_one_line(tmp_path: Path, gguf_bench: Command) -> None:
    store, other = filled(tmp_path / "r.db"), tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("create table t (a)")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        for path, says in ((tmp_path / "none.db", "no store"), (other, "something else"), (store, f"port {port}")):
            found = gguf_bench("--db", path, "browse", "--no-open", "--port", port)
            assert (found.returncode, found.stdout, len(found.stderr.splitlines())) == (1, "", 1)
            assert says in found.stderr


def test_without_the_extra_it_says_how_to_get_it(store: Path) -> None:
    script = "import sys; sys.modules['datasette'] = None\nfrom gguf_bench.cli import main; main()"
    command = [sys.executable, "-c", script, "--db", str(store), "browse"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert (found.returncode, found.stdout, len(found.stderr.splitlines())) == (1, "", 1)
    assert "pip install 'gguf-bench[browse]'" in found.stderr


# In a browser


def browsed(url: str, folder: Path) -> tuple[str, list[str], list[str]]:
    """What Chromium makes of a page: its document once scripts ran, its console's lines, and what it asked for."""
    with chromium(folder / "profile") as page:
        page.open(url)
        return page.run("document.documentElement.outerHTML"), page.console, page.asked


@needs_chromium
@pytest.mark.parametrize("path", ["/unparseable", "/answers?status=unparseable", "/document?document=d000019"])
def test_markup_of_a_model_is_text(url: str, tmp_path: Path, path: str) -> None:
    document, console, asked = browsed(url + path, tmp_path)
    assert "&lt;script&gt;document.title = 'owned'&lt;/script&gt;" in document
    assert HOSTILE.partition("</script>")[0] not in document
    title = re.search("(?s)<title>(.*?)</title>", document)
    assert title is not None
    assert "owned" not in title[1]
    assert console == []
    assert asked[0] == url + path
    assert all(each.startswith(url.partition("/results")[0]) for each in asked)


@needs_chromium
def test_a_script_that_got_into_a_page_could_be_seen(tmp_path: Path) -> None:
    """The test above can fail: Chromium runs scripts here, and its console is heard."""
    bad = tmp_path / "bad.html"
    bad.write_text("<title>t</title><script>document.title = 'owned'; console.error('heard')</script>")
    document, console, _ = browsed(bad.as_uri(), tmp_path)
    assert "<title>owned</title>" in document
    assert "heard" in console[0]
