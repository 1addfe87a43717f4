"""Endpoints: asked as local models are, scored alike, resumable; what the server does is recorded, never a crash."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gguf_bench import dataset as datasets
from gguf_bench import endpoint, llama_build, pipeline, prepare, results, terminal
from gguf_bench.catalog import load_catalog, resolve
from gguf_bench.errors import GgufBenchError, HubError, ModelError
from gguf_bench.pipeline import Options
from gguf_bench.prepare import contenders
from gguf_bench.quants import quant
from gguf_bench.records import Answer, ModelSpec, Served
from gguf_bench.store import Store
from gguf_bench.tasks import TASKS
from gguf_bench.tasks.task import prompt_sha256
from tests.conftest import asked_for, until
from tests.endpoint_server import GOOD, Asked, EndpointServer, Reply, completion, error
from tests.processes import with_default_signals

TASK = TASKS["eps_extraction"]
BUILD = llama_build.Build("0 (ggml 0)", "CPU", supports_gpu_offload=False, physical_cores=2, devices=())
KEY = "sk-0123456789abcdef"
MESSAGES = {f"d{number}": f"message {number}" for number in range(6)}


@pytest.fixture(autouse=True, scope="module")
def one_set_of_certificates() -> Iterator[None]:
    """Every client reads the system's anew, which takes a sixth of a second, for servers that have none."""
    with pytest.MonkeyPatch.context() as patched:
        context = httpx2.create_ssl_context()
        patched.setattr("httpx2._transports.default.create_ssl_context", lambda **_: context)
        yield


def spec_of(server: EndpointServer | str, **changes: Any) -> ModelSpec:
    base_url = server if isinstance(server, str) else server.base_url
    return ModelSpec(key="gpt", provider="openai", base_url=base_url, model="tiny", display_name="GPT", **changes)


def ask(
    server: EndpointServer | str,
    messages: dict[str, str] | None = None,
    before: Served | None = None,
    *,
    grammar: bool = True,
    **changes: Any,
) -> tuple[dict[str, Answer], Served | None]:
    """Every answer by its document, and the last that was told of the server."""
    spec = spec_of(server, **changes)
    events = list(endpoint.answers(endpoint.find(spec), spec, TASK, messages or MESSAGES, before, grammar=grammar))
    found = {event.document_id: event for event in events if isinstance(event, Answer)}
    served = [event for event in events if isinstance(event, Served)]
    return found, served[-1] if served else None


def always(reply: Reply) -> Callable[[Asked, int], Reply]:
    return lambda asked, number: reply


def good(asked: Asked, number: int) -> Reply:
    return Reply(completion())


# --- how it is asked ---


def test_every_document_is_asked_once_with_the_same_message_and_parameters() -> None:
    with EndpointServer(good) as server:
        found, served = ask(server, template_kwargs={"enable_thinking": False})
    assert {asked.message for asked in server.asked} == set(MESSAGES.values())
    assert len(server.asked) == len(MESSAGES)
    for asked in server.asked:
        assert asked.path == "/v1/chat/completions"
        assert {name: value for name, value in asked.body.items() if name not in ("messages", "response_format")} == {
            "model": "tiny",
            "temperature": 0,
            "seed": 0,
            "max_tokens": TASK.max_answer_tokens,
            "chat_template_kwargs": {"enable_thinking": False},
        }
        assert asked.body["response_format"]["json_schema"]["schema"] == TASK.json_schema
        assert asked.body["response_format"]["json_schema"]["strict"] is True
        assert [message["role"] for message in asked.body["messages"]] == ["user"]
    answer = found["d3"]
    assert (answer.output, answer.prompt_tokens, answer.generated_tokens) == (GOOD, 100, 20)
    assert answer.prompt_sha256 == prompt_sha256(MESSAGES["d3"])
    assert answer.prompt_seconds > 0
    assert served is not None
    assert (served.served_model, served.system_fingerprint, served.schema_kept) == ("tiny", "b1", True)
    assert json.loads(served.request)["response_format"] == "json_schema"


def test_template_kwargs_are_not_sent_unasked() -> None:
    with EndpointServer(good) as server:
        ask(server)
    assert all("chat_template_kwargs" not in asked.body for asked in server.asked)


def test_a_template_for_files_is_not_sent() -> None:
    """It is the server that has one."""
    with EndpointServer(good) as server:
        ask(server, template_kwargs={"chat_template": "{{ messages }}"})
        assert all("chat_template_kwargs" not in asked.body for asked in server.asked)
        _, served = ask(server, template_kwargs={"chat_template": "x", "enable_thinking": False})
    assert server.asked[-1].body["chat_template_kwargs"] == {"enable_thinking": False}
    assert served is not None
    assert json.loads(served.request)["chat_template_kwargs"] == {"enable_thinking": False}


def test_free_answers_are_asked_for_without_a_form_and_may_be_longer() -> None:
    with EndpointServer(good) as server:
        found, served = ask(server, grammar=False)
    assert len(found) == len(MESSAGES)
    for asked in server.asked:
        assert "response_format" not in asked.body
        assert asked.body["max_tokens"] == TASK.max_free_answer_tokens > TASK.max_answer_tokens
    assert served is not None
    assert (json.loads(served.request)["response_format"], served.schema_kept) == ("text", None)


