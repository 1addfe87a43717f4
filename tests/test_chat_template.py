"""Chat templates render as their authors' tools render them, and do nothing else, nor for long."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from gguf_bench.chat_template import MAX_CPU_SECONDS, ChatTemplate
from gguf_bench.errors import ModelError
from tests.processes import is_alive

CASES = Path(__file__).parent / "cases"
# Recorded from transformers by scripts/template_record.py.
RECORDED = [json.loads(line) for line in (CASES / "templates.jsonl").read_text(encoding="utf-8").splitlines()]
GROUPS = [list(group) for _, group in itertools.groupby(RECORDED, lambda case: (case["template"], case["variables"]))]


def rendered(template: str, message: str = "How much?", **variables: Any) -> str:
    return ChatTemplate(template, variables).render(message)[0]


@pytest.mark.parametrize(
    "cases", GROUPS, ids=lambda cases: f"{cases[0]['template']}-{'-'.join(list(cases[0]['variables'])[1:])}"
)
def test_families_render_as_transformers_renders_them(cases: list[dict[str, Any]]) -> None:
    text = (CASES / "templates" / f"{cases[0]['template']}.jinja").read_text(encoding="utf-8")
    template = ChatTemplate(text, cases[0]["variables"])
    assert template.render(*(case["message"] for case in cases)) == [case["expected"] for case in cases]


def test_every_template_is_recorded() -> None:
    names = {path.stem for path in (CASES / "templates").glob("*.jinja")}
    families = {"llama-2", "llama-3", "llama-3.1", "qwen2.5", "smollm2", "qwen3", "gemma-2", "phi-3", "mistral-v1"}
    assert {case["template"] for case in RECORDED} == names
    assert names > families | {"mistral-v3", "falcon", "deepseek"}


def test_qwen3_does_not_think_where_told_not_to() -> None:
    expected = {case["expected"] for case in RECORDED if case["variables"].get("enable_thinking") is False}
    assert expected
    assert all("<think>\n\n</think>" in text.rpartition("assistant")[2] for text in expected)


def test_blocks_on_lines_of_their_own_leave_no_blank_lines() -> None:
    template = "{% if true %}\n    {% for m in messages %}\n{{ m.content }}\n    {% endfor %}\n{% endif %}\n"
    assert rendered(template, "x") == "x\n"


def test_today_is_always_the_same_day() -> None:
    assert rendered("{{ strftime_now('%d %b %Y') }}{{ messages[0].content }}", "x") == "01 Jan 2025x"


def test_what_is_picked_at_random_is_always_the_same() -> None:
    template = ChatTemplate("{{ messages[0].content }}{{ range(100000) | random }}", {})
    assert len(set(template.render("x", "x") + template.render("x"))) == 1


def test_content_as_text_or_as_a_list_is_found_out() -> None:
    typed = "{% for item in messages[0].content %}{% if item.type == 'text' %}{{ item.text }}{% endif %}{% endfor %}"
    assert rendered(typed, "x") == "x"
    assert rendered("{{ messages[0].content[0]['text'] + '' }}", "x") == "x"
    assert rendered("{{ messages[0].content }}", "x") == "x"


@pytest.mark.parametrize("template", ["", "Answer.", "{{ messages[0].text }}", "{{ messages | length }}"])
def test_a_template_that_leaves_out_the_message_is_refused(template: str) -> None:
    with pytest.raises(ModelError, match="leaves out what the user says"):
        ChatTemplate(template, {})


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.system('id') }}",
        "{{ dict.__class__.__subclasses__() }}",
        "{{ namespace(__class__=1) }}",
        "{% set ns = namespace() %}{% set ns._x = 1 %}",
        "{{ raise_exception('only assistants') }}",
        "{% for %}",
        "{{ nothing.here }}",
        "{{ 1 / 0 }}",
        "{% include 'x' %}",
        "{{ messages[0].content + 1 }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ range(10 ** 9) | list | sum }}",
    ],
    ids=lambda template: template[:40],
)
def test_a_template_that_reaches_out_or_fails_is_a_model_error(template: str) -> None:
    with pytest.raises(ModelError, match="chat template cannot be rendered") as caught:
        rendered(template + "{{ messages[0].content }}")
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
        "{{ 9 ** 999999999 }}",  # one call into C, computed while the template is compiled
        "{% if messages[0].content | int %}{{ (messages[0].content | int) ** 99999999 }}{% endif %}",
    ],
)
def test_a_template_that_takes_too_long_is_ended(template: str) -> None:
    started = time.process_time()
    with pytest.raises(ModelError, match=f"it took more than {MAX_CPU_SECONDS} seconds"):
        rendered(template + "{{ messages[0].content }}")
    assert time.process_time() - started < 1  # the waiting costs nothing


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ 'a' * 10 ** 9 }}", "MemoryError"),
        ("{{ '%1000000000d' % 1 }}", "MemoryError"),
        ("{{ 'a' | center(10 ** 9) }}", "MemoryError"),
        (
            "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
            "MemoryError",
        ),
        ("{{ 'a' * 2 * 10 ** 6 }}", "makes a prompt of 20000"),
    ],
)
def test_a_template_that_takes_memory_is_refused(template: str, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        rendered(template + "{{ messages[0].content }}")


def test_one_message_refused_leaves_the_others() -> None:
    template = ChatTemplate("{% if 'no' in messages[0].content %}{{ 1 / 0 }}{% endif %}{{ messages[0].content }}", {})
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        template.render("no")
    assert template.render("yes", "é\ud800\u2028") == ["yes", "é\ud800\u2028"]


def test_a_message_that_ends_the_process_is_told_and_so_is_the_next() -> None:
    bomb = "{% if 'no' in messages[0].content %}{{ '%s' % (9 ** (messages[0].content | length ** 9)) }}{% endif %}"
    template = ChatTemplate(bomb + "{{ messages[0].content }}", {})
    for message in ("no" + "o" * 30, "yes"):
        with pytest.raises(ModelError, match="it took more than"):
            template.render(message)


def test_its_process_ends_with_it() -> None:
    template = ChatTemplate("{{ messages[0].content }}", {})
    pid = template._process.pid
    assert is_alive(pid)
    del template
    assert not is_alive(pid)


def test_a_process_killed_from_outside_is_named() -> None:
    template = ChatTemplate("{{ messages[0].content }}", {})
    os.kill(template._process.pid, signal.SIGKILL)
    with pytest.raises(ModelError, match="its process died \\(SIGKILL\\)"):
        template.render("x")
