"""What may happen to a store: nothing is lost, and it is said.

Several comparisons at once, readers during writes, `kill -9`, a full disk, a read-only folder and mount, stores of
other versions. Comparisons are those of the baselines, which need no model. Full disks and mounts take root; without
it they are left out.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gguf_bench import migrations
from tests.disks import command_of_nobody, fill, make_read_only, read_only_mount, small_disk
from tests.faults.fault import Fault, Outcome
from tests.faults.trial import plain
from tests.filled_store import filled

SEED = 6
MANY_DOCUMENTS = 1000
ROOM_FOR_SOME_ANSWERS = 1400 * 1024
HALF_WRITTEN = """
    select count(*) from contenders join runs on runs.id = contenders.run_id where contenders.status = 'finished'
    and (contenders.eps_score is null or runs.n_documents <> (select count(*) from answers where contender_id = contenders.id))
"""  # noqa: E501
ANSWERS = "select model, document_id, output, score from contenders join answers on contender_id = id order by 1, 2"
UNLOCKED_SECONDS = 8
"""Readers that take longer are waiting for the store."""

READERS = (
    ("results", "list", "--json"),
    ("results", "show", "2", "--json"),
    ("results", "export", "2"),
    ("query", "leaderboard", "-p", "run", "2"),
    ("recommend", "2", "--json"),
    ("report", "2", "-o", "{folder}/report.html"),
)


# --- processes and stores ---


def started(folder: Path, database: Path, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    homes = {name: str(folder / "home") for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    command = [*prefix, sys.executable, "-m", "gguf_bench", "--db", str(database), *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=os.environ | homes, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: str
    stderr: str


def ended(process: subprocess.Popen[str]) -> Ended:
    stdout, stderr = process.communicate(timeout=600)
    return Ended(process.returncode, stdout, stderr)


def run(folder: Path, database: Path, *arguments: str, prefix: Sequence[str] = ()) -> Ended:
    return ended(started(folder, database, *arguments, prefix=prefix))


def comparison(folder: Path, name: str, n_documents: int = MANY_DOCUMENTS) -> list[str]:
    """The arguments of a comparison of both baselines over so many short documents."""
    dataset = folder / f"{n_documents}.jsonl"
    if not dataset.exists():
        with dataset.open("w") as file:
            for number in range(n_documents):
                text = f"Quellmark {number} Inc. Basic earnings per share were ${number}.40, diluted ${number}.30.\n"
                gold = {"basic": f"{number}.40", "diluted": f"{number}.30", "adjusted": None}
                document = {"id": f"d{number}", "company": f"Quellmark {number}", "period": "Q2 2024", "text": text}
                file.write(json.dumps({**document, "gold": gold, "traps": {}, "tags": [], "source": None}) + "\n")
    return ["compare", "baseline_rules", "baseline_null", "--dataset", str(dataset), "--name", name]


def asked(database: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        return connection.execute(sql).fetchall()


def n_answers(database: Path) -> int:
    """0 where the store has not got so far yet."""
    if not database.exists() or not asked(database, "select 1 from sqlite_master where name = 'answers'"):
        return 0
    return int(str(asked(database, "select count(*) from answers")[0][0]))


def is_sound(database: Path) -> bool:
    """What SQLite checks, and that whoever finished has all answers and a score."""
    if not database.exists() or not asked(database, "select 1 from sqlite_master where name = 'answers'"):
        return True
    checks = (asked(database, "pragma integrity_check"), asked(database, "pragma foreign_key_check"))
    return checks == ([("ok",)], []) and asked(database, HALF_WRITTEN) == [(0,)]


def an_old_store(path: Path, n_excerpts: int = 0) -> Path:
    """As the version before texts left it, with a run in it."""
    database = sqlite3.connect(path)
    database.execute("pragma journal_mode = wal")
    migrations.apply(database, stop_before="m006_texts")
    names = [row[1] for row in database.execute("pragma table_info(runs)") if row[1] != "id"]
    numbers = {"n_documents": n_excerpts, "fresh": 0, "excerpt_chars": None}
    texts = {
        "status": "finished",
        "created": "2026-01-01T00:00:00",
        "settings": "{}",
        "machine": "{}",
        "versions": "{}",
    }
    row = dict.fromkeys(names, "0") | numbers | texts
    with database:
        database.execute(f"insert into runs ({', '.join(names)}) values (:{', :'.join(names)})", row)
        rows = ((1, f"d{number}", 9, 5, 2, 1, "basic") for number in range(n_excerpts))
        database.executemany("insert into excerpts values (?, ?, ?, ?, ?, ?, ?)", rows)
    database.close()
    return path


def is_up_to_date(database: Path) -> bool:
    return bool(asked(database, "select 1 from sqlite_master where name = 'texts'"))


def one_line(found: Ended, *says: str) -> bool:
    """A known failure: exit code 1, nothing but one line on standard error, which says so."""
    return (found.code, found.stdout, found.stderr.count("\n")) == (1, "", 1) and all(x in found.stderr for x in says)


def said(found: Ended) -> str:
    return plain(found.stderr.strip())


# --- several processes ---


def at_once(folder: Path, _n: int) -> Outcome:
    database = folder / "r.db"
    processes = [started(folder, database, *comparison(folder, name)) for name in ("a", "b", "c")]
    codes = [ended(process).code for process in processes]
    n = n_answers(database)
    good = codes == [0, 0, 0] and n == 6 * MANY_DOCUMENTS and is_sound(database)
    return Outcome(f"exit {codes}, {n:,} answers of {6 * MANY_DOCUMENTS:,}", good)


def alike_at_once(folder: Path, _n: int) -> Outcome:
    database = folder / "r.db"
    first = started(folder, database, *comparison(folder, "a"))
    while not n_answers(database) and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # so that it is not through before the second has begun
    second = run(folder, database, *comparison(folder, "a"))
    first.send_signal(signal.SIGCONT)
    code, n = ended(first).code, n_answers(database)
    good = one_line(second, "is being computed by another process", "--name") and code == 0
    good = good and n == 2 * MANY_DOCUMENTS and is_sound(database)
    return Outcome(f"exit {code} and {second.code}; {n:,} answers", good, message=said(second))


def let_go_on(writer: subprocess.Popen[str], reading: list[subprocess.Popen[str]]) -> None:
    """Where readers wait: SQLite keeps all others out while the first connection opens a store and the last closes it,
    which takes no time unless the process is stopped just then."""
    try:
        for process in reading:
            process.wait(UNLOCKED_SECONDS)
    except subprocess.TimeoutExpired:
        writer.send_signal(signal.SIGCONT)


def readers(folder: Path, n: int) -> Outcome:
    """The writer is stopped wherever it is, in the middle of a transaction as well, while the readers read."""
    database = folder / "r.db"
    run(folder, database, *comparison(folder, "a", 5))
    writer = started(folder, database, *comparison(folder, "b"))
    while n_answers(database) <= 10 and writer.poll() is None:
        time.sleep(0.01)
    n_rounds, good = 0, True
    for seconds in moments(n, 0.2):
        if writer.poll() is not None:
            break
        writer.send_signal(signal.SIGSTOP)
        reads = (("results", "list", "--json"), ("query", "--csv", HALF_WRITTEN), ("results", "show", "2", "--json"))
        reading = [started(folder, database, *arguments) for arguments in reads]
        let_go_on(writer, reading)
        found = [ended(process) for process in reading]
        if any(each.code for each in found):
            writer.kill()
            said = "; ".join(f"exit {each.code}: {plain(each.stderr)}" for each in found if each.code)
            return Outcome(f"round {n_rounds}: {said}", False)
        good = good and found[1].stdout.split() == ["count(*)", "0"]
        statuses = [one["status"] for one in json.loads(found[0].stdout)]
        good = good and statuses[-1] == "finished" and "interrupted" not in statuses
        rows = json.loads(found[2].stdout)["leaderboard"]
        good = good and all((row["eps_score"] is not None) == (row["status"] == "finished") for row in rows)
        n_rounds += any(row["status"] in ("pending", "running") for row in rows)
        writer.send_signal(signal.SIGCONT)
        time.sleep(seconds)
    good = good and ended(writer).code == 0 and is_sound(database) and n_rounds > 0
    return Outcome("`results list`, `results show` and `query` while answers came", good, n_rounds)


# --- kill -9 ---


def moments(n: int, seconds: float) -> Iterator[float]:
    rng = random.Random(SEED)
    return (rng.uniform(0.05, seconds) for _ in range(n))


def killed_after(process: subprocess.Popen[str], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def killed_writing(folder: Path, n: int) -> Outcome:
    whole, database = folder / "whole.db", folder / "r.db"
    arguments = comparison(folder, "a")
    process, began = started(folder, whole, *arguments), time.monotonic()
    while not n_answers(whole):
        time.sleep(0.01)
    until_writing = time.monotonic() - began
    ended(process)
    writing = time.monotonic() - began - until_writing
    n_killed = n_midway = before = 0
    good = True
    for seconds in moments(n, max(writing, 0.5)):
        process = started(folder, database, *arguments)
        while n_answers(database) <= before and process.poll() is None:
            time.sleep(0.01)
        n_killed += killed_after(process, seconds / 4)
        after = n_answers(database)
        n_midway += before < after < 2 * MANY_DOCUMENTS
        good = good and is_sound(database) and after >= before
        before = after
        if after == 2 * MANY_DOCUMENTS:  # nothing is left to kill: from the beginning
            good, before = good and asked(database, ANSWERS) == asked(whole, ANSWERS), 0
            for file in folder.glob("r.db*"):
                file.unlink()
    good = good and run(folder, database, *arguments).code == 0 and is_sound(database)
    same = asked(database, ANSWERS) == asked(whole, ANSWERS)
    came = f"{n_killed} of {n} killed, {n_midway} midway; after the last rerun {n_answers(database):,} answers"
    return Outcome(f"{came}, {'equal to' if same else 'DIFFERENT from'} an uninterrupted run's", good and same, n)


def killed_migrating(folder: Path, n: int) -> Outcome:
    old = an_old_store(folder / "old.db", 50_000)
    rows, content = asked(old, "select count(*) from excerpts"), old.read_bytes()
    n_killed = n_old = n_copies = 0
    good = True
    for number, seconds in enumerate(moments(n, 0.3)):
        database = folder / str(number) / "r.db"
        database.parent.mkdir()
        database.write_bytes(content)
        process = started(folder, database, "results", "list")
        while not list(database.parent.glob("*before-m006*")) and process.poll() is None:
            time.sleep(0.001)  # until the copy is begun
        n_killed += killed_after(process, seconds)
        n_old += not is_up_to_date(database)
        good = good and asked(database, "select count(*) from excerpts") == rows and is_sound(database)
        good = good and run(folder, database, "results", "list").code == 0 and is_up_to_date(database)
        copies = list(database.parent.glob("*.before-m006*"))
        n_copies += len(copies)
        good = good and len(copies) == 1 and all(asked(copy, "pragma integrity_check") == [("ok",)] for copy in copies)
        good = good and all(asked(copy, "select count(*) from excerpts") == rows for copy in copies)
        good = good and not list(database.parent.glob(".*partial"))
    came = f"{n_killed} of {n} killed, {n_old} before the change was made; then opened: {n_copies} copies, all whole"
    return Outcome(came, good, n)


# --- a full disk ---


def disk_full_writing(folder: Path, _n: int) -> Outcome:
    with small_disk(8 * 2**20) as disk:
        database = disk / "r.db"
        run(folder, database, *comparison(folder, "a", 5))
        filler = fill(disk, ROOM_FOR_SOME_ANSWERS)
        found = run(folder, database, *comparison(folder, "b"))
        n = n_answers(database)
        good = one_line(found, "free some space") and is_sound(database) and 10 <= n < 10 + 2 * MANY_DOCUMENTS
        listed = run(folder, database, "results", "list", "--json")
        good = good and listed.code == 0 and "running" not in {one["status"] for one in json.loads(listed.stdout)}
        filler.unlink()
        again = run(folder, database, *comparison(folder, "b"))
        total = n_answers(database)
        good = good and again.code == 0 and total == 10 + 2 * MANY_DOCUMENTS and is_sound(database)
        came = f"exit {found.code}, {n - 10:,} answers kept; with room again: {total - 10:,}"
        return Outcome(came, good, message=said(found))


def disk_full_migrating(folder: Path, _n: int) -> Outcome:
    with small_disk(4 * 2**20) as disk:
        database = an_old_store(disk / "r.db", 20_000)
        filler = fill(disk, 300 * 1024)
        before = sorted(disk.iterdir())
        found = run(folder, database, "results", "list")
        left = [path.name for path in disk.iterdir() if path not in before and path.stat().st_size > 2**16]
        good = one_line(found, "make room", "nothing was changed") and not left and not is_up_to_date(database)
        filler.unlink()
        again = run(folder, database, "results", "list")
        good = good and again.code == 0 and is_up_to_date(database) and is_sound(database)
        return Outcome(f"exit {found.code}; with room again: exit {again.code}", good, message=said(found))


def disk_full_reading(folder: Path, _n: int) -> Outcome:
    with small_disk(4 * 2**20) as disk:
        database = filled(disk / "r.db")
        fill(disk)
        return Outcome(*_reads_as_before(folder, database))


# --- what cannot be written ---


def _reads_as_before(folder: Path, database: Path, prefix: Sequence[str] = ()) -> tuple[str, bool]:
    """Whether every command that reads says of `database` what it says of a store like it that can be written."""
    (folder / "usual").mkdir()
    usual, out = filled(folder / "usual" / "r.db"), folder / "out"
    out.mkdir()
    out.chmod(0o777)
    differing, names = [], []
    for arguments in READERS:
        given = [argument.format(folder=out) for argument in arguments]
        before, after = run(folder, usual, *given), run(folder, database, *given, prefix=prefix)
        (out / "report.html").unlink(missing_ok=True)
        if before.code == 2:
            continue  # there is no such command in this version
        name = f"`{' '.join(arguments[: 2 if arguments[0] == 'results' else 1])}`"
        names.append(name)
        if (before.code, len(before.stdout), len(before.stderr)) != (after.code, len(after.stdout), len(after.stderr)):
            differing.append(f"{name} exit {after.code} {said(after)}")
    return f"{', '.join(differing or names)} {'differ' if differing else 'as ever'}", not differing


def _readable_only(folder: Path, database: Path, prefix: Sequence[str] = ()) -> Outcome:
    """Everything reads it as ever, and whoever would write it is told."""
    read, good = _reads_as_before(folder, database, prefix)
    found = run(folder, database, *comparison(folder, "b", 5), prefix=prefix)
    good = good and one_line(found, "cannot be written", "--db")
    return Outcome(f"{read}; `compare`: exit {found.code}", good, message=said(found))


@contextmanager
def _read_only(folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A folder to put a store in, and what to put before a command that then cannot write it."""
    prefix = command_of_nobody()
    place = folder / "place"
    place.mkdir()
    yield place, prefix


