"""How often a busy Hub is asked again, and how long is waited between."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2
from huggingface_hub.errors import HfHubHTTPError

from gguf_bench.errors import one_line
from gguf_bench.progress import Progress

ATTEMPTS = 5
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
"""A server that asks for a longer wait is not waited for: the user is told, and pulling again resumes."""

RETRIED_STATUSES = (408, 429, 500, 502, 503, 504)


class Patience:
    """How long to wait after a failure, and when to give up. A server's own delay counts, up to a bound."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.failures = 0

    def restart(self) -> None:
        """Something came through: the next failure is the first again."""
        self.failures = 0

    def after(self, error: HfHubHTTPError | httpx2.TransportError) -> None:
        """Wait, and say so; raise `error` again when it is final, or the last of ATTEMPTS, or the wait is too long."""
        self.failures += 1
        wait = FIRST_WAIT_SECONDS * 2 ** (self.failures - 1)
        if isinstance(error, HfHubHTTPError):
            wait = wait_asked_for(error.response) or wait
            if error.response.status_code not in RETRIED_STATUSES:
                raise error
            what = f"the Hub answers {error.response.status_code} {error.response.reason_phrase}"
        else:
            what = f"the connection broke ({reason(error)})"
        if self.failures >= ATTEMPTS or wait > LONGEST_WAIT_SECONDS:
            raise error
        self.progress.say(f"{what}; trying again in {wait:.0f} s")
        time.sleep(wait)


def wait_asked_for(response: httpx2.Response) -> float | None:
    """Seconds that the server asks to wait: Retry-After (seconds or a date), or `t=` of the Hub's RateLimit."""
    asked = response.headers.get("Retry-After", "").strip()
    if not asked and response.status_code == 429:
        match = re.search(r"\bt\s*=\s*(\d+)", response.headers.get("RateLimit", ""))
        asked = match[1] if match else ""
    if asked.isdecimal():
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def reason(error: Exception) -> str:
    return one_line(str(error), 200) or type(error).__name__
