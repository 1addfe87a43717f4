"""The Hub token: where it is looked for, and a holder that cannot give it away by accident.

The order, the first that is not empty wins:

    $HF_TOKEN                 then HF_TOKEN in ./.env
    $HUGGINGFACE_API_TOKEN    then HUGGINGFACE_API_TOKEN in ./.env
    $HUGGING_FACE_HUB_TOKEN   then HUGGING_FACE_HUB_TOKEN in ./.env
    the login cache of huggingface_hub (`hf auth login`), which `hub.find_token` asks

So the name decides first, and for one name the environment comes before the file: what is exported for one command
overrides what lies in the folder. Only `.env` of the current folder is read, never one further up.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from gguf_bench.errors import HubError

TOKEN_NAMES = ("HF_TOKEN", "HUGGINGFACE_API_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True)
class FoundToken:
    """A token and where it was found ("$HF_TOKEN", ".env: HF_TOKEN", ...). Only `.value` itself shows the value."""

    source: str
    value: str = field(repr=False)


def named_token(folder: Path | None = None) -> FoundToken | None:
    """The token of the environment or of `folder`/.env (the current folder), by the order above; None without one.

    Raises HubError when `.env` cannot be read, or what was found cannot be a token.
    """
    for name in TOKEN_NAMES:
        if token := named_secret(name, folder):
            return token
    return None


def named_secret(name: str, folder: Path | None = None) -> FoundToken | None:
    """The secret that the environment, else `folder`/.env, has under `name`: a token, or another service's key.

    None without one. Raises HubError as `named_token` does.
    """
    in_file = _dotenv((folder or Path()) / ".env")
    for source, value in ((f"${name}", os.environ.get(name)), (f".env: {name}", in_file.get(name))):
        if token := found(source, value):
            return token
    return None


def found(source: str, value: str | None) -> FoundToken | None:
    """`value` without line breaks and spaces around it, as a token; None when nothing is left.

    Raises HubError for characters that cannot stand in an HTTP header: the HTTP client would raise an error of its
    own that holds the value.
    """
    bare = "".join((value or "").splitlines()).strip()
    if not bare:
        return None
    if not all("!" <= character <= "~" for character in bare):
        raise HubError(
            f"the token in {source} has spaces or characters that no token has", hint="copy it again, without quotes"
        )
    return FoundToken(source, bare)


def _dotenv(file: Path) -> dict[str, str | None]:
    if not file.is_file():
        return {}
    try:
        # A token is taken as it stands: no ${NAME} in it is replaced.
        return dotenv_values(file, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        # No `from`: a decoding error carries the file's content.
        raise HubError(f"{file} cannot be read ({type(error).__name__})", hint="it must be UTF-8 text") from None