def read_only_folder(folder: Path, _n: int) -> Outcome:
    with _read_only(folder) as (place, prefix):
        database = filled(place / "r.db")
        make_read_only(place)
        return _readable_only(folder, database, prefix)


def read_only_disk(folder: Path, _n: int) -> Outcome:
    place = folder / "place"
    place.mkdir()
    database = filled(place / "r.db")
    with read_only_mount(place):
        return _readable_only(folder, database)


def read_only_old(folder: Path, _n: int) -> Outcome:
    with _read_only(folder) as (place, prefix):
        database = an_old_store(place / "r.db")
        make_read_only(place)
        found = run(folder, database, "results", "list", prefix=prefix)
        good = one_line(found, "earlier version", "copy this one")
        return Outcome(f"exit {found.code}", good, message=said(found))


def read_only_log(folder: Path, _n: int) -> Outcome:
    """What a killed writer left in its write-ahead log, with and without the file that SQLite finds it by."""
    with _read_only(folder) as (place, prefix):
        database = filled(folder / "r.db")
        with closing(sqlite3.connect(database)) as writer:
            writer.execute("update runs set name = 'stored last' where id = 2")
            writer.commit()
            for suffix in ("", "-wal", "-shm"):
                (place / f"r.db{suffix}").write_bytes(Path(f"{database}{suffix}").read_bytes())
        make_read_only(place)
        seen = run(folder, place / "r.db", "results", "list", "--json", prefix=prefix)
        good = seen.code == 0 and "stored last" in seen.stdout
        (place / "r.db-shm").unlink() if os.geteuid() == 0 else None
        missed = run(folder, place / "r.db", "results", "list", prefix=prefix)
        good = good and (os.geteuid() != 0 or one_line(missed, "r.db-wal", "copy both"))
        return Outcome(f"with -shm: seen; without: exit {missed.code}", good, message=said(missed))


