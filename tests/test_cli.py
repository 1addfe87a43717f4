"""The command line: what goes to standard output, what goes wrong in one line, and what it does not import."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gguf_bench import terminal
from gguf_bench.baselines import BASELINES
from gguf_bench.cli import FAREWELL, INTERRUPTED
from gguf_bench.cli.commands import NAMES, cli
from gguf_bench.cli.state import State
from gguf_bench.records import Comparison
from gguf_bench.store import Store
from tests.conftest import asked_for
from tests.processes import signals_caught, with_default_signals

Command = Callable[..., "subprocess.CompletedProcess[str]"]

HEAVY = ("llama_cpp", "huggingface_hub", "numpy", "scipy", "tokenizers", "sqlite_utils", "gguf", "converters", "rich")


def all_commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from all_commands(inner, (*path, name))


@pytest.mark.parametrize("path", [path for path, _ in all_commands(cli)], ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    command = dict(all_commands(cli))[path]
    assert command.help
    undocumented = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert not undocumented


def imported_by(*arguments: str, of: Sequence[str] = HEAVY) -> set[str]:
    """The modules in memory after the command, of those that take long to load or of others."""
    script = (
        "import sys\n"
        "from gguf_bench.cli.commands import cli\n"
        "try: cli(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {of!r} if name in sys.modules], file=sys.stderr)"
    )
    found = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return set(eval(found.stderr.splitlines()[-1]))  # noqa: S307 (our own list)


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["compare", "--help"], set()),
        (["results", "path"], set()),
        (["models", "list"], {"rich"}),
        (["dataset", "list"], {"rich"}),
        (["quantize", "--list"], {"rich"}),
        (["results", "list"], {"rich"}),
    ],
    ids=lambda value: " ".join(sorted(value)) or "nothing",
)
def test_a_command_imports_only_what_it_needs(arguments: list[str], needed: set[str]) -> None:
    assert imported_by(*arguments) <= needed


def test_a_store_is_read_with_what_python_has(tmp_path: Path) -> None:
    Store(tmp_path / "r.db").close()
    assert imported_by("--db", str(tmp_path / "r.db"), "results", "list") == {"rich"}


def test_a_command_imports_no_other() -> None:
    modules = tuple(f"gguf_bench.cli.{name}" for name in NAMES)
    assert imported_by("results", "path", of=modules) == {"gguf_bench.cli.results"}
    assert imported_by("--help", of=modules) == set(modules)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["nonsense"], 2, "No such command"),
        (["compare"], 2, "name a MODEL"),
        (["compare", "no_such_model"], 1, "no model 'no_such_model'"),
        (["compare", "baselin_null"], 1, "did you mean 'baseline_null'"),
        (["pull", "baseline_null"], 1, "there is no file of it; compare it instead"),
        (["compare", "./missing.gguf"], 1, "does not exist"),
        (["compare", "smollm2_135m", "-q", "Q9_Z"], 2, "Q9_Z"),
        (["quantize", "smollm2_135m", "-q", "Q4_K_N"], 2, "did you mean Q4_K"),
        (["compare", "smollm2_135m", "-t", "poetry"], 2, "poetry"),
        (["compare", "smollm2_135m", "--limit", "0"], 2, "0"),
        (["compare", "smollm2_135m", "--excerpt", "few"], 2, "few"),
        (["compare", "smollm2_135m", "--excerpt", "199"], 2, "199"),
        (["compare", "smollm2_135m", "--excerpt", "1000000001"], 2, "1000000001"),
        (["compare", "smollm2_135m", "--excerpt", "9" * 5000], 2, "none"),
        (["compare", "smollm2_135m", "--gpu-layers", "some"], 2, "some"),
        (["compare", "smollm2_135m", "--dataset", "none.jsonl"], 1, "none.jsonl"),
        (["compare", "--group", "no_such_group"], 1, "no group"),
        (["quantize", "smollm2_135m"], 2, "-q TYPE"),
        (["convert", "smollm2_135m"], 1, "is a GGUF already"),
        (["results", "show", "99"], 1, "no store"),
        (["results", "list"], 1, "no store"),
        (["results", "show", "0"], 2, "range"),
        (["results", "show", str(2**63)], 2, "range"),
        (["results", "show", "9" * 5000], 2, "integer"),
        (["query", "select 1"], 1, "no store"),
        (["dataset", "show", "eps-v1", "nobody"], 2, "nobody"),
        (["--models", "none.yaml", "models", "list"], 1, "none.yaml"),
        (["--models", "/", "models", "list"], 1, "not a file"),
        (["--models", "/dev/null/x", "models", "list"], 1, "not a file"),
        (["--db", "/dev/null/x", "results", "list"], 1, "no store"),
        (["--db", "/", "query", "select 1"], 1, "unable to open"),
        (["--db", "/" + "x" * 300, "query", "select 1"], 1, "too long"),
        (["dataset", "show", "/"], 1, "neither a file"),
        (["dataset", "show", "/dev/null/x"], 1, "neither a file"),
        (["dataset", "show", "/" + "x" * 300], 1, "too long"),
        (["compare", "/dev/null/x.gguf"], 1, "does not exist"),
        (["convert", "/" + "x" * 300], 1, "too long"),
        (["convert", "/dev/null/x"], 1, "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_are_one_line_on_standard_error(
    gguf_bench: Command, arguments: list[str], exit_code: int, says: str
) -> None:
    found = gguf_bench(*arguments)
    assert (found.returncode, found.stdout) == (exit_code, "")
    assert says in found.stderr
    assert "Traceback" not in found.stderr
    if exit_code == 1:
        assert len(found.stderr.splitlines()) == 1


def test_query_prints_every_form(tmp_path: Path, gguf_bench: Command) -> None:
    database = tmp_path / "r.db"
    Store(database).close()
    sql = "select 1 as a, 'x,\"y' as b, null as c union all select 2.5, 'é', null"

    def printed(*form: str) -> str:
        found = gguf_bench("--db", database, "query", sql, *form)
        assert found.returncode == 0, found.stderr
        return found.stdout

    assert json.loads(printed("--json")) == [{"a": 1, "b": 'x,"y', "c": None}, {"a": 2.5, "b": "é", "c": None}]
    assert [json.loads(line) for line in printed("--nl").splitlines()] == json.loads(printed("--json"))
    assert printed("--csv").splitlines() == ["a,b,c", '1,"x,""y",', "2.5,é,"]
    assert printed() == printed("--table")
    assert "2.5" in printed()


def test_tables_fit_eighty_columns_when_piped(gguf_bench: Command) -> None:
    for arguments in (["models", "list"], ["quantize", "--list"], ["dataset", "list"], ["dataset", "show", "eps-v1"]):
        lines = gguf_bench(*arguments).stdout.splitlines()
        assert lines
        assert max(map(len, lines)) <= 80, arguments
        assert not any("\x1b" in line for line in lines)


def test_the_store_is_where_the_options_say(tmp_path: Path, gguf_bench: Command) -> None:
    assert gguf_bench("results", "path").stdout.strip() == f"{os.environ['XDG_DATA_HOME']}/gguf-bench/results.db"
    assert gguf_bench("results", "path", env={"GGUF_BENCH_DB": "/x/y.db"}).stdout == "/x/y.db\n"
    assert gguf_bench("--db", "/z.db", "results", "path", env={"GGUF_BENCH_DB": "/x/y.db"}).stdout == "/z.db\n"


def test_markup_in_data_is_shown_as_it_is(tmp_path: Path, gguf_bench: Command) -> None:
    Store(tmp_path / "r.db").close()
    found = gguf_bench("--db", tmp_path / "r.db", "query", "select '[bold red]x[/]' as a")
    assert "[bold red]x[/]" in found.stdout


def test_a_run_as_json_has_objects_and_whole_numbers(tmp_path: Path, gguf_bench: Command) -> None:
    store = Store(tmp_path / "r.db")
    text = dict.fromkeys(
        ["key", "name", "description", "task", "task_version", "prompt_version", "scorer_version", "dataset"], "0"
    )
    facts = {**text, "dataset_sha256": "x", "n_documents": 1, "excerpt_version": "1", "fresh": False}
    objects = {"settings": {"n_batch": 512}, "machine": {"cpu": "x"}, "versions": {"python": "3.11"}}
    store.create_run(facts | {name: json.dumps(value) for name, value in objects.items()}, [])
    (listed,) = json.loads(gguf_bench("--db", tmp_path / "r.db", "results", "list", "--json").stdout)
    shown = json.loads(gguf_bench("--db", tmp_path / "r.db", "results", "show", "1", "--json").stdout)["run"]
    for name, value in objects.items():
        assert (listed[name], shown[name]) == (value, value)
    assert listed["n_failed"] == 0
    assert isinstance(listed["n_failed"], int)


def test_remarks_name_a_contender_as_verdicts_do(capsys: pytest.CaptureFixture[str]) -> None:
    run = {"id": 1, "name": "", "excerpt_chars": None, "n_documents": 9, "dataset": "d", "settings": {}}
    figures = dict.fromkeys(
        [
            *("size_bytes", "bits_per_weight", "eps_score", "exact_match", "documents_per_minute", "peak_rss_bytes"),
            *("usd_per_document", "schema_kept", "gpu_layers", "file_sha256", "error", "kl_divergence", "fidelity"),
        ]
    )
    row = {**figures, "model": "m", "quant": "Q4_1", "status": "finished", "n_documents": 9, "asked": 1, "tiers": {}}
    row["name"] = "m Q4_1 (run 7)"
    other = {"name": "m", "quant": None, "over_context": 0, "unparseable": 2}
    rows = [{**row, "over_context": 1, "unparseable": 0}, {**row, **other}]
    terminal.print_comparison(Comparison(runs=[run], leaderboard=rows, verdicts=[]), as_json=False)
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "m Q4_1 (run 7): 1 of 9 do not fit its context, scored 0",
        "m: 2 of 9 could not be parsed, scored 0",
    ]


def test_baselines_run_without_any_model(tmp_path: Path, releases: Path, gguf_bench: Command) -> None:
    arguments = ["--db", tmp_path / "r.db", "compare", "baseline_null", "--dataset", releases]
    found = gguf_bench(*arguments, "--json")
    assert found.returncode == 0, found.stderr
    shown = json.loads(found.stdout)
    assert {row["model"] for row in shown["leaderboard"]} == set(BASELINES)
    (row,) = asked_for(shown["leaderboard"])
    assert (row["model"], row["eps_score"], row["tiers"]) == ("baseline_null", pytest.approx(1 / 3), {})
    assert shown["excerpts"] == {"n_documents": 5, "gold_figures": 10, "gold_kept": 10, "lost": {}}
    assert shown["verdicts"] == []
    table = gguf_bench(*arguments)
    assert "excerpts of 6,000 characters keep 10 of 10 gold figures" in table.stdout
    assert "free" not in table.stdout
    assert gguf_bench("--db", tmp_path / "r.db", "results", "show", 1).stdout == table.stdout
    assert gguf_bench("--db", tmp_path / "r.db", "results", "show", 1, "--json").stdout == found.stdout
    assert not imported_by(*map(str, arguments)) & {"llama_cpp", "huggingface_hub"}


def test_free_answers_are_told_from_others(tmp_path: Path, releases: Path, gguf_bench: Command) -> None:
    arguments = ["--db", tmp_path / "r.db", "compare", "baseline_null", "--dataset", releases, "--limit", 2]
    assert gguf_bench(*arguments).returncode == 0
    listed = gguf_bench("--db", tmp_path / "r.db", "results", "list").stdout
    assert "Answers" not in listed
    free = gguf_bench(*arguments, "--no-grammar")
    assert free.stdout.startswith("run 2: 2 documents of releases, excerpts of 6,000 characters, free answers\n")
    assert json.loads(gguf_bench(*arguments, "--no-grammar", "--json").stdout)["run"]["settings"]["grammar"] is False
    listed = gguf_bench("--db", tmp_path / "r.db", "results", "list").stdout
    assert [line.split()[6] for line in listed.splitlines() if "finished" in line] == ["free", "grammar"]
    assert max(map(len, listed.splitlines())) <= 80


def test_each_tier_has_its_score(tmp_path: Path, gguf_bench: Command) -> None:
    arguments = ["--db", tmp_path / "r.db", "compare", "baseline_null", "--limit", 10]
    lines = gguf_bench(*arguments).stdout.splitlines()
    head = next(number for number, line in enumerate(lines) if "Score by tier" in line)
    assert lines[head].split() == ["Score", "by", "tier", "Quant", "plain", "(4)", "ordinary", "(3)", "hard", "(3)"]
    (row,) = asked_for(json.loads(gguf_bench(*arguments, "--json").stdout)["leaderboard"])
    assert {tier: found["n_documents"] for tier, found in row["tiers"].items()} == {
        "plain": 4,
        "ordinary": 3,
        "hard": 3,
    }
    scores = [f"{100 * found['eps_score']:.1f}" for found in row["tiers"].values()]
    assert ["baseline_null", *scores] in [line.split() for line in lines[head:]]
    mean = sum(found["n_documents"] * found["eps_score"] for found in row["tiers"].values()) / 10
    assert mean == pytest.approx(row["eps_score"])


def shown_on_a_terminal(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        terminal.print_comparison(comparison, as_json=False)
    return out.getvalue()


def long_comparison(*, lost: dict[str, list[str]]) -> Comparison:
    """A run whose names are as long as they get, and a baseline beside them."""
    figures = {
        "quant": "IQ3_XXS",
        "size_bytes": 2**42,
        "bits_per_weight": 18.25,
        "eps_score": 0.5,
        "eps_score_low": 0.4,
        "eps_score_high": 1.0,
        "exact_match": 1.0,
        "documents_per_minute": 1234.5,
        "peak_rss_bytes": 2**40,
        "status": "finished",
        "n_documents": 300,
        "over_context": 0,
        "unparseable": 0,
        "asked": 1,
        "tiers": {tier: {"n_documents": 100, "eps_score": 0.5} for tier in ("plain", "ordinary", "hard")},
    } | dict.fromkeys(
        ["usd_per_document", "schema_kept", "gpu_layers", "file_sha256", "error", "kl_divergence", "fidelity"]
    )
    of_a_file = ["quant", "size_bytes", "bits_per_weight", "documents_per_minute", "peak_rss_bytes"]
    baseline = figures | dict.fromkeys(of_a_file) | {"model": "null", "name": "null", "asked": 0}
    model = "HuggingFaceTB/SmolLM2-1.7B-Instruct"
    rows = [{**figures, "model": model, "name": f"{model} IQ3_XXS (run 6)"}, baseline]
    run = {"id": 7, "name": "", "excerpt_chars": 3000, "n_documents": 300, "dataset": "d", "settings": {}}
    excerpts = {"n_documents": 300, "gold_figures": 852, "gold_kept": 850, "lost": lost}
    return Comparison(runs=[run], leaderboard=rows, verdicts=[], excerpts=excerpts)


def test_a_full_run_fits_eighty_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    terminal.print_comparison(long_comparison(lost={"d1": ["basic"], "d2": ["adjusted"]}), as_json=False)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown
    assert "excerpts of 3,000 characters keep 850 of 852 gold figures; some are lost in d1, d2" in " ".join(
        shown.split()
    )
    assert "plain (100)" in shown
    many = long_comparison(lost={f"d{number}": ["basic"] for number in range(4)})
    terminal.print_comparison(many, as_json=False)
    told = "some are lost in 4 documents (`gguf-bench results show 7 --json` names them)"
    assert told in " ".join(capsys.readouterr().out.split())


def test_what_nobody_asked_for_is_set_back_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown_on_a_terminal(long_comparison(lost={}), monkeypatch).splitlines()
    dim = [line for line in lines if "\x1b[2m" in line and "null" in line]
    assert len(dim) == 2, "in the leaderboard and by tier"
    assert not any("\x1b[2m" in line for line in lines if "SmolLM2" in line)


def test_a_model_of_several_groups_is_of_the_group_asked_for(tmp_path: Path) -> None:
    models = tmp_path / "models.yaml"
    models.write_text("first:\n  a:\n    name: org/a\nsecond:\n  - a\n")
    state = State(db=None, models_file=models, verbose=False)
    assert [spec.group for spec in state.specs([], ["second"])] == ["second"]
    assert [spec.group for spec in state.specs(["a"])] == ["first"]


def test_reading_makes_no_store(tmp_path: Path, gguf_bench: Command) -> None:
    gguf_bench("--db", tmp_path / "new" / "r.db", "results", "list")
    assert not (tmp_path / "new").exists()


def test_no_run_of_that_number(tmp_path: Path, gguf_bench: Command) -> None:
    Store(tmp_path / "r.db").close()
    found = gguf_bench("--db", tmp_path / "r.db", "results", "show", 2**63 - 1)
    assert (found.returncode, len(found.stderr.splitlines())) == (1, 1)
    assert f"no run {2**63 - 1}" in found.stderr


def test_query_prints_numbers_and_names_that_json_lacks(tmp_path: Path, gguf_bench: Command) -> None:
    Store(tmp_path / "r.db").close()
    sql = "select 9e999 as a, -9e999 as a, 1.5 as b"
    for form in ("--json", "--nl"):
        found = gguf_bench("--db", tmp_path / "r.db", "query", sql, form).stdout
        rows = json.loads(found, parse_constant=pytest.fail)
        assert (rows[0] if form == "--json" else rows) == {"a": None, "a_2": None, "b": 1.5}
    assert gguf_bench("--db", tmp_path / "r.db", "query", sql, "--csv").stdout.splitlines()[0] == "a,a_2,b"


def test_many_columns_are_printed_one_below_the_other(tmp_path: Path, gguf_bench: Command) -> None:
    Store(tmp_path / "r.db").close()
    names = [f"column_number_{number}" for number in range(12)]
    row = "select " + ", ".join(f"'value {name}' as {name}" for name in names)
    lines = gguf_bench("--db", tmp_path / "r.db", "query", f"{row} union all {row}").stdout.splitlines()
    record = [f"{name:<16}  value {name}" for name in names]
    assert [line.rstrip() for line in lines] == [*record, "", *record]
    few = gguf_bench("--db", tmp_path / "r.db", "query", "select * from (" + row.replace(names[0], "a") + ")").stdout
    assert max(map(len, few.splitlines())) <= 80


def test_few_columns_are_a_table(tmp_path: Path, gguf_bench: Command) -> None:
    Store(tmp_path / "r.db").close()
    found = gguf_bench("--db", tmp_path / "r.db", "query", f"select 1 as a, '{'x' * 200}' as b, 2 as c").stdout
    assert "a" in (head := found.splitlines()[1])
    assert "c" in head


# Standard streams that are full, closed, or left by their reader

MEGABYTES = (
    "with recursive n(i) as (select 1 union all select i + 1 from n limit 40000) select i, 'xxxxxxxxxxxx' as b from n"
)
FORMS = ("--csv", "--json", "--nl", "--table")


def in_bash(folder: Path, rest: str, *arguments: str) -> tuple[int, str, str]:
    """The command as `bash` runs it with `rest` behind it: (its own exit status, standard output, standard error)."""
    Store(folder / "r.db").close()
    command = shlex.join([sys.executable, "-m", "gguf_bench", "--db", str(folder / "r.db"), *arguments])
    script = f"{command} {rest}; echo ${{PIPESTATUS[0]}} > status"
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=folder, timeout=120)
    return int((folder / "status").read_text()), found.stdout, found.stderr


@pytest.mark.parametrize("form", FORMS)
def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path, form: str) -> None:
    exit_code, output, errors = in_bash(tmp_path, "| head -n 1", "query", MEGABYTES, form)
    cut = "only the first 1000 rows are shown; --csv, --json and --nl give all\n" if form == "--table" else ""
    assert (exit_code, len(output.splitlines()), errors) == (0, 1, cut)


@pytest.mark.parametrize("form", FORMS)
def test_a_reader_that_left_before_the_first_byte_is_no_error(tmp_path: Path, form: str) -> None:
    assert in_bash(tmp_path, "> >(exec true)", "query", "select 1", form) == (0, "", "")
    assert in_bash(tmp_path, "| true", "query", MEGABYTES, form) == (0, "", "")


def test_a_reader_of_the_help_may_leave(tmp_path: Path) -> None:
    assert in_bash(tmp_path, "| true", "--help") == (0, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "arguments",
    [*(("query", "select 1", form) for form in FORMS), ("--help",), ("results", "path"), ("quantize", "--list")],
    ids=" ".join,
)
def test_output_that_cannot_be_written_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    exit_code, _, errors = in_bash(tmp_path, "> /dev/full", *arguments)
    assert (exit_code, errors) == (1, "Error: No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("form", FORMS)
def test_a_closed_standard_output_is_no_error(tmp_path: Path, form: str, closed: str) -> None:
    assert in_bash(tmp_path, closed, "query", "select 1", form) == (0, "", "")


def test_text_that_is_not_utf_8_is_one_line(tmp_path: Path) -> None:
    sql = os.fsdecode(b"select '\xff'")
    exit_code, output, errors = in_bash(tmp_path, "", "query", sql)
    assert (exit_code, output, len(errors.splitlines())) == (1, "", 1)
    assert "is not valid UTF-8" in errors


def test_verbose_shows_the_traceback(gguf_bench: Command) -> None:
    found = gguf_bench("-v", "query", "select 1")
    assert found.returncode == 1
    assert "Traceback" in found.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_one_line(tmp_path: Path, gguf_bench: Command) -> None:
    (hidden := tmp_path / "hidden").mkdir(mode=0)
    for arguments in (
        ["convert", f"{hidden}/x"],
        ["compare", f"{hidden}/x.gguf"],
        ["dataset", "show", f"{hidden}/x.jsonl"],
        ["--models", f"{hidden}/m.yaml", "models", "list"],
        ["--db", f"{hidden}/r.db", "query", "select 1"],
    ):
        found = gguf_bench(*arguments)
        assert (found.returncode, len(found.stderr.splitlines())) == (1, 1)
        assert "Permission denied" in found.stderr


# Signals

ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command that works for a minute, with signals ignored as told, and waits until it listens to SIGTERM."""
    Store(tmp_path / "r.db").close()
    started = []

    def start(ignored: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "gguf_bench", "--db", str(tmp_path / "r.db"), "query", ENDLESS]
        trap = f"trap '' {ignored}; " if ignored else ""
        process = subprocess.Popen(
            ["bash", "-c", f"{trap}exec {shlex.join(command)}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=with_default_signals,
        )
        started.append(process)
        while signal.SIGTERM not in signals_caught(process.pid):
            assert process.poll() is None
            time.sleep(0.001)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("seconds", [0, 0.02, 0.05, 0.1, 0.2, 1.5])
def test_an_interrupt_leaves_no_traceback(
    endless: Callable[..., subprocess.Popen[str]], number: signal.Signals, seconds: float
) -> None:
    process = endless()
    time.sleep(seconds)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted; run the same command again" in errors
    assert len(errors.split("\n")) <= 3
    assert "Abort" not in errors


def test_an_interrupt_that_meets_a_destructor_leaves_no_traceback_either() -> None:
    script = (
        "import os, signal, time, gguf_bench.cli as cli\n"
        "class Busy:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(1)\n"
        "cli._on_signals(cli._interrupt)\n"
        "Busy()\n"
        "time.sleep(20)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, preexec_fn=with_default_signals
    )
    assert (done.returncode, done.stderr) == (INTERRUPTED, FAREWELL)


def test_a_signal_that_was_ignored_stays_so(endless: Callable[..., subprocess.Popen[str]]) -> None:
    process = endless("HUP")
    time.sleep(0.5)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.terminate()
    assert process.wait(20) == 130
