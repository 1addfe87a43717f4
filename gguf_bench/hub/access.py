"""The Hub as this machine has it: its cache, the token, and whether it answers at all."""

from __future__ import annotations

from pathlib import Path

import httpx2
from huggingface_hub import constants, get_session, get_token
from huggingface_hub.errors import OfflineModeIsEnabled, OIDCError

from gguf_bench import hub_token
from gguf_bench.errors import HubError, one_line
from gguf_bench.hub.patience import reason
from gguf_bench.hub_token import FoundToken


def cache_folder() -> Path:
    """The Hub cache: $HF_HUB_CACHE, or $HF_HOME/hub, as huggingface_hub has it."""
    return Path(constants.HF_HUB_CACHE)


def find_token() -> FoundToken | None:
    """The token by the order in `hub_token`, the login cache of huggingface_hub last; None when there is none.

    Raises HubError when what was found cannot be read or cannot be a token.
    """
    token = hub_token.named_token()
    if token is not None:
        return token
    try:
        return hub_token.found("the login cache (`hf auth login`)", get_token())
    except (OIDCError, OSError) as error:
        raise HubError(f"the login of huggingface_hub cannot be used: {one_line(str(error), 200)}") from error
    except UnicodeDecodeError:  # no `from`: the error carries the file's content
        raise HubError(f"the token file {constants.HF_TOKEN_PATH} is not text", hint="run `hf auth login`") from None


def reachable() -> str | None:
    """None when the Hub answers, else one line that says why not. Sends no token; takes a few seconds at most."""
    try:
        response = get_session().get(f"{constants.ENDPOINT}/api/models", params={"limit": 1}, timeout=5)
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE is set"
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return f"{constants.ENDPOINT} cannot be reached: {reason(error)}"
    if response.status_code >= 500:
        return f"{constants.ENDPOINT} answers {response.status_code}"
    return None
