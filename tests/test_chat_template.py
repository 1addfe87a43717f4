"""Chat templates render as their authors' tools render them, and reach nothing they should not."""

from __future__ import annotations

import pytest

from gguf_bench.chat_template import render
from gguf_bench.errors import ModelError

# Written for these tests after the forms that the families document; <BOS> and <EOS> stand for the vocabulary's own.
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_2 = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "<start_of_turn>{{ message['role'] }}\n{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHATML, "<|im_start|>user\nHow much?<|im_end|>\n<|im_start|>assistant\n"),
        (LLAMA_2, "<BOS>[INST] How much? [/INST]"),
        (GEMMA, "<BOS><start_of_turn>user\nHow much?<end_of_turn>\n<start_of_turn>model\n"),
    ],
)
def test_families(template: str, expected: str) -> None:
    assert render(template, "How much?", bos="<BOS>", eos="<EOS>", kwargs={}) == expected


def test_blocks_on_lines_of_their_own_leave_no_blank_lines() -> None:
    template = "{% if true %}\n    {% for m in messages %}\n{{ m.content }}\n    {% endfor %}\n{% endif %}\n"
    assert render(template, "x", bos="", eos="", kwargs={}) == "x\n"


def test_template_kwargs_reach_the_template() -> None:
    template = "{% if enable_thinking is defined and enable_thinking is false %}/no_think{% endif %}"
    assert render(template, "x", bos="", eos="", kwargs={"enable_thinking": False}) == "/no_think"


def test_json_is_written_without_html_escapes() -> None:
    assert render("{{ messages[0] | tojson }}", "a<b&'é", bos="", eos="", kwargs={}) == (
        '{"role": "user", "content": "a<b&\'é"}'
    )


def test_today_is_always_the_same_day() -> None:
    assert render("{{ strftime_now('%d %b %Y') }}", "x", bos="", eos="", kwargs={}) == "01 Jan 2025"


def test_loop_controls_and_generation_blocks() -> None:
    template = "{% for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"
    assert render(template, "x", bos="", eos="", kwargs={}) == "1"
    assert render("{% generation %}said{% endgeneration %}", "x", bos="", eos="", kwargs={}) == "said"


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.system('id') }}",
        "{{ raise_exception('only assistants') }}",
        "{% for %}",
        "{{ nothing.here }}",
        "{{ 1 / 0 }}",
        "{% include 'x' %}",
    ],
)
def test_a_template_that_reaches_out_or_fails_is_a_model_error(template: str) -> None:
    with pytest.raises(ModelError, match="chat template"):
        render(template, "x", bos="", eos="", kwargs={})