@pytest.mark.parametrize(("concurrency", "expected"), [(None, 4), (1, 1), (3, 3)])
def test_so_many_requests_are_in_flight(concurrency: int | None, expected: int) -> None:
    def slow(asked: Asked, number: int) -> Reply:
        time.sleep(0.05)
        return Reply(completion())

    with EndpointServer(slow) as server:
        found, _ = ask(server, {f"d{number}": f"m {number}" for number in range(13)}, concurrency=concurrency)
    assert len(found) == 13
    assert server.most_in_flight == expected


class Picky:
    """Refuses requests that have any of `refused`, in the words of a kind of server."""

    def __init__(self, refused: dict[str, str], status: int = 400) -> None:
        self.refused, self.status = refused, status

    def __call__(self, asked: Asked, number: int) -> Reply:
        form = asked.body.get("response_format", {}).get("type")
        for name, words in self.refused.items():
            if name in asked.body or name == form:
                return Reply(error(words), self.status)
        return Reply(completion())


@pytest.mark.parametrize(
    ("server", "request_has", "n_refused"),
    [
        (
            Picky({"max_tokens": "Unsupported parameter: 'max_tokens' ... Use 'max_completion_tokens' instead."}),
            {"max_completion_tokens": TASK.max_answer_tokens + endpoint.THINKING_TOKENS},
            1,
        ),
        (Picky({"temperature": "'temperature' does not support 0 with this model."}), {"max_tokens": 96}, 1),
        (Picky({"seed": '[{"type":"extra_forbidden","loc":["body","seed"]}]'}, 422), {"temperature": 0}, 1),
        (Picky({"json_schema": "json_schema is not supported"}), {"response_format": "json_object"}, 1),
        (
            Picky({"json_schema": "'loc': ('body', 'response_format', 'type'), 'input': 'json_schema'"}, 500),
            {"response_format": "json_object"},
            1,
        ),
        (Picky({"json_schema": "bad", "json_object": "worse"}, 501), {"response_format": "text"}, 2),
    ],
)
def test_what_a_server_does_not_know_is_left_out_once(
    server: Picky, request_has: dict[str, Any], n_refused: int
) -> None:
    """It is found out with the first document alone, so that all are asked alike."""
    with EndpointServer(server) as running:
        found, served = ask(running)
    assert {answer.output for answer in found.values()} == {GOOD}
    assert len(running.asked) == len(MESSAGES) + n_refused
    assert len({json.dumps({**asked.body, "messages": 0}) for asked in running.asked[n_refused:]}) == 1
    assert served is not None
    asked_for = json.loads(served.request)
    assert {name: asked_for[name] for name in request_has} == request_has
    assert served.schema_kept is (True if asked_for["response_format"] == "json_schema" else None)


def test_a_refusal_after_the_first_answer_is_not_adapted_to() -> None:
    """Or one contender's answers would have been asked for in two ways."""
    with (
        EndpointServer(lambda asked, number: Reply(completion()) if not number else Reply(error("no seed"), 400)) as s,
        pytest.raises(ModelError, match="answered 400: no seed"),
    ):
        ask(s, concurrency=1)
    assert len(s.asked) == 2


def test_a_schema_that_is_not_kept_to_is_seen() -> None:
    with EndpointServer(lambda asked, number: Reply(completion("EPS was 0.57" if number == 2 else GOOD))) as server:
        _, served = ask(server)
    assert served is not None
    assert served.schema_kept is False


def test_nothing_is_asked_after_nothing_is_left() -> None:
    with EndpointServer(good) as server:
        found, _ = ask(server, {"d0": "m"})
    assert len(found) == len(server.asked) == 1


# --- too long ---

TOO_LONG = {
    "openai": Reply(error("This model's maximum context length is 8192 tokens.", code="context_length_exceeded"), 400),
    "llama-server": Reply(
        error(
            "request (9000 tokens) exceeds the available context size (512 tokens), try increasing it",
            code=400,
            type="exceed_context_size_error",
            n_prompt_tokens=9000,
        ),
        400,
    ),
    "vllm": Reply(
        {
            "object": "error",
            "message": "This model's maximum context length is 8192 tokens. However, you requested 9000",
            "code": 400,
        },
        400,
    ),
    "vllm decoder": Reply(
        error("The decoder prompt (length 9000) is longer than the maximum model length of 512"), 400
    ),
    "mistral": Reply(
        {"message": "Prompt contains 9000 tokens, too large for model with 512 maximum context length"},
        400,
    ),
    "anthropic": Reply(error("prompt is too long: 214002 tokens > 200000 maximum"), 400),
    "gemini": Reply(error("The input token count (9000) exceeds the maximum number of tokens allowed (512)."), 400),
}


@pytest.mark.parametrize("name", TOO_LONG)
@pytest.mark.parametrize("at", ["d0", "d3"])
def test_a_prompt_that_does_not_fit_is_over_context(name: str, at: str) -> None:
    """Whether it is the first document, by which the server is met, or a later one."""
    with EndpointServer(lambda asked, _: TOO_LONG[name] if asked.message == MESSAGES[at] else Reply(completion())) as s:
        found, served = ask(s)
    assert {document for document, answer in found.items() if answer.status == "over_context"} == {at}
    assert found[at].output == ""
    assert len(found) == len(s.asked) == len(MESSAGES)
    assert served is not None
    assert json.loads(served.request)["response_format"] == "json_schema"


def test_other_refusals_are_not_over_context() -> None:
    with EndpointServer(always(Reply(error("prompt is offensive"), 400))) as server, pytest.raises(ModelError):
        ask(server)


