"""How a figure may come out, kinds together that are alike."""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "right": ("var(--right)", ("right",)),
    "wrong period": ("var(--k1)", ("prior_period", "year_to_date")),
    "another EPS": ("var(--k2)", ("basic_diluted_swap", "gaap_adjusted_swap")),
    "another figure": ("var(--k3)", ("other_trap",)),
    "sign or scale": ("var(--k4)", ("sign", "scale")),
    "hallucinated": ("var(--k5)", ("hallucinated",)),
    "missed": ("var(--k6)", ("missed",)),
    "other": ("var(--k7)", ("other",)),
    "no answer": ("var(--k8)", ("unparseable", "over_context")),
}
"""The kinds of a figure, together where they are alike: name -> (colour, kinds)."""


KINDS = tuple(kind for _, kinds in GROUPS.values() for kind in kinds if kind != "right")
