"""Vega-Lite specs -> SVG, by vl-convert: the one module that knows it. It draws without a browser or the network."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

import vl_convert

VEGA_LITE = "6.1"


def warm_up() -> None:
    """Let the engine start while other work is done: it takes about half a second, in a thread of its own."""
    threading.Thread(target=_started, daemon=True).start()


@cache
def _started() -> None:
    svg({"data": {"values": [{}]}, "mark": "point"})


def svg(spec: Mapping[str, Any]) -> str:
    """The SVG element of a chart, for a page that has the CSS variables its colours are."""
    drawn: str = vl_convert.vegalite_to_svg(dict(spec), vl_version=VEGA_LITE, allowed_base_urls=[])
    return drawn[drawn.index("<svg") :]