@pytest.mark.parametrize(
    ("usage", "status"),
    [
        ({"prompt_tokens": 40}, "over_context"),
        ({"prompt_tokens": 40, "prompt_tokens_details": {"cached_tokens": 300}}, "answered"),
        ({"prompt_tokens": 200}, "answered"),
        ({"prompt_tokens": 0}, "answered"),
        (None, "answered"),
    ],
)
def test_a_prompt_that_was_cut_in_silence_does_not_count_as_answered(usage: Any, status: str) -> None:
    """As Ollama does: it then counts fewer tokens than the prompt has words, which no tokenizer makes of it."""
    with EndpointServer(always(Reply(completion(usage=usage)))) as server:
        found, _ = ask(server, {"d0": "word " * 200})
    assert found["d0"].status == status


@pytest.mark.parametrize(("context", "status"), [(None, "answered"), (196, "answered"), (195, "over_context")])
def test_the_entry_s_context_counts_as_it_does_for_a_file(context: int | None, status: str) -> None:
    with EndpointServer(good) as server:
        found, _ = ask(server, {"d0": "m"}, context=context)
    assert found["d0"].status == status


# --- failures ---


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(endpoint, "LONGEST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(endpoint, "RETRY_SECONDS", 0.3)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_a_busy_server_is_asked_again(status: int) -> None:
    with EndpointServer(lambda a, number: Reply(error("busy"), status) if number % 3 else Reply(completion())) as s:
        found, _ = ask(s, concurrency=2)
    assert {answer.output for answer in found.values()} == {GOOD}
    assert len(s.asked) > len(MESSAGES)


@pytest.mark.parametrize("seconds", ["0.4", "date"])
def test_retry_after_is_kept_to(seconds: str) -> None:
    at: list[float] = []

    def busy_once(asked: Asked, number: int) -> Reply:
        at.append(time.monotonic())
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        headers = {"Retry-After": date if seconds == "date" else seconds}
        return Reply(completion()) if number else Reply(error("slow down"), 429, headers)

    with EndpointServer(busy_once) as server:
        ask(server, {"d0": "m"})
    assert 0.4 <= at[1] - at[0] < 3


def test_a_wait_without_end_is_not_waited_for() -> None:
    with (
        EndpointServer(always(Reply(error("quota of the day"), 429, {"Retry-After": "3600"}))) as server,
        pytest.raises(ModelError, match="answered 429: quota of the day and asks to wait 3600 s"),
    ):
        ask(server)
    assert len(server.asked) == 1


@pytest.mark.usefixtures("impatient")
def test_a_server_that_goes_on_failing_fails_the_contender() -> None:
    with (
        EndpointServer(always(Reply(error("out of order"), 500))) as server,
        pytest.raises(ModelError, match=r"answered 500: out of order \(tried \d+ times\)"),
    ):
        ask(server)
    assert 3 < len(server.asked) < 100


def test_a_spent_quota_is_no_reason_to_wait() -> None:
    reply = Reply(error("You exceeded your current quota", code="insufficient_quota"), 429)
    with EndpointServer(always(reply)) as server, pytest.raises(ModelError, match="exceeded your current quota"):
        ask(server)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "changes", "way_out"),
    [
        (401, {}, "api_key_env"),
        (403, {}, "api_key_env"),
        (401, {"api_key_env": "ENDPOINT_KEY"}, r"look at the key in \$ENDPOINT_KEY"),
        (404, {}, "usually ends in /v1"),
        (400, {}, "no, because"),
        (422, {}, "no, because"),
    ],
)
def test_a_refusal_is_one_line(
    status: int, changes: dict[str, Any], way_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENDPOINT_KEY", KEY)
    reply = Reply(error("no, because\nof\tthis"), status)
    with EndpointServer(always(reply)) as server, pytest.raises(ModelError, match=way_out) as raised:
        ask(server, **changes)
    assert f"{server.base_url} answered {status}: no, because of this" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def test_a_server_that_is_not_there_is_no_reason_to_wait() -> None:
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"refuses connections; is the server running\?"):
        ask(f"http://127.0.0.1:{free_port()}/v1")
    assert time.monotonic() - started < 5


def test_a_host_that_nobody_knows() -> None:
    with pytest.raises(ModelError, match=r"cannot be reached: .*is base_url right"):
        ask("http://nowhere.invalid/v1")


@pytest.mark.usefixtures("impatient")
def test_a_broken_connection_is_tried_again() -> None:
    def hang_up(asked: Asked, number: int) -> Reply:
        return Reply(lambda wire: wire.write(b"HTTP/1.1 200 OK\r\nContent-Le")) if number == 2 else Reply(completion())

    with EndpointServer(hang_up) as server:
        found, _ = ask(server, concurrency=1)
    assert len(found) == len(MESSAGES)
    assert len(server.asked) == len(MESSAGES) + 1


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS", 0.3)
    done = threading.Event()

    def hang(asked: Asked, number: int) -> Reply:
        done.wait(10)
        return Reply(completion())

    with EndpointServer(hang) as server:
        with pytest.raises(ModelError, match="did not answer within 0 s"):
            ask(server)
        done.set()


