"""Compare our LoRA converter with llama.cpp's convert_lora_to_gguf.py, byte for byte.

    python scripts/parity_lora.py [--only NAME] [--record]

Adapters are those of tests/converters/lora_cases.py. One line is printed for each; where the files differ it names the
first key or tensor. `--record` notes the SHA-256 of what the reference made, or the error with which it refuses, in
tests/converters/lora_golden.json, which the tests check without the reference. The reference works lazily by default,
where some of what it can do fails; then it is run again with --no-lazy.

The reference is that of scripts/parity.py, found in the same way (--python, --script).
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
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from converters import ConversionError, convert_lora
from scripts.parity_diff import first_difference
from tests.converters.lora_cases import ADAPTERS, GOLDEN, Adapter, write_adapter

REFERENCE_LOOP = """
import json, logging, runpy, sys
logging.disable()
script = sys.argv[1]
sys.path.insert(0, script.rpartition("/")[0])
answers = sys.stdout
sys.stdout = sys.stderr
for line in sys.stdin:
    sys.argv = [script, *json.loads(line)]
    try:
        runpy.run_path(script, run_name="__main__")
        problem = ""
    except BaseException as error:
        problem = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    print(json.dumps(problem), file=answers, flush=True)
"""


class Reference:
    """llama.cpp's converter of adapters, in a process that has imported torch once."""

    def __init__(self, python: str, script: Path) -> None:
        self.process = subprocess.Popen(
            [python, "-c", REFERENCE_LOOP, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )

    def convert(self, adapter: Path, base: Path, target: Path, outtype: str) -> str:
        """Write `target`; returns the problem, "" when there was none."""
        for lazy in ((), ("--no-lazy",)):
            problem = self._run(adapter, "--base", base, "--outfile", target, "--outtype", outtype, *lazy)
            if not problem:
                break
        return problem

    def _run(self, *arguments: object) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([str(each) for each in arguments]) + "\n")
        self.process.stdin.flush()
        return str(json.loads(self.process.stdout.readline()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="a Python that has torch and transformers")
    parser.add_argument("--script", type=Path, help="llama.cpp's convert_lora_to_gguf.py")
    parser.add_argument("--only", default="", help="only adapters whose name holds this")
    parser.add_argument("--record", action="store_true", help="note the reference's sums, or its error")
    arguments = parser.parse_args()
    if arguments.python and arguments.script:
        python, script = arguments.python, arguments.script
    else:
        from scripts.parity_setup import set_up

        setup = set_up()
        python, script = setup.python, Path(setup.script).with_name("convert_lora_to_gguf.py")
    reference = Reference(python, script)
    golden: dict[str, dict[str, str]] = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    verdicts: Counter[str] = Counter()
    for name, adapter in ADAPTERS.items():
        if arguments.only not in name:
            continue
        verdict, detail, sums = compare(adapter, reference)
        if arguments.record:
            golden[name] = sums
        elif golden.get(name) != sums:
            verdict, detail = "CHANGED", "the reference's files are not those recorded; see --record"
        verdicts[verdict] += 1
        print(f"{verdict:<9} {name} ({', '.join(adapter.outtypes)}){f': {detail}' if detail else ''}", flush=True)
    if arguments.record:
        ordered = {name: golden[name] for name in ADAPTERS if name in golden}
        GOLDEN.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    print(", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()))
    return 1 if verdicts.keys() - {"same", "neither"} else 0


def compare(adapter: Adapter, reference: Reference) -> tuple[str, str, dict[str, str]]:
    """The verdict in one word, what there is to say of it, and the reference's sums by outtype (or {"fails": why})."""
    sums: dict[str, str] = {}
    problems = []
    with tempfile.TemporaryDirectory() as scratch:
        folder, base = write_adapter(Path(scratch), adapter, whole_base=True)
        for outtype in adapter.outtypes:
            ours, theirs = Path(scratch, f"ours.{outtype}.gguf"), Path(scratch, f"reference.{outtype}.gguf")
            failure = reference.convert(folder, base, theirs, outtype)
            try:
                convert_lora(folder, base, ours, outtype)
                refusal = ""
            except ConversionError as error:
                refusal = str(error)
            if failure:
                return (
                    "neither" if refusal else "only we",
                    f"{failure}; we {refusal or 'convert it'}",
                    {"fails": failure},
                )
            sums[outtype] = hashlib.sha256(theirs.read_bytes()).hexdigest()
            if refusal:
                problems.append(("refused", refusal))
            elif not filecmp.cmp(ours, theirs, shallow=False):
                problems.append(("DIFFERENT", f"{outtype}: {first_difference(ours, theirs)}"))
    verdict, detail = problems[0] if problems else ("same", "")
    return verdict, detail, sums


if __name__ == "__main__":
    sys.exit(main())
