"""A process of `drawing.Pens`: a spec a line on standard input, a reply a line on standard output.

It is started by its path and imports nothing but what draws, to be ready soon.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import vl_convert

VEGA_LITE = "6.1"
ANY_CHART = {"data": {"values": [{}]}, "mark": "point"}


def _reply(spec: Mapping[str, Any]) -> dict[str, str]:
    try:
        return {"svg": vl_convert.vegalite_to_svg(dict(spec), vl_version=VEGA_LITE, allowed_base_urls=[])}
    except ValueError as error:
        return {"error": str(error)}


def main() -> None:
    _reply(ANY_CHART)  # starts the engine
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(_reply(json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