def test_a_body_that_drips_forever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte in time, all of them never."""
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS", 0.5)
    done = threading.Event()

    def drip(wire: Any) -> None:
        wire.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while not done.wait(0.05):
            wire.write(b" ")
            wire.flush()

    with EndpointServer(always(Reply(drip))) as server:
        with pytest.raises(ModelError, match="did not answer within"):
            ask(server)
        done.set()


def test_a_body_without_end_is_cut_off() -> None:
    def flood(wire: Any) -> None:
        wire.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        for _ in range(1000):
            wire.write(b" " * 2**20)

    with EndpointServer(always(Reply(flood))) as server, pytest.raises(ModelError, match="sent more than"):
        ask(server)


def test_a_packed_body_is_not_unpacked() -> None:
    reply = Reply(b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    with EndpointServer(always(reply)) as server, pytest.raises(ModelError, match="compressed"):
        ask(server)
    assert server.asked[0].headers["accept-encoding"] == "identity"


# --- hostile answers ---


@pytest.mark.parametrize(
    ("message", "output"),
    [
        ({"content": None}, ""),
        ({}, ""),
        ({"content": 7}, ""),
        ({"content": None, "refusal": "I will not."}, "I will not."),
        ({"content": "", "refusal": {"a": 1}}, ""),
        ({"content": [{"type": "text", "text": '{"basic"'}, {"text": 7}, 8, {"text": ": 1"}]}, '{"basic": 1'),
        ({"content": "half \ud83d a pair"}, "half ? a pair"),
        ({"content": "nul \0 byte"}, "nul \0 byte"),
        (
            {"content": None, "tool_calls": [{"function": {"name": "f"}}]},
            '{"tool_calls": [{"function": {"name": "f"}}]}',
        ),
    ],
)
def test_any_message_is_an_answer(message: dict[str, Any], output: str) -> None:
    reply = Reply(completion(choices=[{"message": message}]))
    with EndpointServer(always(reply)) as server:
        found, _ = ask(server, {"d0": "m"})
    assert (found["d0"].status, found["d0"].output) == ("answered", output)


def test_an_answer_is_capped() -> None:
    with EndpointServer(always(Reply(completion("x" * 10**6)))) as server:
        found, _ = ask(server, {"d0": "m"})
    assert found["d0"].output == "x" * endpoint.MAX_OUTPUT_CHARS


def test_invalid_utf_8_is_replaced() -> None:
    body = json.dumps(completion("a@b")).encode().replace(b"@", b"\xff")
    with EndpointServer(always(Reply(body))) as server:
        found, _ = ask(server, {"d0": "m"})
    assert found["d0"].output == "a\ufffdb"


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        "many",
        {"prompt_tokens": -1},
        {"prompt_tokens": 10**30, "completion_tokens": True},
        {"prompt_tokens": "7"},
    ],
)
def test_counts_that_are_none_are_unknown(usage: Any) -> None:
    with EndpointServer(always(Reply(completion(usage=usage)))) as server:
        found, _ = ask(server, {"d0": "m"})
    assert (found["d0"].prompt_tokens, found["d0"].generated_tokens) == (0, 0)


@pytest.mark.parametrize("value", [None, 7, ["a"], "x" * 10**5, "a\nb\x1b[31m"])
def test_any_name_of_a_model(value: Any) -> None:
    with EndpointServer(always(Reply(completion(model=value, system_fingerprint=value)))) as server:
        _, served = ask(server, {"d0": "m"})
    assert served is not None
    assert len(served.served_model) <= endpoint.MAX_NAME_CHARS
    assert served.served_model.isprintable()


NO_COMPLETIONS = [
    b"<html>It works!</html>",
    b"",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 200_000,
    b'{"choices": ' + b"9" * 5000 + b"}",
    b'{"choices": []}',
    b'{"choices": [7]}',
    b'{"choices": {"0": {}}}',
    b'{"choices": [{"message": "text"}]}',
    b'{"error": "x"}',
]


@pytest.mark.parametrize("body", NO_COMPLETIONS)
def test_what_is_no_chat_completion_fails_the_contender(body: bytes) -> None:
    with (
        EndpointServer(always(Reply(body))) as server,
        pytest.raises(ModelError, match=r"sent something that is no chat completion \(HTTP 200\); is base_url right"),
    ):
        ask(server)
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", NO_COMPLETIONS)
def test_any_body_of_an_error(body: bytes) -> None:
    with EndpointServer(always(Reply(body, 401))) as server, pytest.raises(ModelError, match="answered 401") as raised:
        ask(server)
    assert len(str(raised.value)) < 600


@pytest.mark.usefixtures("impatient")
def test_another_server_s_error_passed_on_as_a_success() -> None:
    """As routers do: HTTP 200, and in it what their own source answered."""

    def router(asked: Asked, number: int) -> Reply:
        return Reply(error("upstream is busy", code=429)) if number == 1 else Reply(completion())

    with EndpointServer(router) as server:
        found, _ = ask(server)
    assert len(found) == len(MESSAGES)


def test_what_a_filter_stops_is_an_answer_without_words() -> None:
    def filtered(asked: Asked, number: int) -> Reply:
        bad = asked.message == MESSAGES["d2"]
        return Reply(error("filtered", code="content_filter"), 400) if bad else Reply(completion())

    with EndpointServer(filtered) as server:
        found, _ = ask(server)
    assert (found["d2"].status, found["d2"].output) == ("answered", "")
    assert len(found) == len(MESSAGES)


# --- the key ---


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ENDPOINT_KEY", KEY)
    return KEY


def test_the_key_is_sent_and_nothing_else_of_this_machine(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would add other keys of the environment, and what it runs on."""
    for name, value in {
        "OPENAI_API_KEY": "sk-another",
        "OPENAI_ADMIN_KEY": "sk-admin",
        "OPENAI_ORG_ID": "org-secret",
        "OPENAI_PROJECT_ID": "proj-secret",
        "OPENAI_CUSTOM_HEADERS": "X-Secret: custom-secret\nAuthorization: Bearer sk-custom",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    with EndpointServer(good) as server:
        ask(server, api_key_env="ENDPOINT_KEY")
    for asked in server.asked:
        assert asked.headers.pop("authorization") == f"Bearer {key}"
        assert asked.headers.keys() <= {*endpoint.SENT_HEADERS, "accept-encoding"}
        assert not any(word in json.dumps(asked.headers) for word in ("secret", "sk-"))


def test_no_key_of_another_service_is_sent_to_a_server_that_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with EndpointServer(good) as server:
        ask(server)
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {endpoint.NO_KEY}"}


def test_the_key_comes_from_the_environment_or_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = spec_of("http://localhost:1/v1", api_key_env="ENDPOINT_KEY")
    with pytest.raises(ModelError, match=r"\$ENDPOINT_KEY is not set"):
        endpoint.find(spec)
    (tmp_path / ".env").write_text("ENDPOINT_KEY=from-file\n")
    assert endpoint.find(spec).key == "from-file"
    monkeypatch.setenv("ENDPOINT_KEY", "from-environment")
    assert endpoint.find(spec).key == "from-environment"
    monkeypatch.setenv("ENDPOINT_KEY", "not a key")
    with pytest.raises(HubError) as raised:
        endpoint.find(spec)
    assert "not a key" not in str(raised.value)


def test_an_endpoint_does_not_show_its_key(key: str) -> None:
    assert KEY not in repr(endpoint.find(spec_of("http://localhost:1/v1", api_key_env="ENDPOINT_KEY")))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(key: str, status: int) -> None:
    """Neither to another host, where the key must not go, nor to another path, which would drop what was asked."""
    with EndpointServer(good) as elsewhere:
        moved = Reply(b"", status, {"Location": f"{elsewhere.base_url}/chat?secret=1"})
        with (
            EndpointServer(always(moved)) as server,
            pytest.raises(ModelError, match=f"answered {status}, moved to http://127.0.0.1; ") as raised,
        ):
            ask(server, api_key_env="ENDPOINT_KEY")
    assert elsewhere.asked == []
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500])
@pytest.mark.usefixtures("impatient")
def test_a_key_that_is_sent_back_is_neither_said_nor_kept(key: str, status: int) -> None:
    """Servers put it into their errors; no part of what goes to the store or the screen may hold it."""
    echo = completion(f"the key is {key}", model=f"m-{key}", system_fingerprint=key)
    reply = Reply(echo if status == 200 else error(f"Incorrect API key provided: {key}", code=key, param=key), status)
    with EndpointServer(always(reply)) as server:
        if status == 200:
            found, served = ask(server, {"d0": "m"}, api_key_env="ENDPOINT_KEY")
            assert KEY not in f"{found}{served}"
            assert found["d0"].output == "the key is [key]"
            return
        with pytest.raises(ModelError) as raised:
            ask(server, {"d0": "m"}, api_key_env="ENDPOINT_KEY")
    assert KEY not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("base_url", "clear"),
    [
        ("http://192.168.0.5/v1", True),
        ("http://localhost.example.com/v1", True),
        ("https://api.example.com/v1", False),
        ("http://localhost:8080/v1", False),
        ("http://127.0.0.1/v1", False),
        ("http://[::1]:8080/v1", False),
    ],
)
def test_a_key_that_could_be_read_on_the_way_is_seen(key: str, base_url: str, clear: bool) -> None:
    assert endpoint.find(spec_of(base_url, api_key_env="ENDPOINT_KEY")).sends_key_in_clear is clear
    assert not endpoint.find(spec_of(base_url)).sends_key_in_clear


