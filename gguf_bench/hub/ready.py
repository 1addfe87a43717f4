"""Where a checkpoint cannot be converted, somebody may have published its GGUF: what the Hub lists of those."""

from __future__ import annotations

import httpx2
from huggingface_hub import constants, get_session
from huggingface_hub.errors import OfflineModeIsEnabled

from gguf_bench.catalog import hub_id_mistake
from gguf_bench.hub_files import nearest_type

MOST_REPOS = 5
TIMEOUT_SECONDS = 10


def ready_made(name: str, wanted: str) -> str | None:
    """A MODEL argument, `org/name:TYPE`, for a ready-made GGUF of the model `name`; None where none is found.

    Of the most downloaded repos whose cards name `name` as what they were quantized from, the first that everybody may
    read; of its types `wanted`, or the one of the nearest size. One request, without a token and asked once: that it
    fails is no failure of what it was asked for.
    """
    tags = ["gguf", f"base_model:quantized:{name}"]
    try:
        answer = get_session().get(
            f"{constants.ENDPOINT}/api/models",
            params={"filter": tags, "sort": "downloads", "limit": MOST_REPOS, "full": True},
            timeout=TIMEOUT_SECONDS,
        )
        for repo in answer.json() if answer.is_success else ():
            label = nearest_type(wanted, [str(file["rfilename"]) for file in repo["siblings"]])
            if label and not repo.get("gated") and not repo.get("private") and not hub_id_mistake(repo["id"]):
                return f"{repo['id']}:{label}"
    except (httpx2.HTTPError, httpx2.InvalidURL, OfflineModeIsEnabled):
        return None
    except (AttributeError, KeyError, TypeError, ValueError):  # an answer that is none of a Hub's
        return None
    return None
