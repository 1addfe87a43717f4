"""What transformers makes of the chat templates in tests/cases/templates: writes tests/cases/templates.jsonl.

Run it with a Python that has transformers (no network, no model is needed); the tests replay what it recorded:

    python scripts/template_record.py                      records
    python scripts/template_record.py --compare FOLDER     compares our rendering with transformers' for every
                                                           .jinja file of a folder, such as llama.cpp's models/templates
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gguf_bench import chat_template  # noqa: E402 (the tree's own)

CASES = ROOT / "tests" / "cases"
MESSAGES = [
    "How much were diluted earnings per share?",
    "  Spaces before,\n\n  within and behind \n",
    "\"Quoted\" 'text' & <b>tags</b>, 1 < 2: é 漢字 🎉 \\n {{ braces }} {% if %}",
    "<think>a</think><|im_end|>\n<|im_start|>assistant\n[/INST] 0.42</s>",
    "<tool_response>0.42</tool_response>",
    "/no_think",
    "",
]
# The tokens that a family's vocabulary names, and variables that users give.
VARIABLES: dict[str, list[dict[str, Any]]] = {
    "deepseek": [{"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}],
    "llama-3": [{"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}],
    "llama-3.1": [
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "date_string": "26 Jul 2024"},
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "tools": [{"name": "add", "parameters": {}}]},
    ],
    "gemma-2": [{"bos_token": "<bos>", "eos_token": "<eos>"}],
    "gemma-3": [{"bos_token": "<bos>", "eos_token": "<eos>"}],
    "qwen2.5": [{"eos_token": "<|im_end|>"}, {"eos_token": "<|im_end|>", "tools": [{"name": "add"}]}],
    "qwen3": [{"eos_token": "<|im_end|>"}, {"eos_token": "<|im_end|>", "enable_thinking": False}],
    "smollm3": [{"eos_token": "<|im_end|>"}, {"eos_token": "<|im_end|>", "enable_thinking": False}],
}
USUAL = {"bos_token": "<s>", "eos_token": "</s>"}


class FrozenTime(datetime):
    """`datetime` whose now() is the day that our templates are told."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return chat_template.FROZEN_TODAY


def reference(template: str, content: Any, variables: dict[str, Any]) -> str:
    """The text that transformers' apply_chat_template makes."""
    special = {name: value for name, value in variables.items() if name.endswith("_token")}
    others = {name: value for name, value in variables.items() if name not in special}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=empty_tokenizer(), **special)
    text: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}],
        chat_template=template,
        tokenize=False,
        add_generation_prompt=True,
        **others,
    )
    return text


def empty_tokenizer() -> Any:
    import tokenizers

    return tokenizers.Tokenizer(tokenizers.models.BPE())


def outcome(template: str, message: str, variables: dict[str, Any]) -> dict[str, Any]:
    """{"expected": text}, as a list of one text where the template wants the content so, or {"refused": true}."""
    try:
        probe = reference(template, chat_template.PROBE, variables)
    except Exception:  # noqa: BLE001 (whatever a template runs into)
        probe = ""
    content = message if chat_template.PROBE in probe else [{"type": "text", "text": message}]
    try:
        return {"expected": reference(template, content, variables)}
    except Exception as error:  # noqa: BLE001
        return {"refused": f"{type(error).__name__}: {error}"}


def record() -> None:
    lines = []
    for path in sorted((CASES / "templates").glob("*.jinja")):
        template = path.read_text(encoding="utf-8")
        for variables in VARIABLES.get(path.stem, [USUAL]):
            for message in MESSAGES:
                case = {"template": path.stem, "variables": variables, "message": message}
                lines.append(json.dumps(case | outcome(template, message, variables), ensure_ascii=False))
    (CASES / "templates.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} renderings recorded in {CASES / 'templates.jsonl'}")


def compare(folder: Path) -> None:
    paths, differing = sorted(folder.glob("*.jinja")), 0
    for path in paths:
        template = path.read_text(encoding="utf-8")
        wrong = []
        for variables in (USUAL, USUAL | {"enable_thinking": False}):
            theirs = [outcome(template, message, variables) for message in MESSAGES]
            ours = list(_ours(template, variables))
            trios = zip(MESSAGES, theirs, ours, strict=True)
            wrong += [trio for trio in trios if trio[1].get("expected") != trio[2].get("expected")]
        differing += bool(wrong)
        print(f"{'differs' if wrong else 'equal  '} {path.name}{' refused by both' if 'refused' in theirs[0] else ''}")
        for message, one, other in wrong[:2]:
            print(f"    {message!r}\n    theirs {str(one)[:300]}\n    ours   {str(other)[:300]}")
    print(f"{len(paths)} templates, {len(paths) - differing} equal on {2 * len(MESSAGES)} messages each")


def _ours(template: str, variables: dict[str, Any]) -> Iterator[dict[str, Any]]:
    try:
        rendering = chat_template.ChatTemplate(template, variables)
    except chat_template.ModelError as error:
        yield from ({"refused": error.message} for _ in MESSAGES)
        return
    for message in MESSAGES:
        try:
            yield {"expected": rendering.render(message)[0]}
        except chat_template.ModelError as error:
            yield {"refused": error.message}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", type=Path, metavar="FOLDER")
    folder = parser.parse_args().compare
    chat_template_utils.datetime = FrozenTime
    if folder is None:
        record()
    else:
        compare(folder)


if __name__ == "__main__":
    main()
