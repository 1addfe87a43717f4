"""A model's own Jinja chat template, rendered the way its author's tools render it, in a sandbox.

The template comes from an untrusted file: it runs in jinja2's immutable sandbox, in the child process, and gets nothing
but the message. transformers' `apply_chat_template` is the reference for the dialect (trimmed blocks, `tojson` without
HTML escapes, `raise_exception`, `strftime_now`, `{% generation %}` blocks).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gguf_bench.errors import ModelError

FROZEN_TODAY = datetime(2025, 1, 1)
"""What `strftime_now` answers: a prompt that names today's date would not be the same prompt tomorrow."""


class GenerationBlock(Extension):
    """`{% generation %}...{% endgeneration %}` marks the assistant's text for training; here it is just its content."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def render(template: str, user_message: str, *, bos: str, eos: str, kwargs: Mapping[str, Any]) -> str:
    """The prompt text that asks `user_message` and leaves the turn to the assistant.

    `kwargs` are passed to the template (`enable_thinking: false`, ...). Raises ModelError for a template that is not
    valid Jinja, reaches out of the sandbox, or refuses the message.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, GenerationBlock]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = FROZEN_TODAY.strftime
    messages = [{"role": "user", "content": user_message}]
    try:
        return environment.from_string(template).render(
            **{"messages": messages, "add_generation_prompt": True, "bos_token": bos, "eos_token": eos, **kwargs}
        )
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise ModelError(f"the model's chat template cannot be rendered: {type(error).__name__}: {error}") from error


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