# --- the same server all along ---


def test_another_model_behind_the_address_is_not_taken_for_the_same() -> None:
    with (
        EndpointServer(lambda asked, number: Reply(completion(model="a" if number < 3 else "b"))) as server,
        pytest.raises(ModelError, match="answers as 'b' now, but gave the answers so far as 'a'"),
    ):
        ask(server, concurrency=1)
    before = Served(served_model="z", system_fingerprint="b0", request="", schema_kept=True)
    with EndpointServer(good) as server, pytest.raises(ModelError, match="answers as 'tiny' now"):
        ask(server, before=before)


def test_a_server_that_takes_its_requests_otherwise_than_before_is_not_asked_on() -> None:
    with EndpointServer(good) as server:
        _, before = ask(server)
    with (
        EndpointServer(Picky({"json_schema": "not any more"})) as server,
        pytest.raises(ModelError, match=r'"response_format": "json_object".* now, but gave the answers so far'),
    ):
        ask(server, before=before)


def test_what_was_known_is_added_to() -> None:
    with EndpointServer(good) as server:
        _, before = ask(server)
    assert before is not None
    known = dataclasses.replace(before, schema_kept=False, system_fingerprint="b0")
    with EndpointServer(good) as server:
        _, served = ask(server, before=known)
    assert served is not None
    assert (served.schema_kept, served.system_fingerprint) == (False, "b0, b1")


def test_leaving_early_drops_what_is_in_flight() -> None:
    done = threading.Event()

    def first_only(asked: Asked, number: int) -> Reply:
        if number:
            done.wait(20)
        return Reply(completion())

    with EndpointServer(first_only) as server:
        spec = spec_of(server)
        events = endpoint.answers(endpoint.find(spec), spec, TASK, MESSAGES)
        while not isinstance(next(events), Answer):
            pass
        until(lambda: len(server.asked) == 5)
        started, threads = time.monotonic(), threading.active_count()
        events.close()  # type: ignore[attr-defined]
        assert time.monotonic() - started < 1
        assert threading.active_count() < threads
        done.set()
    gc.collect()


