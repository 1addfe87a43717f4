"""The real edgartools, asked for recordings on loopback while no socket leaves the machine."""

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from datetime import date

import pytest

from gguf_bench import edgar
from gguf_bench.dataset import load
from gguf_bench.errors import DatasetError
from gguf_bench.xbrl_gold import Labels
from tests.edgar_server import Company, EdgarServer, Filing
from tests.processes import with_default_signals

pytestmark = pytest.mark.skipif(importlib.util.find_spec("edgar") is None, reason="the extra `edgar` is not installed")

BASIC, DILUTED = "us-gaap:EarningsPerShareBasic", "us-gaap:EarningsPerShareDiluted"
PER_SHARE = "USD/shares"


def page(end, basic, diluted, *more):
    """A release as such exhibits are written: figures in cells of their own beside their signs."""
    cells = "".join(
        f"<tr><td>{name}</td><td>$</td><td>{figure}</td><td></td><td>$</td><td>9.99</td></tr>"
        for name, figure in (("Basic", basic), ("Diluted", diluted))
    )
    return (
        "<html><head><title>EX-99.1</title></head><body><p>Exhibit&nbsp;99.1</p><p>Quellmark reports results</p>"
        f"<table><tr><td></td><td colspan=5>Three Months Ended {end},</td></tr>"
        f"<tr><td>Earnings per share:</td></tr>{cells}</table>{''.join(f'<p>{line}</p>' for line in more)}"
        "</body></html>"
    )


def filing(number, form, filed, end="", items="", **exhibits):
    kinds = {name.replace("ex", "EX-").replace("_", "."): content for name, content in exhibits.items()}
    return Filing(f"0009900001-24-{number:06d}", form, filed, end, items, kinds)


FIRST = filing(10, "8-K", "2024-04-25", items="2.02,9.01", ex99_1=page("March 31", "0.50", "0.49"))
SECOND = filing(
    20, "8-K", "2024-07-25", items="2.02,9.01", ex99_1=page("June 30", "0.60", "0.58", "Adjusted EPS: 0.71")
)
FOURTH = filing(40, "8-K", "2025-02-01", items="2.02", ex99_1=page("December 31", "0.70", "0.68"))
OLD = filing(1, "8-K", "2013-04-25", items="2.02,9.01", ex99_01=page("March 31", "0.10", "0.09"))
OTHER = filing(11, "8-K", "2024-04-26", items="5.02,9.01", ex99_1=page("March 31", "0.50", "0.49"))
AMENDED = filing(12, "8-K/A", "2024-04-27", items="2.02,9.01", ex99_1=page("March 31", "0.50", "0.49"))
BARE = filing(13, "8-K", "2024-04-28", items="2.02", ex99_2=page("March 31", "0.50", "0.49"))
Q1 = filing(14, "10-Q", "2024-05-03", "2024-03-31")
Q2 = filing(24, "10-Q", "2024-08-02", "2024-06-30")
YEAR = filing(44, "10-K", "2025-02-20", "2024-12-31")
OLD_Q1 = filing(2, "10-Q", "2013-05-03", "2013-03-31")

QUELLMARK = Company(
    cik=9900001,
    name="Quellmark, Inc.",
    ticker="QMRKX",
    filings=(YEAR, FOURTH, Q2, SECOND, Q1, BARE, AMENDED, OTHER, FIRST),
    older=(OLD_Q1, OLD),
    facts=(
        (BASIC, PER_SHARE, "2024-01-01", "2024-03-31", 0.5, Q1),
        (DILUTED, PER_SHARE, "2024-01-01", "2024-03-31", 0.49, Q1),
        (DILUTED, PER_SHARE, "2023-01-01", "2023-03-31", 9.99, Q1),
        (BASIC, PER_SHARE, "2024-04-01", "2024-06-30", 0.6, Q2),
        (BASIC, PER_SHARE, "2024-01-01", "2024-06-30", 1.1, Q2),
        (DILUTED, PER_SHARE, "2024-04-01", "2024-06-30", 0.58, Q2),
        (BASIC, PER_SHARE, "2024-01-01", "2024-12-31", 2.5, YEAR),
        (DILUTED, PER_SHARE, "2024-01-01", "2024-12-31", 2.4, YEAR),
        (BASIC, PER_SHARE, "2013-01-01", "2013-03-31", 0.1, OLD_Q1),
        (DILUTED, PER_SHARE, "2013-01-01", "2013-03-31", 0.09, OLD_Q1),
        ("us-gaap:Assets", "USD", "", "2024-03-31", 1e9, Q1),
    ),
)


