"""PULL: a Hub repo at one commit -> files in the Hub cache. The only package that imports huggingface_hub.

    access     the cache, the token, whether the Hub answers
    patience   how often a busy Hub is asked again
    repo       one repo: what is asked, what is fetched, what the Hub's refusals mean
    pulling    what a model needs of a repo, before gigabytes and then with them
    ready      ready-made GGUF repos of a model
    cached     revisions in the cache, and freeing them

The cache is huggingface_hub's own, used in place: blobs by etag, snapshots of symlinks by commit, its locks. What
it has been given by other tools is not fetched again, and they find what was pulled here.

The bytes are fetched by our own loop through huggingface_hub's HTTP session, because `hf_hub_download` (2.4) writes
each try to a new temporary file and deletes it on failure, so an interrupted shard starts from nothing. Here they go
to `blobs/<etag>.incomplete`, under huggingface_hub's lock, and the next run asks for the rest. A file gets its name
only after its hash was checked against the Hub's.
"""

from gguf_bench.hub.access import cache_folder, find_token, reachable
from gguf_bench.hub.cached import CachedRevision, Interrupted, cached_revisions, free, interrupted_downloads
from gguf_bench.hub.pulling import Preview, Pulled, PullPlan, look, plan, preview, pull, way_out
from gguf_bench.hub.ready import ready_made
from gguf_bench.hub.repo import CommitGone, Found, Hashes, HubAway

__all__ = [
    "CachedRevision",
    "CommitGone",
    "Found",
    "Hashes",
    "HubAway",
    "Interrupted",
    "Preview",
    "PullPlan",
    "Pulled",
    "cache_folder",
    "cached_revisions",
    "find_token",
    "free",
    "interrupted_downloads",
    "look",
    "plan",
    "preview",
    "pull",
    "reachable",
    "ready_made",
    "way_out",
]