# --- in a comparison ---


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(llama_build, "look", lambda: BUILD)
    return Store(tmp_path / "results.db")


@pytest.fixture
def options(releases: Path) -> Options:
    return Options(task=TASK, dataset=datasets.load(str(releases)), excerpt_chars=6000)


def reader(asked: Asked, number: int) -> Reply:
    """Reads the figures of conftest's releases without a mistake, if slowly."""
    time.sleep(0.02)
    basic, diluted = re.findall(r"per share were \$([0-9.]+[0-9])", asked.message)
    return Reply(completion(json.dumps({"basic": float(basic), "diluted": float(diluted), "adjusted": None})))


def test_reader_finds_the_figures() -> None:
    text = "Basic earnings per share were $1.41 and diluted earnings per share were $1.31.\n"
    reply = reader(Asked("", {}, {"messages": [{"content": text}]}), 0)
    assert json.loads(reply.body["choices"][0]["message"]["content"])["diluted"] == 1.31


PRICES = {"usd_per_million_prompt_tokens": 2.5, "usd_per_million_generated_tokens": 10.0}


def test_an_endpoint_is_scored_and_stored_with_where_it_came_from(store: Store, options: Options) -> None:
    with EndpointServer(reader) as server:
        asked = contenders([spec_of(server, quantization="Q4_1", **PRICES)], [quant("Q8_0"), quant("Q2_K")])
        run_id = pipeline.compare(asked, options, store)
    (row,) = asked_for(results.comparison([run_id], store).leaderboard)
    assert (row["status"], row["eps_score"], row["n_documents"]) == ("finished", 1, 5)
    assert (row["quant"], row["size_bytes"], row["file_sha256"], row["bits_per_weight"]) == ("Q4_1", None, None, None)
    assert (row["base_url"], row["served_model"], row["schema_kept"]) == (server.base_url, "tiny", 1)
    assert row["usd_per_document"] == pytest.approx((100 * 2.5 + 20 * 10) / 1e6)
    assert (row["prompt_tokens_per_second"], row["generation_tokens_per_second"]) == (None, None)
    assert row["documents_per_minute"] == pytest.approx(60 * 5 / row["wall_seconds"])
    (answer, *_) = store.answers(1)
    assert (answer["prompt_tokens"], answer["generated_tokens"]) == (100, 20)
    contender = store.contender(1)
    assert (contender["system_fingerprint"], json.loads(contender["request"])["model"]) == ("b1", "tiny")


def test_a_rate_is_of_the_clock_and_not_of_requests_added_up(store: Store, options: Options) -> None:
    def slow(asked: Asked, number: int) -> Reply:
        time.sleep(0.2)
        return reader(asked, number)

    with EndpointServer(slow) as server:
        pipeline.compare(contenders([spec_of(server)], []), options, store)
    seconds = sum(answer["seconds"] for answer in store.answers(1))
    assert store.contender(1)["wall_seconds"] < 0.7 * seconds


def test_a_stopped_run_goes_on_and_asks_no_document_twice(store: Store, options: Options) -> None:
    fails = [3]

    def breaks(asked: Asked, number: int) -> Reply:
        return Reply(error("out of credit"), 402) if number in fails else reader(asked, number)

    with EndpointServer(breaks) as server:
        asked = contenders([spec_of(server, concurrency=1)], [])
        run_id = pipeline.compare(asked, options, store)
        (row,) = asked_for(results.comparison([run_id], store).leaderboard)
        assert (row["status"], row["eps_score"]) == ("failed", None)
        assert row["error"] == f"{server.base_url} answered 402: out of credit"
        first_wall = row["wall_seconds"]
        assert pipeline.compare(asked, options, store) == run_id
    (row,) = asked_for(results.comparison([run_id], store).leaderboard)
    assert (row["status"], row["error"], row["eps_score"]) == ("finished", None, 1)
    assert len(server.asked) == 6
    assert len({request.message for request in server.asked}) == 5
    assert row["wall_seconds"] > first_wall > 0


def test_answers_are_not_reused_in_another_run(store: Store, options: Options) -> None:
    """What stands behind an address changes."""
    with EndpointServer(reader) as server:
        asked = contenders([spec_of(server)], [])
        pipeline.compare(asked, options, store)
        pipeline.compare(asked, options, store)
        assert len(server.asked) == 5
        pipeline.compare(asked, dataclasses.replace(options, name="again"), store)
        assert len(server.asked) == 10


def test_a_mended_price_is_applied_without_asking_again(store: Store, options: Options) -> None:
    with EndpointServer(reader) as server:
        run_id = pipeline.compare(contenders([spec_of(server)], []), options, store)
        assert store.contender(1)["usd_per_document"] is None
        assert pipeline.compare(contenders([spec_of(server, concurrency=2, **PRICES)], []), options, store) == run_id
        assert len(server.asked) == 5
    assert store.contender(1)["usd_per_document"] == pytest.approx(0.00045)


def test_what_was_not_counted_has_no_price(store: Store, options: Options) -> None:
    with EndpointServer(always(Reply(completion(usage=None)))) as server:
        pipeline.compare(contenders([spec_of(server, **PRICES)], []), options, store)
    assert store.contender(1)["usd_per_document"] is None