@pytest.fixture(scope="module")
def server():
    with EdgarServer() as server:
        server.add(QUELLMARK)
        yield server


DRIVER = """
import contextlib, io, json, os, sys, traceback
from gguf_bench.cli.commands import run
for line in sys.stdin:
    arguments, environment = json.loads(line)
    os.environ.update(environment)
    sys.argv = ["gguf-bench", "dataset", "edgar", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run()
        except BaseException:
            traceback.print_exc()
            code = -1
    sys.__stdout__.write(json.dumps([code, out.getvalue(), err.getvalue()]) + chr(10))
    sys.__stdout__.flush()
"""


@pytest.fixture(scope="module")
def driver(server, tmp_path_factory):
    """One process for many commands, as importing edgartools takes seconds."""
    home = tmp_path_factory.mktemp("driver")
    environment = {**os.environ, **server.environment(home)}
    command = [sys.executable, "-c", DRIVER]
    with subprocess.Popen(command, cwd=home, env=environment, stdin=-1, stdout=-1, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def run(driver, server):
    """`dataset edgar`, asking the server."""

    def run(*arguments, status=200, identity="Test Person test@example.com"):
        server.status = status
        driver.stdin.write(json.dumps([list(map(str, arguments)), {"EDGAR_IDENTITY": identity}]) + "\n")
        driver.stdin.flush()
        code, out, err = json.loads(driver.stdout.readline())
        server.status = 200
        return subprocess.CompletedProcess(arguments, code, out, err)

    return run


def test_releases_become_a_dataset_and_a_table_to_fill_in(run, gguf_bench, server, tmp_path):
    before = len(server.requests)
    target = tmp_path / "filings.jsonl"
    done = run("QMRKX", "9900001", "--json", "-o", target)
    assert done.returncode == 0, done.stderr
    asked = server.requests[before:]
    assert {request.user_agent for request in asked} == {"Test Person test@example.com"}

    documents = {document.id: document for document in load(str(target)).documents}
    assert list(documents) == [OLD.accession, FIRST.accession]
    document = documents[FIRST.accession]
    assert {name: str(value) for name, value in document.gold.items()} == {
        "basic": "0.50",
        "diluted": "0.49",
        "adjusted": "None",
    }
    assert (document.company, document.period) == ("Quellmark, Inc.", "three months ended March 31, 2024")
    assert "Basic | $0.50 | $9.99" in document.text
    assert {name: str(value) for name, value in document.traps.items()} == {"diluted_py": "9.99"}
    assert document.source["accession"] == FIRST.accession
    assert document.source["figures_from"] == {"form": "10-Q", "accession": Q1.accession, "filed": "2024-05-03"}
    assert document.source["url"].endswith(f"/000990000124000010/{FIRST.accession}-index.html")

    texts, table = edgar.left_to_label(target)
    assert sorted(path.name for path in texts.iterdir()) == [f"{SECOND.accession}.htm", f"{FOURTH.accession}.htm"]
    with table.open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    second, fourth = rows[f"{SECOND.accession}.htm"], rows[f"{FOURTH.accession}.htm"]
    assert [second[name] for name in ("basic", "diluted", "adjusted")] == ["0.60", "0.58", "?"]
    assert [fourth[name] for name in ("basic", "diluted", "adjusted")] == ["?", "?", "null"]
    assert 'says "Adjusted"' in second["why"]
    assert "no figure for three months to 2024-12-31, only of 366 days" in fourth["why"]
    assert f"{BARE.accession} of 2024-04-28 is left out: it has no Exhibit 99.1" in done.stderr
    assert "4 releases: 2 labelled, 2 left to label" in done.stderr

    said = json.loads(done.stdout)
    assert (said["dataset"], said["n_documents"], said["labels"]) == (str(target), 2, str(table))
    assert [release["id"] for release in said["releases"]] == [each.accession for each in (OLD, FIRST, SECOND, FOURTH)]

    # The command it names next does what it says.
    filled = table.read_text().replace("0.60,0.58,?", "0.60,0.58,0.71")
    table.write_text(filled)
    command = done.stderr.strip().splitlines()[-1].partition("next: gguf-bench ")[2].split()
    imported = gguf_bench(*command)
    assert imported.returncode == 0, imported.stderr
    (completed,) = load(imported.stdout.strip()).documents
    assert (completed.id, str(completed.gold["adjusted"])) == (SECOND.accession, "0.71")
    assert "Basic | $0.60 | $9.99" in completed.text
    assert FOURTH.accession in imported.stderr


@pytest.mark.parametrize(
    ("options", "documents", "n_open"),
    [
        (["--since", "2024-04-25", "--until", "2024-04-25"], [FIRST], 0),
        (["--until", "2024-04-24"], [OLD], 0),
        (["--since", "2024-04-26", "--until", "2025-01-31"], [], 1),
    ],
)
def test_since_and_until_are_days_of_filing(run, tmp_path, options, documents, n_open):
    done = run("QMRKX", *options, "-o", tmp_path / "x.jsonl", "--json")
    said = json.loads(done.stdout)
    assert [release["id"] for release in said["releases"]][: len(documents)] == [each.accession for each in documents]
    assert len(said["releases"]) == len(documents) + n_open
    assert (tmp_path / "x.jsonl").exists() is bool(documents)
    assert (said["dataset"] is None) is not documents


def test_no_more_than_ten_requests_a_second(run, server, tmp_path):
    busy = tuple(filing(100 + i, "8-K", f"2024-01-{i + 1:02d}", items="2.02", ex99_1="<p>none</p>") for i in range(25))
    server.add(Company(cik=9900002, name="Busyfield plc", ticker="BUSYX", filings=busy))
    before = len(server.requests)
    done = run("9900002", "-o", tmp_path / "x.jsonl")  # it has no facts, which is no failure
    assert done.returncode == 0, done.stderr
    times = [request.at for request in server.requests[before:]]
    assert len(times) >= 25
    assert all(later - earlier > 0.95 for earlier, later in zip(times, times[10:], strict=False))


@pytest.mark.parametrize(
    ("identity", "words"),
    [("", "there is no identity"), ("Nobody", "not what the SEC wants"), ("Jürgen j@example.com", "in ASCII")],
)
def test_nobody_is_asked_without_an_identity(run, server, tmp_path, identity, words):
    before = len(server.requests)
    done = run("QMRKX", "-o", tmp_path / "x.jsonl", identity=identity)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert "EDGAR_IDENTITY=" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert len(server.requests) == before


def test_the_identity_is_asked_for_at_a_terminal(server, tmp_path):
    ours, theirs = os.openpty()
    os.write(ours, b"Asked Person asked@example.com\n")
    before = len(server.requests)
    environment = {**os.environ, **server.environment(tmp_path, identity="")}
    command = [sys.executable, "-m", "gguf_bench", "dataset", "edgar", "QMRKX", "-o", str(tmp_path / "x.jsonl")]
    done = subprocess.run(command, stdin=theirs, env=environment, capture_output=True, text=True, timeout=300)
    os.close(ours)
    os.close(theirs)
    assert done.stdout == f"{tmp_path / 'x.jsonl'}\n"
    assert "The SEC wants to know who asks" in done.stderr
    assert {request.user_agent for request in server.requests[before:]} == {"Asked Person asked@example.com"}


def test_an_unknown_company_is_named_before_anything_is_read(run, server, tmp_path):
    before = len(server.requests)
    for ticker in ("NOSUCHX", "9999999"):
        done = run("QMRKX", ticker, "-o", tmp_path / "x.jsonl")
        assert done.returncode == 1
        assert f"EDGAR knows no company '{ticker}'" in done.stderr
    assert not [request for request in server.requests[before:] if "/Archives/" in request.path]
    assert not (tmp_path / "x.jsonl").exists()


@pytest.mark.parametrize(("status", "words"), [(403, "refused the request"), (429, "too many requests"), (410, "410")])
def test_what_the_sec_answers_is_told_in_one_line(run, tmp_path, status, words):
    done = run(str(9900010 + status), "-o", tmp_path / "x.jsonl", status=status)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "x.jsonl").exists()


