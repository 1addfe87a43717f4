"""RUN, elsewhere: one contender's answers, asked of a server that speaks OpenAI's chat completions.

The only module that imports `openai`. How a server wants to be asked is found out with the first document, alone: it
may know no JSON schema, want another name for the limit of tokens, or allow no temperature. Every later request is the
same but for its message, several at a time.

The server is a stranger. What it sends is bounded in bytes and time, every part of it may be of the wrong type, and the
key goes to the address of the entry and nowhere else: no redirect is followed, and of what the client and its
environment variables would send along, only what the request needs leaves this machine.
"""

from __future__ import annotations

import asyncio
import email.utils
import importlib.util
import ipaddress
import json
import queue
import random
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2

from gguf_bench.errors import ModelError
from gguf_bench.hub_token import named_secret
from gguf_bench.records import Answer, ModelSpec, Served
from gguf_bench.tasks import Task
from gguf_bench.tasks.task import prompt_sha256

CONCURRENCY = 4
"""Requests in flight, where the entry does not say: what servers for one user batch well."""

REQUEST_SECONDS = 600.0
CONNECT_SECONDS = 10.0
RETRY_SECONDS = 120.0
"""How long a document is waited for in all, between tries."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 8.0

MAX_BODY_BYTES = 4 * 2**20
MAX_OUTPUT_CHARS = 20_000
MAX_NAME_CHARS = 200
MAX_FINGERPRINTS = 8
MAX_TOKENS_COUNTED = 2**31

THINKING_TOKENS = 4096
"""Added to the task's limit where the server insists on `max_completion_tokens`: such a model thinks before it answers,
and its thinking counts."""

NO_KEY = "none"
"""Sent where the entry names no key: servers that want none take any."""

SENT_HEADERS = ("host", "content-type", "content-length", "accept", "user-agent", "connection")

RESPONSE_FORMATS = ("json_schema", "json_object", "text")
"""How an answer's form is asked for, best first."""

TRANSIENT = {408, 409, 425, 429, *range(500, 600)} - {501, 505}
UNSUPPORTED = {400, 415, 422, 501}
"""What a server answers to a request that it understands only a part of."""

TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context (length|size|window)|maximum model length"
    r"|(prompt|input|request|message)s? (is|are|was) too (long|large)|too many (input )?tokens"
    r"|(prompt|input)[^.]{0,80} (exceeds?|too large)",
    re.IGNORECASE,
)
"""How OpenAI, llama-server, llama_cpp.server, vLLM, Mistral, Anthropic and Gemini say that a prompt does not fit."""

