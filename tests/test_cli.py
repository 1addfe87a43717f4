"""The command line: what goes to standard output, how it exits, and what it does not import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gguf_bench.cli import cli
from gguf_bench.store import Store

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


def imported_by(*arguments: str) -> set[str]:
    """The modules in memory after the command, of those that take long to load."""
    script = (
        "import sys\n"
        "from gguf_bench.cli import cli\n"
        "try: cli(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
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
        (["results", "list"], {"rich", "sqlite_utils", "numpy"}),  # sqlite_utils brings numpy where it is installed
    ],
    ids=lambda value: " ".join(sorted(value)) or "nothing",
)
def test_a_command_imports_only_what_it_needs(arguments: list[str], needed: set[str]) -> None:
    assert imported_by(*arguments) <= needed


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["nonsense"], 2, "No such command"),
        (["compare"], 2, "name a MODEL"),
        (["compare", "no_such_model"], 1, "no model 'no_such_model'"),
        (["compare", "./missing.gguf"], 1, "does not exist"),
        (["compare", "smollm2_135m", "-q", "Q9_Z"], 1, "Q9_Z"),
        (["compare", "smollm2_135m", "-t", "poetry"], 2, "poetry"),
        (["compare", "smollm2_135m", "--limit", "0"], 2, "0"),
        (["compare", "smollm2_135m", "--excerpt", "few"], 2, "few"),
        (["compare", "smollm2_135m", "--gpu-layers", "some"], 2, "some"),
        (["compare", "smollm2_135m", "--dataset", "none.jsonl"], 1, "none.jsonl"),
        (["compare", "--group", "no_such_group"], 1, "no group"),
        (["quantize", "smollm2_135m"], 2, "-q TYPE"),
        (["convert", "smollm2_135m"], 1, "is a GGUF already"),
        (["results", "show", "99"], 1, "no run 99"),
        (["query", "select 1"], 1, "no store"),
        (["dataset", "show", "eps-v1", "nobody"], 2, "nobody"),
        (["--models", "none.yaml", "models", "list"], 1, "none.yaml"),
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


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m gguf_bench quantize --list --json | head -n 1"
    found = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert found.stdout == "[\n"
    assert found.stderr == ""


def test_the_store_is_where_the_options_say(tmp_path: Path, gguf_bench: Command) -> None:
    assert gguf_bench("results", "path").stdout.strip() == f"{os.environ['XDG_DATA_HOME']}/gguf-bench/results.db"
    assert gguf_bench("results", "path", env={"GGUF_BENCH_DB": "/x/y.db"}).stdout == "/x/y.db\n"
    assert gguf_bench("--db", "/z.db", "results", "path", env={"GGUF_BENCH_DB": "/x/y.db"}).stdout == "/z.db\n"


def test_markup_in_data_is_shown_as_it_is(tmp_path: Path, gguf_bench: Command) -> None:
    Store(tmp_path / "r.db").close()
    found = gguf_bench("--db", tmp_path / "r.db", "query", "select '[bold red]x[/]' as a")
    assert "[bold red]x[/]" in found.stdout
