"""FAMILIES. The leaderboard of a comparison -> the best of each family, and what quantizing costs. Pure: rows in.

A family is what shares a group, a base model, a type or a number of parameters. Only contenders that were asked for
are of one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gguf_bench.records import FAMILY_COLUMNS, Family, QuantizationCost, Verdict

Row = Mapping[str, Any]


def families(leaderboard: Sequence[Row], by: str) -> list[Family]:
    """The families by one of FAMILY_COLUMNS, that of the best contender first; those without any score last.

    `leaderboard` as of Comparison, best first.
    """
    members: dict[str, list[Row]] = {}
    for row in leaderboard:
        if row["asked"]:
            members.setdefault(row[FAMILY_COLUMNS[by]] or "", []).append(row)
    found = []
    for value, rows in members.items():
        scored = [row for row in rows if row["eps_score"] is not None]
        found.append(
            Family(
                value=value,
                best=scored[0]["name"] if scored else None,
                eps_score=scored[0]["eps_score"] if scored else None,
                mean_eps_score=math.fsum(row["eps_score"] for row in scored) / len(scored) if scored else None,
                n_scored=len(scored),
                n_unscored=len(rows) - len(scored),
            )
        )
    return found


def quantization_costs(leaderboard: Sequence[Row], verdicts: Sequence[Verdict]) -> list[QuantizationCost]:
    """Every file of a base model beside that of the highest precision, largest first, model by model.

    Models of which only one file has a score are left out.
    """
    pairs = {frozenset((pair.better, pair.worse)): pair for pair in verdicts}
    files: dict[str, list[Row]] = {}
    for row in leaderboard:
        if row["asked"] and row["eps_score"] is not None and row["bits_per_weight"] is not None:
            files.setdefault(row["base_model"], []).append(row)
    found = []
    for base_model, rows in files.items():
        whole, *others = sorted(rows, key=lambda row: (-row["bits_per_weight"], -row["size_bytes"], row["name"]))
        for row in others:
            pair = pairs[frozenset((whole["name"], row["name"]))]
            lost, low, high = pair.seen_from(whole["name"])
            speeds = row["documents_per_minute"], whole["documents_per_minute"]
            found.append(
                QuantizationCost(
                    base_model=base_model,
                    name=row["name"],
                    quant=row["quant"],
                    beside=whole["name"],
                    bits_per_weight=row["bits_per_weight"],
                    size_bytes=row["size_bytes"],
                    size_saved=1 - row["size_bytes"] / whole["size_bytes"],
                    score_lost=lost,
                    low=low,
                    high=high,
                    shown=pair.shown,
                    times_as_fast=speeds[0] / speeds[1] if all(speeds) else None,
                )
            )
    return found


def base_models(contenders: Sequence[Row], artifacts: Mapping[str, Row]) -> dict[int, str]:
    """Contender id -> what its model is called without its type, the same for all files made of one checkpoint.

    That is how users call it, or where they call it in several ways, the repo it is from. `contenders` are rows of the
    table, `artifacts` those of their files and of what these were made of, by sha256. An adapter makes another model of
    its base.
    """
    keys = {row["id"]: _without_quant(row) for row in contenders}
    called: dict[str, dict[int, str]] = {}
    for row in contenders:
        origin = None if row["adapter_sha256"] else _origin(row["file_sha256"], artifacts)
        called.setdefault(origin or keys[row["id"]], {})[row["id"]] = keys[row["id"]]
    found = {}
    for origin, own in called.items():
        shortest = min(own.values(), key=lambda name: (len(name), name))
        name = origin if "/" in origin and len(set(own.values())) > 1 else shortest
        found.update(dict.fromkeys(own, name))
    return found


def _origin(file_sha256: str | None, artifacts: Mapping[str, Row]) -> str | None:
    """The Hub repo that a file was made of, else the sha256 of the first file."""
    seen: set[str] = set()
    while (artifact := artifacts.get(file_sha256 or "")) is not None and file_sha256 not in seen:
        if artifact["source_repo"]:
            return str(artifact["source_repo"])
        seen.add(artifact["sha256"])
        file_sha256 = artifact["parent_sha256"] or file_sha256
    return file_sha256


def _without_quant(contender: Row) -> str:
    """The contender's key without its type at the end: 'org/name' of 'org/name:Q4_K_M', 'x' of 'x.Q4_K_M.gguf'."""
    stem = re.sub(r"(-\d+-of-\d+)?\.gguf$", "", contender["model"], flags=re.IGNORECASE)
    quant = re.escape(contender["quant"] or "")
    return re.sub(rf"[.:_-]{quant}$", "", stem, flags=re.IGNORECASE) if quant else stem


def parameters(contender: Row, artifacts: Mapping[str, Row]) -> str | None:
    """How large the entry says the model is, else what its file has: '135M', '7.2B'. None for an endpoint without."""
    artifact = artifacts.get(contender["file_sha256"] or "")
    if contender["parameters"] or artifact is None:
        return contender["parameters"] or None
    millions = artifact["n_params"] / 1e6
    return f"{millions / 1000:.2g}B" if millions >= 999.5 else f"{millions:.0f}M"
