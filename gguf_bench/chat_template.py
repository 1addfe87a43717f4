"""A model's own Jinja chat template, rendered the way its author's tools render it, in a sandbox with limits.

The template comes from an untrusted file. It is rendered in jinja2's immutable sandbox, gets nothing but the message,
and runs in a process of its own with little memory and a timer that no code can put off: a sandbox keeps a template
from reaching out, but not from `'a' * 10**10`, and a single call into C cannot be interrupted from within Python.

transformers' `apply_chat_template` is the reference for the dialect: trimmed blocks, `tojson` without HTML escapes,
`raise_exception`, `strftime_now`, `{% generation %}` blocks, `tools` and `documents` that are None.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from gguf_bench.errors import ModelError, signal_name

FROZEN_TODAY = datetime(2025, 1, 1)
"""What `strftime_now` answers: a prompt that names today's date would not be the same prompt tomorrow."""

MAX_CPU_SECONDS = 1.5
"""For compiling a template, and for rendering a message with it."""
MAX_MEMORY_BYTES = 256 << 20
MAX_ADDED_CHARACTERS = 1_000_000
"""How much longer than the message a prompt may be."""

PROBE = "1000000000000007"
"""A message that shows whether a template asks it. Digits: no change of case and no escaping alters them."""


class ChatTemplate:
    """A chat template with the variables it is given (`bos_token`, `enable_thinking`, ...), ready to render.

    It lives in a process of its own, which ends with this object, or when this process does. One thread at a time.
    Raises ModelError for a template that is not valid Jinja, refuses a message, or leaves it out.
    """

    def __init__(self, template: str, variables: Mapping[str, Any]) -> None:
        self._process = _start_process()
        self._finalizer = weakref.finalize(self, _end_process, self._process)
        self._ask({"template": template, "variables": dict(variables)})
        self._typed = False
        if not self._asks_probe():
            raise ModelError(
                "the model's chat template leaves out what the user says",
                hint="give it another by `template_kwargs: {chat_template: ...}` in models.yaml",
            )

    def render(self, *user_messages: str) -> list[str]:
        """The text of a prompt a message: it asks the one message and leaves the turn to the assistant."""
        contents = [[{"type": "text", "text": text}] if self._typed else text for text in user_messages]
        return self._ask({"contents": contents, "longest": max(map(len, user_messages)) + MAX_ADDED_CHARACTERS})

    def _asks_probe(self) -> bool:
        """Find out whether the template takes a message's content as text or, as of models that see, as a list."""
        try:
            if PROBE in self.render(PROBE)[0]:
                return True
        except ModelError:
            self._typed = self._process.poll() is None
            if self._typed and self._asks_typed_probe():
                return True
            raise
        self._typed = True
        return self._asks_typed_probe()

    def _asks_typed_probe(self) -> bool:
        try:
            return PROBE in self.render(PROBE)[0]
        except ModelError:
            return False

    def _ask(self, request: Mapping[str, Any]) -> list[str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (BrokenPipeError, ValueError):  # ended by an earlier message; ValueError: and closed by us
            line = b""
        if not line.endswith(b"\n"):
            returncode = self._process.wait()
            _end_process(self._process)
            why = (
                f"it took more than {MAX_CPU_SECONDS} seconds"
                if returncode == -signal.SIGPROF
                else f"its process died ({signal_name(-returncode) if returncode < 0 else f'exit code {returncode}'})"
            )
            raise ModelError(f"the model's chat template cannot be rendered: {why}")
        answer = json.loads(line)
        if "error" in answer:
            raise ModelError(f"the model's chat template cannot be rendered: {answer['error']}")
        texts: list[str] = answer["texts"]
        return texts


def _start_process() -> subprocess.Popen[bytes]:
    package_root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), package_root]))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "gguf_bench.chat_template"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )


def _end_process(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(BrokenPipeError):
            pipe.close()


def compile_template(template: str, variables: Mapping[str, Any]) -> Callable[[Any], str]:
    """A function from a user message's content to the prompt's text, without limits.

    Both raise whatever the template runs into.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, GenerationBlock]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {
        "raise_exception": _refuse,
        "strftime_now": FROZEN_TODAY.strftime,
        "dict": PlainDict(),
        "namespace": PlainNamespace,
    }
    compiled = environment.from_string(template)
    given = {"tools": None, "documents": None, "add_generation_prompt": True, **variables}

    def ask(content: Any) -> str:
        random.seed(0)  # jinja2 has a filter that picks at random: the same message gets the same prompt
        return compiled.render({**given, "messages": [{"role": "user", "content": content}]})

    return ask


class GenerationBlock(Extension):
    """`{% generation %}...{% endgeneration %}` marks the assistant's text for training; here it is just its content.

    What is set within does not show outside, as with any block that is called.
    """

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_content"), [], [], body).set_lineno(line)

    def _content(self, caller: Callable[[], str]) -> str:
        return caller()


class PlainDict:
    """`dict` for templates: makes dictionaries, and is no type to reach on from."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class PlainNamespace(Namespace):
    """`namespace` for templates: no attribute of it starts with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # a namespace may hold a `self`
        self, *values = args
        attributes = dict(*values, **kwargs)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace holds no {name!r}")


def _tojson(
    x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def main() -> None:
    """The process of a ChatTemplate: first a line with template and variables, then a line a message."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # the kernel ends the process, whatever it is busy with
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    ask: Callable[[Any], str] | None = None
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_PROF, MAX_CPU_SECONDS)  # processor time: a busy machine is no reason
        answer: dict[str, Any]
        try:
            request = json.loads(line)
            if ask is None:
                ask, texts = compile_template(request["template"], request["variables"]), []
            else:
                texts = [ask(content) for content in request["contents"]]
                if (longest := max(map(len, texts))) > request["longest"]:
                    raise ValueError(f"it makes a prompt of {longest} characters")
            answer = {"texts": texts}
        except Exception as error:  # noqa: BLE001 (whatever it is, the template ran into it)
            said = " ".join(str(error).split())
            answer = {"error": f"{type(error).__name__}: {said}"[:300]}
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()
        if ask is None:
            return


if __name__ == "__main__":
    main()