FILTERED = {"content_filter", "content_policy_violation"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server to ask, and the key for it. The key is shown by nothing but `.key` itself."""

    base_url: str
    key: str | None = field(repr=False)
    key_source: str = ""

    @property
    def sends_key_in_clear(self) -> bool:
        """Whether anybody on the way could read the key."""
        return self.key is not None and urlsplit(self.base_url).scheme == "http" and not self.is_on_this_machine

    @property
    def is_on_this_machine(self) -> bool:
        host = urlsplit(self.base_url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")


def find(spec: ModelSpec) -> Endpoint:
    """The endpoint of an entry with provider "openai", its key looked up in the environment, then in ./.env.

    Raises ModelError where the extra is not installed or there is no key.
    """
    if importlib.util.find_spec("openai") is None:
        raise ModelError(
            f"{spec.key} is served by an endpoint, which needs the openai package",
            hint="pip install 'gguf-bench[api]'",
        )
    if spec.api_key_env is None:
        return Endpoint(str(spec.base_url), None)
    secret = named_secret(spec.api_key_env)
    if secret is None:
        raise ModelError(
            f"{spec.key} needs a key, but ${spec.api_key_env} is not set", hint="set it, or put it in ./.env"
        )
    return Endpoint(str(spec.base_url), secret.value, secret.source)


def answers(
    endpoint: Endpoint,
    spec: ModelSpec,
    task: Task,
    messages: Mapping[str, str],
    before: Served | None = None,
    *,
    grammar: bool = True,
) -> Iterator[Served | Answer]:
    """Ask the server every one of `messages` (document id -> user message), several at a time, at temperature 0.

    With `grammar` the server is asked to hold answers to the task's form, as well as it can; else they are free.
    Yields an Answer a document in the order they come, and Served whenever something new is known of who answers.
    A prompt that does not fit the server's context is `over_context`. `before` is what was known when the contender was
    last asked: a server that has changed since raises ModelError, as does one that refuses, cannot be reached, or goes
    on failing for RETRY_SECONDS. Leaving the iterator early drops the requests in flight.
    """
    inbox: queue.SimpleQueue[Served | Answer | BaseException | None] = queue.SimpleQueue()
    asker = _Asker(endpoint, spec, task, messages, before, inbox, grammar=grammar)
    loop = asyncio.new_event_loop()
    asking = loop.create_task(asker.run())
    # In a thread of its own, so that a caller may have an event loop too, and Ctrl-C finds us waiting for the inbox.
    thread = threading.Thread(target=_drive, args=(loop, asking, inbox), daemon=True)
    thread.start()
    try:
        while (event := inbox.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event
    finally:
        with suppress(RuntimeError):  # the loop is closed: all is done
            loop.call_soon_threadsafe(asking.cancel)
        thread.join(timeout=1)


def usd_per_document(spec: ModelSpec, rows: Sequence[Mapping[str, Any]]) -> float | None:
    """What a document cost on average, by the entry's prices and the tokens the server counted; `rows` of `answers`.

    None without prices, or where the server did not count. Prices differ for cached tokens: this is the upper limit.
    """
    prompt_price, generated_price = spec.usd_per_million_prompt_tokens, spec.usd_per_million_generated_tokens
    counted = all(row["prompt_tokens"] or row["status"] == "over_context" for row in rows)
    if prompt_price is None or generated_price is None or not rows or not counted:
        return None
    prompt_tokens, generated_tokens = (sum(row[name] for row in rows) for name in ("prompt_tokens", "generated_tokens"))
    return float(prompt_tokens * prompt_price + generated_tokens * generated_price) / 1e6 / len(rows)


def _drive(loop: asyncio.AbstractEventLoop, asking: asyncio.Task[None], inbox: queue.SimpleQueue[Any]) -> None:
    try:
        loop.run_until_complete(asking)
    except asyncio.CancelledError:
        pass
    except BaseException as error:  # noqa: BLE001 (raised again where the answers are read)
        inbox.put(error)
    finally:
        inbox.put(None)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class _Refused(Exception):
    """The server said no, and would again: an HTTP status, and the server's own code, parameter and words."""

    def __init__(self, status: int, code: str, parameter: str, words: str) -> None:
        super().__init__(words)
        self.status, self.code, self.parameter, self.words = status, code, parameter, words

    @property
    def is_too_long(self) -> bool:
        return self.status in (400, 413, 422) and bool(TOO_LONG.search(f"{self.code} {self.words}"))

    @property
    def is_filtered(self) -> bool:
        return self.status == 400 and self.code in FILTERED

    def names(self, *parameters: str) -> bool:
        said = f"{self.parameter} {self.words}"
        return any(re.search(rf"\b{parameter}\b", said) for parameter in parameters)


class _Failed(Exception):
    """No answer this time: `seconds` is how long the server asks to wait. `is_lasting`: not worth a try at first."""

    def __init__(self, why: str, *, seconds: float | None = None, is_lasting: bool = False) -> None:
        super().__init__(why)
        self.seconds, self.is_lasting = seconds, is_lasting


class _Asker:
    """The asking itself, in its own event loop; what comes of it is put into `inbox`."""

    def __init__(
        self,
        endpoint: Endpoint,
        spec: ModelSpec,
        task: Task,
        messages: Mapping[str, str],
        before: Served | None,
        inbox: queue.SimpleQueue[Any],
        *,
        grammar: bool,
    ) -> None:
        self._endpoint, self._spec, self._task, self._messages = endpoint, spec, task, messages
        self._before, self._inbox = before, inbox
        self._max_tokens = task.answer_tokens(grammar=grammar)
        self._parameters: dict[str, Any] = {"temperature": 0, "seed": 0, "max_tokens": self._max_tokens}
        self._formats = list(RESPONSE_FORMATS if grammar else RESPONSE_FORMATS[-1:])
        self._is_settled = False
        self._served_model = before.served_model if before else ""
        self._fingerprints = before.system_fingerprint.split(", ") if before and before.system_fingerprint else []
        self._schema_kept = before.schema_kept if before else None
        self._told: Served | None = None

    async def run(self) -> None:
        import openai

        limits = httpx2.Limits(max_connections=self._concurrency, max_keepalive_connections=self._concurrency)
        async with openai.AsyncOpenAI(
            api_key=self._endpoint.key or NO_KEY,
            base_url=self._endpoint.base_url,
            max_retries=0,
            http_client=httpx2.AsyncClient(
                timeout=httpx2.Timeout(REQUEST_SECONDS, connect=CONNECT_SECONDS),
                limits=limits,
                follow_redirects=False,
                trust_env=not self._endpoint.is_on_this_machine,  # no proxy between this machine and itself
                event_hooks={"request": [self._only_what_is_needed], "response": [_bounded]},
            ),
        ) as self._client:
            pending = iter(self._messages.items())
            for document_id, message in pending:
                await self._ask(document_id, message)
                if self._is_settled:
                    break
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._concurrency):
                        group.create_task(self._ask_each(pending))
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from None

    @property
    def _concurrency(self) -> int:
        return self._spec.concurrency or CONCURRENCY

    async def _only_what_is_needed(self, request: httpx2.Request) -> None:
        """Drop what the client adds of its own and of $OPENAI_*: it is meant for another server, or for nobody."""
        for name in [name for name in request.headers if name.lower() not in SENT_HEADERS]:
            del request.headers[name]
        request.headers["authorization"] = f"Bearer {self._endpoint.key or NO_KEY}"
        request.headers["accept-encoding"] = "identity"  # what is counted is what comes: no bombs

    async def _ask_each(self, pending: Iterator[tuple[str, str]]) -> None:
        for document_id, message in pending:
            await self._ask(document_id, message)

    async def _ask(self, document_id: str, message: str) -> None:
        """One document, tried until it is answered. Raises ModelError."""
        waited, tries = 0.0, 0
        while True:
            started = time.monotonic()
            try:
                reply = await self._post(message)
                return self._read(document_id, message, reply, time.monotonic() - started)
            except _Refused as refused:
                if refused.is_too_long:
                    return self._put(document_id, message, "over_context")
                if refused.is_filtered:
                    return self._put(document_id, message, "answered")
                if not self._asks_otherwise(refused):
                    raise self._refusal(refused) from None
            except _Failed as failed:
                tries += 1
                rest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (tries - 1)) * random.uniform(0.75, 1)
                wait = rest if failed.seconds is None else failed.seconds
                waited += wait
                if waited > RETRY_SECONDS or (failed.is_lasting and not self._is_settled):
                    asked = f" and asks to wait {wait:.0f} s" if wait > RETRY_SECONDS else ""
                    often = f" (tried {tries} times)" if tries > 1 else ""
                    is_wrong = failed.is_lasting and not self._is_settled
                    hint = "is base_url right?" if is_wrong else "run the same command again to go on"
                    raise ModelError(f"{self._endpoint.base_url} {failed}{asked}{often}", hint=hint) from None
                await asyncio.sleep(wait)

    # --- asking ---

    async def _post(self, message: str) -> dict[str, Any]:
        """The server's JSON object. Raises _Refused, _Failed and ModelError, none of which holds the key."""
        import openai

        request = {
            "model": self._spec.model,
            "messages": [{"role": "user", "content": message}],
            **self._parameters,
            **self._response_format(),
            **self._template_kwargs,
        }
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                # As bytes: the client's own reading trusts the types of what it is sent.
                response = await self._client.post("/chat/completions", cast_to=httpx2.Response, body=request)
        except (TimeoutError, openai.APITimeoutError) as error:
            if isinstance(error.__cause__, httpx2.ConnectTimeout):
                raise _Failed("cannot be reached: no connection in time", is_lasting=True) from None
            raise ModelError(f"{self._endpoint.base_url} did not answer within {REQUEST_SECONDS:.0f} s") from None
        except openai.APIConnectionError as error:
            raise self._unreachable(error) from None
        except openai.APIStatusError as error:
            raise self._no(error.status_code, error.response.content, error.response.headers) from None
        reply = _json_object(response.content)
        if reply is None or not _choice(reply):
            if reply and isinstance(reply.get("error"), dict):  # routers pass on another server's error this way
                code = reply["error"].get("code")
                raise self._no(code if isinstance(code, int) and 400 <= code < 600 else 502, response.content, {})
            raise _Failed(f"sent something that is no chat completion (HTTP {response.status_code})", is_lasting=True)
        return reply

    def _response_format(self) -> dict[str, Any]:
        match self._formats[0]:
            case "json_schema":
                schema = {"name": self._task.name, "strict": True, "schema": self._task.json_schema}
                return {"response_format": {"type": "json_schema", "json_schema": schema}}
            case "json_object":
                return {"response_format": {"type": "json_object"}}
        return {}

    def _asks_otherwise(self, refused: _Refused) -> bool:
        """Ask for less, or by other names, if that may help: only until the first answer, so that all are alike."""
        if not self._could_ask_otherwise(refused):
            return False
        if "max_tokens" in self._parameters and refused.names("max_tokens", "max_completion_tokens"):
            del self._parameters["max_tokens"]
            self._parameters["max_completion_tokens"] = self._max_tokens + THINKING_TOKENS
            return True
        for parameter in ("seed", "temperature"):
            if parameter in self._parameters and refused.names(parameter):
                del self._parameters[parameter]
                return True
        if len(self._formats) > 1:
            del self._formats[0]
            return True
        return False

    def _could_ask_otherwise(self, refused: _Refused) -> bool:
        """Whether it is still open how to ask, and the refusal may be about that; llama_cpp.server's has status 500."""
        about_form = refused.status >= 500 and refused.names("response_format", "json_schema", "json_object")
        is_meant = refused.status in UNSUPPORTED or (about_form and len(self._formats) > 1)
        return is_meant and not self._is_settled and not refused.names("chat_template_kwargs")

    def _no(self, status: int, body: bytes, headers: Mapping[str, str]) -> Exception:
        """What an HTTP error comes to."""
        code, parameter, words = _said(body)
        words = self._one_line(words)
        if 300 <= status < 400:
            to = self._one_line(_origin(headers.get("location", "")))
            hint = "redirects are not followed, since the key must go nowhere else; mend base_url"
            return ModelError(f"{self._endpoint.base_url} answered {status}, moved to {to}", hint=hint)
        refused = _Refused(status, code, parameter, words)
        if self._could_ask_otherwise(refused) or status not in TRANSIENT or code == "insufficient_quota":
            return refused
        return _Failed(f"answered {status}: {words}", seconds=_retry_after(headers))

    def _refusal(self, refused: _Refused) -> ModelError:
        match refused.status:
            case 401 | 403 if self._endpoint.key is None:
                hint = "name the environment variable that holds the key by api_key_env"
            case 401 | 403:
                hint = f"look at the key in {self._endpoint.key_source}"
            case 404:
                hint = "look at model, and at base_url, which usually ends in /v1"
            case _:
                hint = ""
        return ModelError(f"{self._endpoint.base_url} answered {refused.status}: {refused.words}", hint=hint)

    def _unreachable(self, error: Exception) -> Exception:
        cause = error.__cause__
        if isinstance(cause, _TooMuch):
            return ModelError(f"{self._endpoint.base_url} sent {cause}")
        why = self._one_line(str(cause or error)) or type(cause or error).__name__
        if any(isinstance(link, ConnectionRefusedError) for link in _causes(error)):
            return ModelError(f"{self._endpoint.base_url} refuses connections", hint="is the server running?")
        if isinstance(cause, httpx2.ConnectError | httpx2.UnsupportedProtocol | httpx2.InvalidURL):
            return _Failed(f"cannot be reached: {why}", is_lasting=True)
        return _Failed(f"broke the connection: {why}")

    # --- reading ---

    def _read(self, document_id: str, message: str, reply: Mapping[str, Any], seconds: float) -> None:
        """Take over an answer. Raises ModelError where another model gave it than the ones before."""
        self._meet(reply)
        choice, usage = _choice(reply), _dict(reply.get("usage"))
        prompt_tokens, generated_tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        counts = {"prompt_tokens": prompt_tokens, "generated_tokens": generated_tokens, "prompt_seconds": seconds}
        cached = _count(_dict(usage.get("prompt_tokens_details")).get("cached_tokens"))
        if self._was_cut(message, prompt_tokens, cached) or self._is_over_own_context(prompt_tokens):
            return self._put(document_id, message, "over_context", **counts)
        output = self._clean(_content(_dict(choice.get("message"))))[:MAX_OUTPUT_CHARS]
        if self._formats[0] == "json_schema" and choice.get("finish_reason") != "length":
            kept = _fits(output, self._task.json_schema)
            self._schema_kept = kept and self._schema_kept is not False
            self._tell()
        return self._put(document_id, message, "answered", output=output, **counts)

    def _put(self, document_id: str, message: str, status: Any, **found: Any) -> None:
        self._inbox.put(Answer(document_id=document_id, status=status, prompt_sha256=prompt_sha256(message), **found))

    def _meet(self, reply: Mapping[str, Any]) -> None:
        """Learn who answers."""
        model, fingerprint = (self._one_line(reply.get(name)) for name in ("model", "system_fingerprint"))
        if model and self._served_model and model != self._served_model:
            raise self._changed(f"answers as {model!r} now", f"as {self._served_model!r}")
        self._served_model = model or self._served_model
        if fingerprint and fingerprint not in self._fingerprints and len(self._fingerprints) < MAX_FINGERPRINTS:
            self._fingerprints.append(fingerprint)
        if not self._is_settled and self._before and self._before.request != self._request:
            raise self._changed(f"takes {self._request} now", self._before.request)
        self._is_settled = True
        self._tell()

    def _changed(self, now: str, then: str) -> ModelError:
        hint = "begin anew with --fresh; one contender is one model"
        return ModelError(f"{self._endpoint.base_url} {now}, but gave the answers so far {then}", hint=hint)

    @property
    def _request(self) -> str:
        """What is stored of the requests: everything but the message."""
        form = {"response_format": self._formats[0]}
        return json.dumps(
            {"model": self._spec.model, **self._parameters, **form, **self._template_kwargs}, sort_keys=True
        )

    @property
    def _template_kwargs(self) -> dict[str, Any]:
        """The template itself is the server's: a `chat_template` of the entry is for a file."""
        kwargs = {name: value for name, value in self._spec.template_kwargs.items() if name != "chat_template"}
        return {"chat_template_kwargs": kwargs} if kwargs else {}

    def _tell(self) -> None:
        served = Served(
            served_model=self._served_model,
            system_fingerprint=", ".join(self._fingerprints),
            request=self._request,
            schema_kept=self._schema_kept,
        )
        if served != self._told:
            self._told = served
            self._inbox.put(served)

    def _was_cut(self, message: str, prompt_tokens: int, cached: int) -> bool:
        """Whether the server counted fewer tokens than the message has words: Ollama cuts prompts without a word.

        A tokenizer makes at least one token of a word. A server that counts nothing is believed.
        """
        return 0 < prompt_tokens + cached < len(message.split())

    def _is_over_own_context(self, prompt_tokens: int) -> bool:
        """Whether the entry's `context` is too small for prompt and answer, as it would be for a file."""
        return self._spec.context is not None and prompt_tokens > self._spec.context - self._max_tokens

    def _clean(self, text: str) -> str:
        """`text` that can be stored: without the key, and without half surrogate pairs, which are no text."""
        key = self._endpoint.key
        return (text.replace(key, "[key]") if key else text).encode("utf-8", "replace").decode("utf-8")

    def _one_line(self, text: object) -> str:
        if not isinstance(text, str):
            return ""
        words = " ".join("".join(c if c.isprintable() else " " for c in self._clean(text)).split())
        return words if len(words) <= MAX_NAME_CHARS else words[: MAX_NAME_CHARS - 3] + "..."


