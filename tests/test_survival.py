"""Nothing that a child process does takes the comparison down: it may die, hang, babble or lie."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gguf_bench import child, llama_build
from gguf_bench.child import Child, patience
from gguf_bench.errors import ChildDied, ChildHung, ModelError, QuantizeError
from tests.faults import survival
from tests.processes import ends_within, is_alive, with_default_signals

READ_JOB = "import os, sys, time, json; job = json.loads(sys.stdin.readline())\n"


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make every child run this Python instead; it has read its job."""

    def use(script: str) -> None:
        monkeypatch.setattr(child, "WORKER", (sys.executable, "-c", READ_JOB + script))

    return use


# --- what comes of a comparison ---


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all faults: what was measured for the first need not be for the others."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.model
@pytest.mark.parametrize("fault", survival.FAILURES, ids=lambda fault: fault.name)
def test_a_contender_that_fails_is_recorded_and_the_next_one_runs(
    fault: survival.Failure, smollm2: Path, tmp_path: Path, cache: Path
) -> None:
    outcome = survival.suffer(fault, tmp_path / "run", smollm2, cache)
    assert (outcome.status, outcome.good, outcome.exit_code) == ("failed", "finished", 3), outcome.trial.stderr
    for part in fault.says:
        assert part in outcome.error
    assert "\n" not in outcome.error
    assert not list((tmp_path / "run").rglob("core*"))


@pytest.mark.model
def test_hostile_files_are_failed_contenders_and_cost_the_parent_nothing(smollm2: Path, tmp_path: Path) -> None:
    trial, names = survival.hostile_trial(tmp_path / "run", smollm2)
    trial.finish()
    *bad, good = trial.contenders()
    assert trial.process.returncode == 3, trial.stderr
    assert good["status"] == "finished"
    assert {name for name, row in zip(names, bad, strict=True) if row["status"] == "finished"} <= survival.HARMLESS
    for name, row in zip(names, bad, strict=True):
        assert row["status"] in ("failed", "finished"), name
        assert row["error"] is None or row["error"].isprintable(), name
    (peak_kb,) = [int(line.split()[1]) for line in trial.stderr.splitlines() if line.startswith("peak ")]
    assert peak_kb < 400_000


@pytest.mark.model
@pytest.mark.parametrize("case", survival.INTERRUPTS, ids=lambda case: case.name)
def test_ctrl_c_stops_parent_and_child_within_two_seconds(
    case: survival.Interrupt, smollm2: Path, tmp_path: Path
) -> None:
    found = survival.interrupt(case, tmp_path / "run", smollm2)
    assert (found.exit_code, found.partial_files) == (130, 0)
    assert found.seconds < 2
    assert "Traceback" not in found.stderr
    assert "run the same command again" in found.stderr
    if case.name == "loading":
        assert found.trial.start().finish().process.returncode == 0
        assert [row["status"] for row in found.trial.contenders()] == ["finished"]


@pytest.mark.model
@pytest.mark.parametrize("name", survival.ORPHANS)
def test_a_killed_parent_leaves_no_child(name: str, smollm2: Path, tmp_path: Path) -> None:
    assert survival.orphan(*survival.ORPHANS[name], tmp_path / "run", smollm2) < 2


@pytest.mark.model
def test_a_build_with_broken_amx_runs_without_it_and_says_so_once(smollm2: Path, tmp_path: Path) -> None:
    first = survival.Trial(tmp_path, ["compare", smollm2, *survival.DOCUMENTS], survival.MISCOMPILED).start().finish()
    assert first.process.returncode == 0, first.stderr
    assert "-fno-tree-dse" in first.stderr
    (row,) = first.contenders()
    assert row["status"] == "finished"
    assert json.loads(row["settings"])["extra_buffers"] is False


# --- the trial of the build ---


def test_the_amx_fault_is_found_by_a_crash_and_remembered(
    worker: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_build, "cpu_has_amx", lambda: True)
    worker("os.kill(os.getpid(), 11 if job['extra_buffers'] else 0); print(json.dumps({'event': 'decoded'}))")
    assert not llama_build.extra_buffers_work()
    worker("raise SystemExit('it was tried already')")
    assert not llama_build.extra_buffers_work()
    note = llama_build.crash_note()
    assert note is not None
    assert "-fno-tree-dse" in note
    assert llama_build.crash_note() is None
    assert not llama_build.extra_buffers_work()