def test_no_release_is_a_failure(run, tmp_path):
    done = run("QMRKX", "--since", "2030-01-01", "-o", tmp_path / "x.jsonl")
    assert done.returncode == 1
    assert "no earnings release" in done.stderr


@pytest.mark.parametrize("name", ["x.jsonl", "x-to-label", "x-to-label.labels.csv"])
def test_nothing_is_written_over(run, server, tmp_path, name):
    (tmp_path / name).write_text("mine")
    before = len(server.requests)
    done = run("QMRKX", "-o", tmp_path / "x.jsonl")
    assert done.returncode == 1
    assert f"{tmp_path / name}: is there already" in done.stderr
    assert (tmp_path / name).read_text() == "mine"
    assert len(server.requests) == before


@pytest.mark.parametrize("options", [[], ["--since", "yesterday"], ["--since", "2024-02-01", "--until", "2024-01-01"]])
def test_misuse(run, tmp_path, options):
    assert run(*(["QMRKX"] if options else []), *options, "-o", tmp_path / "x.jsonl").returncode == 2


def test_an_interrupted_run_writes_nothing_and_goes_on_where_it_was(server, tmp_path):
    slow = tuple(filing(200 + i, "8-K", f"2024-01-{i + 1:02d}", items="2.02", ex99_1="<p>none</p>") for i in range(28))
    server.status = 200
    server.add(Company(cik=9900003, name="Slowfield plc", ticker="SLOWX", filings=slow))
    environment = {**os.environ, **server.environment(tmp_path)}
    command = [sys.executable, "-m", "gguf_bench", "dataset", "edgar", "9900003", "-o", str(tmp_path / "x.jsonl")]

    def read():
        return {request.path for request in server.requests if "/9900003/" in request.path}

    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, preexec_fn=with_default_signals)
    deadline = time.monotonic() + 120
    while len(read()) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "interrupted; run the same command again to go on"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("x", ".x"))]
    before, known = len(server.requests), read()
    assert subprocess.run(command, env=environment, capture_output=True, timeout=120).returncode == 0
    again = [request.path for request in server.requests[before:] if request.path in known]
    assert len(again) <= 1  # the one that was being fetched
    assert len(read()) == 28