class _TooMuch(httpx2.DecodingError):
    """The server sends more than any answer takes, or in a form that was not asked for."""


async def _bounded(response: httpx2.Response) -> None:
    """End a response that grows beyond MAX_BODY_BYTES, or is packed although nobody asked for it."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise _TooMuch("a compressed body, which was not asked for", request=response.request)
    response.stream = _BoundedStream(response)


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        self._stream, self._request = response.stream, response.request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        n_bytes = 0
        async for chunk in self._stream:
            n_bytes += len(chunk)
            if n_bytes > MAX_BODY_BYTES:
                raise _TooMuch(f"more than {MAX_BODY_BYTES} bytes", request=self._request)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


# --- reading what a stranger sent: never an exception, whatever it is ---


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _choice(reply: Mapping[str, Any]) -> dict[str, Any]:
    """The first choice that has a message, or an empty one."""
    choices = reply.get("choices")
    first = _dict(choices[0]) if isinstance(choices, list) and choices else {}
    return first if isinstance(first.get("message"), dict) else {}


def _content(message: Mapping[str, Any]) -> str:
    """What the model said: its content, else why it would say nothing, else the tools it called."""
    content, refusal, tool_calls = message.get("content"), message.get("refusal"), message.get("tool_calls")
    if isinstance(content, list):
        parts = (_dict(part).get("text") for part in content)
        content = "".join(part for part in parts if isinstance(part, str))
    if isinstance(content, str) and content:
        return content
    if isinstance(refusal, str) and refusal:
        return refusal
    return json.dumps({"tool_calls": tool_calls}) if tool_calls else ""


def _count(value: object) -> int:
    """A number of tokens; 0 for what is none."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_TOKENS_COUNTED
    return int(value) if is_count and isinstance(value, int) else 0