# --- other versions ---


def newer(folder: Path, _n: int) -> Outcome:
    database = filled(folder / "r.db")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at) values ('gguf_bench', 'm999_x', '')"
        )
    before = asked(database, "select * from runs")
    found = [run(folder, database, *arguments) for arguments in (("results", "list"), comparison(folder, "b", 5))]
    good = all(one_line(each, "newer gguf-bench", "upgrade") for each in found)
    good = good and asked(database, "select * from runs") == before
    return Outcome(f"exit {found[0].code}, twice", good, n=len(found), message=said(found[0]))


def older_at_once(folder: Path, _n: int) -> Outcome:
    database = an_old_store(folder / "r.db", 50_000)
    found = [ended(process) for process in [started(folder, database, "results", "list") for _ in range(4)]]
    copies = list(folder.glob("*.before-m006*"))
    told = [each for each in found if "is up to date now" in each.stderr]
    good = [each.code for each in found] == [0] * 4 and len(copies) == len(told) == 1 and is_sound(database)
    came = f"exit {[each.code for each in found]}, {len(copies)} copy, told once"
    return Outcome(came, good, n=len(found), message=said(told[0]) if told else "")


ONCE = "nothing is computed twice"
READABLE = "can be read, writing is one line"
ROWS = (
    Fault("three comparisons at once", "a new store", "all finish, every answer is there", at_once),
    Fault("the same comparison twice at once", "a new store", f"the second is refused, {ONCE}", alike_at_once),
    Fault("readers", "while answers are written", "all succeed, nothing half-written is seen", readers, share=0.4),
    Fault(
        "kill -9 of the parent",
        "while it writes the store",
        "what was stored stays, a rerun ends as if nothing had been",
        killed_writing,
        share=1 / 8,
    ),
    Fault(
        "kill -9 of the parent",
        "while it brings an older store up to date",
        "old or new, nothing lost, a whole copy",
        killed_migrating,
        share=0.2,
    ),
    Fault("four processes at once", "open an older store", "one copy, all succeed", older_at_once),
    Fault(
        "full disk",
        "compare, writing the store",
        "one line, what is stored stays, goes on with room",
        disk_full_writing,
    ),
    Fault("full disk", "opening an older store", "not begun, one line, nothing left behind", disk_full_migrating),
    Fault("full disk", "reading the store", "as ever", disk_full_reading),
    Fault("read-only folder", "the store", READABLE, read_only_folder),
    Fault("read-only mount", "the store", READABLE, read_only_disk),
    Fault("read-only folder", "an older store", "one line", read_only_old),
    Fault("read-only folder", "a killed writer's log", "what was stored last is seen, or missed loudly", read_only_log),
    Fault("a newer store", "compare", "one line, left alone", newer),
)