def test_without_the_extra_the_way_to_it_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DatasetError, match=r"pip install 'gguf-bench\[edgar\]'"):
        next(edgar.releases(["QMRKX"], "A Person a@example.com"))


def test_the_guard_of_these_tests_holds(server, tmp_path):
    for code in (
        "socket.create_connection(('192.0.2.1', 80), 1)",
        "socket.getaddrinfo('www.sec.gov', 443)",
        "socket.socket().connect(('192.0.2.1', 80))",
    ):
        environment = {**os.environ, **server.environment(tmp_path)}
        done = subprocess.run([sys.executable, "-c", f"import socket; {code}"], env=environment, capture_output=True)
        assert b"a test asked for the network" in done.stderr


def test_a_run_that_fails_while_writing_leaves_nothing(tmp_path):
    release = edgar.Release(
        id="no/such/folder",
        company="Quellmark",
        cik=1,
        filed=date(2024, 1, 1),
        url="",
        exhibit=b"x",
        suffix=".htm",
        text="x",
        labels=Labels(unknown=dict.fromkeys(("basic", "diluted", "adjusted"), "why")),
    )
    with pytest.raises(OSError, match="no/such/folder"):
        edgar.write([release], tmp_path / "x.jsonl")
    assert not list(tmp_path.iterdir())