def test_a_failed_endpoint_leaves_the_next_contender_alone(store: Store, options: Options) -> None:
    said: list[str] = []

    class Heard(pipeline.SILENT.__class__):  # type: ignore[misc]
        def say(self, line: str) -> None:
            said.append(line)

    keyless = ModelSpec(
        key="a", provider="openai", base_url="http://127.0.0.1:1/v1", model="m", api_key_env="ENDPOINT_KEY"
    )
    gone = ModelSpec(key="b", provider="openai", base_url=f"http://127.0.0.1:{free_port()}/v1", model="m")
    with EndpointServer(reader) as server:
        run_id = pipeline.compare(contenders([keyless, gone, spec_of(server)], []), options, store, Heard())
    board = asked_for(results.comparison([run_id], store).leaderboard)
    assert [(row["model"], row["status"]) for row in board] == [("gpt", "finished"), ("a", "failed"), ("b", "failed")]
    assert "$ENDPOINT_KEY is not set" in board[1]["error"]
    assert "refuses connections" in board[2]["error"]
    assert len(said) == 2


def test_a_key_in_the_clear_is_said(store: Store, options: Options, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Heard(pipeline.SILENT.__class__):  # type: ignore[misc]
        def say(self, line: str) -> None:
            said.append(line)

    monkeypatch.setattr(endpoint.Endpoint, "is_on_this_machine", False)
    with EndpointServer(reader) as server:
        pipeline.compare(contenders([spec_of(server, api_key_env="ENDPOINT_KEY")], []), options, store, Heard())
    assert said == [f"WARNING: $ENDPOINT_KEY goes to {server.base_url} unencrypted; https would hide it"]


def test_the_key_is_nowhere_in_the_store(store: Store, options: Options, key: str) -> None:
    echo = completion(f"the key is {key}", model=key, system_fingerprint=key)
    with EndpointServer(always(Reply(echo))) as server:
        pipeline.compare(contenders([spec_of(server, api_key_env="ENDPOINT_KEY")], []), options, store)
    store.close()
    for file in store.path.parent.iterdir():
        if file.is_file():
            assert key.encode() not in file.read_bytes()


def test_an_endpoint_has_no_file(store: Store) -> None:
    spec = spec_of("http://127.0.0.1:1/v1")
    for make in (prepare.pull, prepare.convert, lambda spec, store: prepare.quantize(spec, [quant("Q8_0")], store)):
        with pytest.raises(ModelError, match="there is no file of it; compare it instead"):
            make(spec, store)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'gguf-bench\[api\]'"):
        endpoint.find(spec_of("http://127.0.0.1:1/v1"))


def test_a_price_has_its_column_and_the_table_fits(
    store: Store, options: Options, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with EndpointServer(reader) as server:
        free = pipeline.compare(contenders([spec_of(server)], []), options, store)
        spec = dataclasses.replace(spec_of(server, **PRICES), key="gpt_with_a_name_of_its_own", quantization="Q4_K_M")
        priced = pipeline.compare(contenders([spec], []), options, store)
    terminal.print_comparison(results.comparison([free], store), as_json=False)
    assert "$/1k docs" not in capsys.readouterr().out
    terminal.print_comparison(results.comparison([priced], store), as_json=False)
    shown = capsys.readouterr().out
    assert "$/1k docs" in shown
    assert "0.45" in shown
    assert max(map(len, shown.splitlines())) <= 80
    terminal.print_comparison(results.comparison([priced], store), as_json=True)
    (row,) = asked_for(json.loads(capsys.readouterr().out)["leaderboard"])
    assert row["usd_per_document"] == pytest.approx(0.00045)


# --- the entry ---

ENTRY = """\
api_models:
  gpt:
    provider: openai
    base_url: http://localhost:8080/v1
    model: smollm2
    api_key_env: OPENAI_API_KEY
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "models.yaml"
        path.write_text(text)
        return path

    return write


def test_an_entry(written: Callable[[str], Path]) -> None:
    more = "    concurrency: 8\n    usd_per_million_prompt_tokens: 2\n    usd_per_million_generated_tokens: 0.6\n"
    catalog = load_catalog(written(ENTRY + more))
    spec = resolve("gpt", catalog)
    assert (spec.provider, spec.model, spec.api_key_env, spec.group) == (
        "openai",
        "smollm2",
        "OPENAI_API_KEY",
        "api_models",
    )
    assert (spec.concurrency, spec.usd_per_million_prompt_tokens, spec.usd_per_million_generated_tokens) == (
        8,
        2.0,
        0.6,
    )
    assert [contender.quant for contender in contenders([spec], [quant("Q8_0")])] == [None]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("concurrency: 0", "wanted 1 to"),
        ("concurrency: 2.5", "wanted a whole number"),
        ("usd_per_million_prompt_tokens: 1", "usd_per_million_generated_tokens': missing"),
        ("usd_per_million_generated_tokens: 1", "usd_per_million_prompt_tokens': missing"),
        ("usd_per_million_prompt_tokens: -1", "wanted a price"),
        ("usd_per_million_prompt_tokens: free", "wanted a number"),
        ("usd_per_million_prompt_tokens: true", "wanted a number"),
        (f"usd_per_million_prompt_tokens: {'9' * 400}", "wanted a number"),
    ],
)
def test_mistakes_in_an_entry(written: Callable[[str], Path], line: str, says: str) -> None:
    with pytest.raises(GgufBenchError, match=says):
        load_catalog(written(f"{ENTRY}    {line}\n"))


@pytest.mark.parametrize(
    "address",
    [
        "http://user:hunter2@localhost/v1",
        "http://hunter2@localhost/v1",
        "http://x/v1?key=hunter2",
        "http://x/v1#hunter2",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_shown(written: Callable[[str], Path], address: str) -> None:
    text = ENTRY.replace("http://localhost:8080/v1", f'"{address}"')
    with pytest.raises(GgufBenchError, match="named by api_key_env") as raised:
        load_catalog(written(text))
    assert "hunter2" not in str(raised.value)


# --- the command, and real servers ---


def test_ctrl_c_stops_soon_and_the_run_goes_on_later(
    releases: Path, tmp_path: Path, written: Callable[[str], Path], gguf_bench: Any
) -> None:
    hanging, done = threading.Event(), threading.Event()

    def two_then_none(asked: Asked, number: int) -> Reply:
        if number >= 2 and not done.is_set():
            hanging.set()
            done.wait(60)
        return reader(asked, number)

    def answered() -> set[str]:
        with closing(sqlite3.connect(tmp_path / "r.db")) as connection:
            return {document_id for (document_id,) in connection.execute("select document_id from answers")}

    with EndpointServer(two_then_none) as server:
        models = written(
            ENTRY.replace("http://localhost:8080/v1", server.base_url).replace("    api_key_env: OPENAI_API_KEY\n", "")
        )
        arguments = ["--models", models, "--db", tmp_path / "r.db", "compare", "gpt", "--dataset", releases]
        command = [sys.executable, "-m", "gguf_bench", *map(str, arguments)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=with_default_signals)
        assert hanging.wait(60), "it never asked"
        until(answered)  # the one who asks may not have come to storing what it heard before
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, stderr = process.communicate(timeout=30)
        assert time.monotonic() - started < 2
        assert (process.returncode, "run the same command again" in stderr) == (130, True)
        done.set()
        stored = answered()
        again = gguf_bench(*arguments, "--json")
    assert again.returncode == 0, again.stderr
    assert 1 <= len(stored) <= 2
    documents = [json.loads(line) for line in releases.read_text().splitlines()]
    times_asked = {each["id"]: sum(each["company"] in asked.message for asked in server.asked) for each in documents}
    assert all(times_asked[each] == 1 for each in stored)
    assert set(times_asked.values()) <= {1, 2}, "asked in the first sitting, the second, or both"
    assert [row["eps_score"] for row in asked_for(json.loads(again.stdout)["leaderboard"])] == [1]


@contextmanager
def running(command: list[str], address: str, log: Path) -> Iterator[None]:
    """A server in a process of its own, from when it answers until it is ended."""
    with log.open("wb") as file:
        environment = {**os.environ, "GOMP_SPINCOUNT": "20000"}  # or it spins where others compute
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        try:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline, log.read_text()[-2000:]
                try:
                    with urllib.request.urlopen(address, timeout=2):
                        break
                except OSError:
                    time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)


def compared(
    base_url: str, releases: Path, store: Store, *, n_short: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The leaderboard's row of a server, and its answers; the last document is too long for it."""
    dataset = datasets.load(str(releases))
    *few, last = dataset.documents
    long = dataclasses.replace(last, text="Nothing to see here, move along. " * 300 + last.text)
    dataset = dataclasses.replace(dataset, documents=(*few[:n_short], long))
    options = Options(task=TASK, dataset=dataset, excerpt_chars=None)
    run_id = pipeline.compare(contenders([spec_of(base_url, concurrency=2, **PRICES)], []), options, store)
    (row,) = asked_for(results.comparison([run_id], store).leaderboard)
    return row, store.answers(1)


@pytest.mark.model
def test_llama_server(smollm2: Path, releases: Path, tmp_path: Path, store: Store) -> None:
    """The real one, which keeps to the schema and says when a prompt does not fit."""
    binary = os.environ.get("GGUF_BENCH_LLAMA_SERVER")
    if not binary:
        pytest.skip("$GGUF_BENCH_LLAMA_SERVER does not name a llama-server")
    port = free_port()
    command = [binary, "-m", str(smollm2), "--port", str(port), "-c", "2048", "-np", "2", "-t", "2"]
    with running(command, f"http://127.0.0.1:{port}/health", tmp_path / "log"):
        row, answers = compared(f"http://127.0.0.1:{port}/v1", releases, store, n_short=2)
    assert (row["status"], row["over_context"], row["unparseable"]) == ("finished", 1, 0), row["error"]
    assert row["schema_kept"] == 1
    assert row["served_model"]
    assert row["usd_per_document"] > 0
    assert all(set(json.loads(a["output"])) == {"basic", "diluted", "adjusted"} for a in answers if a["output"])


@pytest.mark.model
def test_llama_cpp_server(smollm2: Path, releases: Path, tmp_path: Path, store: Store) -> None:
    """The real one of llama-cpp-python, which knows no schema, and says so by an error of its own (HTTP 500)."""
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(smollm2), "--port", str(port)]
    command += ["--n_ctx", "1024", "--n_threads", "2"]
    with running(command, f"http://127.0.0.1:{port}/v1/models", tmp_path / "log"):
        row, answers = compared(f"http://127.0.0.1:{port}/v1", releases, store, n_short=1)
    assert (row["status"], row["over_context"], row["n_documents"]) == ("finished", 1, 2), row["error"]
    assert [answer["prompt_tokens"] > 50 for answer in answers if answer["status"] != "over_context"] == [True]
    assert json.loads(store.contender(1)["request"])["response_format"] == "json_object"
    assert row["schema_kept"] is None