@pytest.mark.parametrize("how", ["os.kill(os.getpid(), 9)", "sys.exit(1)", "os.kill(os.getpid(), 11)"])
def test_what_fails_otherwise_is_no_amx_fault(
    how: str, worker: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed for want of memory, failed, or crashed without the extra buffers too; and it is tried again next time."""
    monkeypatch.setattr(llama_build, "cpu_has_amx", lambda: True)
    always = "11" in how
    worker(f"if job['extra_buffers'] or {always}: {how}\nprint(json.dumps({{'event': 'decoded'}}))")
    assert llama_build.extra_buffers_work()
    worker("os.kill(os.getpid(), 11 if job['extra_buffers'] else 0); print(json.dumps({'event': 'decoded'}))")
    assert not llama_build.extra_buffers_work()


def test_a_note_of_the_build_that_cannot_be_read_is_made_anew(
    worker: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_build, "cpu_has_amx", lambda: True)
    worker("print(json.dumps({'event': 'decoded'}))")
    assert llama_build.extra_buffers_work()
    for damage in ("", "[]", '{"extra_buffers'):
        llama_build._notebook().write_text(damage)
        assert llama_build.extra_buffers_work()


# --- events ---


def test_events_come_in_pieces_and_together(worker: Callable[[str], None]) -> None:
    big = 3 * 2**20
    worker(
        f"""
line = json.dumps({{"event": "big", "text": "x" * {big}}}) + "\\n" + '{{"event": "two"}}\\n{{"event": "three"}}\\n{{"ev'
for at in range(0, len(line), 500_000):
    os.write(1, line[at:at + 500_000].encode()); time.sleep(0.02)
os.write(1, b'ent": "four"}}\\n')
""".replace("}}\\n')", "}\\n')")
    )
    with Child({"job": "any"}, what="x") as process:
        first, *others = process.events()
    assert len(first["text"]) == big
    assert [event["event"] for event in others] == ["two", "three", "four"]


def test_waiting_costs_nothing(worker: Callable[[str], None]) -> None:
    worker("time.sleep(1); print(json.dumps({'event': 'x'}))")
    with Child({"job": "any"}, what="x") as process:
        before = time.process_time()
        assert process.receive() == {"event": "x"}
        assert time.process_time() - before < 0.1
        assert 0.9 < process.longest_silence_seconds < 30


@pytest.mark.parametrize(
    "sent",
    [
        *("no JSON", "[1]", "{}", '{"event": "error"}', "[" * 100_000),
        '{"event": "error", "kind": "ChildDied", "message": "", "hint": ""}',
        '{"event": "error", "kind": "signal", "message": "", "hint": ""}',
    ],
    ids=range(7),
)
def test_what_is_no_event_is_an_error_of_the_model(sent: str, worker: Callable[[str], None]) -> None:
    worker(f"print({sent!r})")
    with pytest.raises(ModelError, match="no event"):
        child.ask({"job": "any"}, what="x")


def test_an_event_without_end_is_not_kept(worker: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "MAX_EVENT_BYTES", 2**20)
    worker("while True: os.write(1, b'x' * 65536)")
    with pytest.raises(ModelError, match="more than 1 MiB"):
        child.ask({"job": "any"}, what="x")


def test_a_reported_error_is_one_printable_line(worker: Callable[[str], None]) -> None:
    worker("""
report = {"event": "error", "kind": "QuantizeError", "message": "\x1b[2Ja\\nb" + "x" * 10**6, "hint": ""}
print(json.dumps(report))
""")
    with pytest.raises(QuantizeError, match=r"\[2Ja bx+…$") as caught:
        child.ask({"job": "any"}, what="x")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


# --- hangs ---


def test_a_silent_child_is_ended(worker: Callable[[str], None]) -> None:
    worker("print('error: the disk is gone', file=sys.stderr); print('{\"event\": \"x\"}', flush=True); time.sleep(60)")
    with Child({"job": "any"}, what="the model") as process:
        assert process.receive() == {"event": "x"}
        process.patience_seconds = 0.5
        started = time.monotonic()
        with pytest.raises(
            ChildHung, match=r"the model hung: nothing was heard from it for \d s; .*error: the disk is gone"
        ):
            process.receive()
        assert 0.4 < time.monotonic() - started < 2
        assert not is_alive(process.pid)


def test_only_events_count_as_life(worker: Callable[[str], None]) -> None:
    """A child that writes to its log without end is as hung as a silent one."""
    worker("while True: os.write(2, b'still waiting\\n')")
    with Child({"job": "any"}, what="x", patience_seconds=1) as process, pytest.raises(ChildHung):
        process.receive()


def test_events_in_time_keep_a_child_alive(worker: Callable[[str], None]) -> None:
    worker('for _ in range(10): time.sleep(0.2); print(\'{"event": "beat"}\', flush=True)')
    with Child({"job": "any"}, what="x", patience_seconds=1.5) as process:
        assert len(list(process.events())) == 10


def test_a_parent_that_was_busy_or_stopped_itself_blames_no_child(worker: Callable[[str], None]) -> None:
    worker('print(\'{"event": "beat"}\', flush=True); time.sleep(0.8); print(\'{"event": "beat"}\', flush=True)')
    with Child({"job": "any"}, what="x", patience_seconds=1) as process:
        time.sleep(1.5)
        assert len(list(process.events())) == 2


def test_a_child_that_does_not_read_its_job_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "WORKER", (sys.executable, "-c", "import time; time.sleep(60)"))
    started = time.monotonic()
    with pytest.raises(ChildHung):
        Child({"job": "any", "prompts": "x" * 10**6}, what="x", patience_seconds=0.5)
    assert time.monotonic() - started < 5


def test_patience_grows_with_what_there_is_to_do() -> None:
    small, large = 100e6, 40e9
    assert patience("load", int(small)) == patience("answer", int(small)) == 300
    assert 3600 <= patience("load", int(large)) <= 7200
    assert 3600 <= patience("answer", int(large)) <= 7200
    assert patience("answer", int(large), batch_tokens=2048) == 4 * patience("answer", int(large))
    assert patience("answer", int(small), longest_silence_seconds=100) == 1000


# --- the log ---


def test_a_flood_of_log_neither_stays_nor_stops_the_events(worker: Callable[[str], None], tmp_path: Path) -> None:
    worker("""
for n in range(64):
    os.write(2, b"x" * 2**20)
    print(json.dumps({"event": "x"}), flush=True)
os.write(2, b"\\nGGML_ASSERT(false) failed\\n")
os.abort()
""")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Child({"job": "any"}, what="x") as process:
        for _ in range(64):
            assert process.receive() == {"event": "x"}
        with pytest.raises(ChildDied, match=r"\(SIGABRT\).*GGML_ASSERT\(false\) failed"):
            process.receive()
        assert len(process._log) <= child.LOG_TAIL_BYTES
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_the_reasons_of_a_death_are_in_its_error(worker: Callable[[str], None]) -> None:
    worker("""
os.write(2, b"load: error: no such tensor\\nnoise\\n\\x1b[31mwhat():  std::bad_alloc\\nnoise\\n")
os.kill(os.getpid(), 6)
""")
    with pytest.raises(ChildDied) as caught:
        child.ask({"job": "any"}, what="x")
    assert (
        str(caught.value)
        == "x died (SIGABRT); last in its log: load: error: no such tensor / [31mwhat(): std::bad_alloc"
    )


# --- no orphans ---

PARENT = """
import os, signal, sys, threading, time
from gguf_bench import child
child.WORKER = (sys.executable, "-c", sys.argv[1])
process = child.Child({"job": "any"}, what="x")
process.receive()
print(process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    "busy",
    ["9 ** 9 ** 9", "os.kill(os.getpid(), 19)", "signal.pthread_sigmask(0, range(1, 65)); time.sleep(60)"],
    ids=["holds the interpreter", "stopped", "blocks signals"],
)
def test_the_child_goes_with_its_parent_whatever_it_does(busy: str) -> None:
    script = READ_JOB + f'import signal\nprint(\'{{"event": "x"}}\', flush=True)\n{busy}\n'
    parent = subprocess.Popen([sys.executable, "-c", PARENT, script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.2)
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert ends_within(pid, 2)


def test_the_end_of_the_thread_that_started_it_leaves_a_child_alone(worker: Callable[[str], None]) -> None:
    worker('print(\'{"event": "x"}\', flush=True); time.sleep(0.5); print(\'{"event": "y"}\', flush=True)')
    started: list[Child] = []
    thread = threading.Thread(target=lambda: started.append(Child({"job": "any"}, what="x")))
    thread.start()
    thread.join()
    with started[0] as process:
        assert len(list(process.events())) == 2


def test_closing_ends_a_wait_in_another_thread(worker: Callable[[str], None]) -> None:
    worker("time.sleep(60)")
    process = Child({"job": "any"}, what="x")
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            process.receive()
        except ModelError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.2)
    process.close()
    thread.join(5)
    assert not thread.is_alive()
    assert isinstance(caught[0], ChildDied)


def test_no_descriptor_stays_open(worker: Callable[[str], None]) -> None:
    worker('print(\'{"event": "x"}\')')
    child.ask({"job": "any"}, what="x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        child.ask({"job": "any"}, what="x")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


# --- an interrupt that is lost ---


@pytest.fixture
def deaf() -> Iterator[subprocess.Popen[str]]:
    """The command line, busy with something that swallows every exception."""
    script = """
import time
from gguf_bench import cli
from gguf_bench.cli import commands
def run():
    print("busy", flush=True)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
commands.run = run
cli.main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=with_default_signals,
    )
    yield process
    process.kill()
    process.communicate()


def test_an_interrupt_that_is_lost_ends_the_command_all_the_same(deaf: subprocess.Popen[str]) -> None:
    assert deaf.stdout is not None
    assert deaf.stderr is not None
    assert deaf.stdout.readline() == "busy\n"
    started = time.monotonic()
    deaf.send_signal(signal.SIGINT)
    assert deaf.wait(10) == 130
    assert time.monotonic() - started < 2
    assert "run the same command again" in deaf.stderr.read()