def _said(body: bytes) -> tuple[str, str, str]:
    """(code, parameter, words) of an error, in any of the forms that servers use."""
    reply = _json_object(body)
    if reply is None:
        return "", "", body[:1000].decode("utf-8", "replace")
    error = reply.get("error") or reply
    if not isinstance(error, dict):
        return "", "", str(error)
    code, kind, parameter = (str(error.get(name) or "") for name in ("code", "type", "param"))
    words = next((error[name] for name in ("message", "detail", "error") if error.get(name)), "")
    return code if not code.isdecimal() else kind, parameter, str(words)[:2000]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait (RFC 9110: a number, or a date); None where it does not say."""
    said = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", said):
        return float(said)
    with suppress(ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    return None


def _origin(location: str) -> str:
    """'https://host' of an address: the rest may hold secrets."""
    with suppress(ValueError):
        parts = urlsplit(location)
        if parts.hostname:
            return f"{parts.scheme or 'http'}://{parts.hostname}"
    return "another path"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and everything behind it."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _causes(inner)
        error = error.__cause__ or error.__context__


def _fits(output: str, schema: Mapping[str, Any]) -> bool:
    """Whether `output` is JSON of a flat `schema`: an object with all of its properties and no others."""
    found = _json_object(output.encode("utf-8", "replace"))
    properties = schema["properties"]
    if found is None or set(found) != set(properties):
        return False
    return all(_json_type(found[name]) in properties[name]["type"] for name in properties)


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else "other"
