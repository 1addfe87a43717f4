"""The page -> HTML: the template filled in, with its style and its script inside, and nothing from elsewhere.

The template escapes every string. Should that ever fail, the page's own Content-Security-Policy lets no script run but
the one whose hash it names, and lets the browser fetch nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from importlib import resources
from importlib.metadata import version
from typing import TypeAlias

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from gguf_bench.report.contents import Figure, Page

Drawn: TypeAlias = Mapping[str, Mapping[str, Future[str]]]
"""The SVG elements of charts by the charts' ids and the names of their sizes."""


def html(page: Page, drawn: Drawn, *, mark: str) -> str:
    """The whole file; `drawn` has the charts, and `mark` is how its first lines say whose it is."""
    style, script = _file("page.css"), _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        loader=FunctionLoader(_file),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"drawn": partial(_drawn, drawn), "share": "{:.2f}%".format, "tied": _tied}
    return environment.get_template("page.html").render(
        page=page,
        mark=Markup(mark),
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        version=version("gguf-bench"),
    )


def _tied(text: str) -> str:
    """Our own words with figures that do not leave their unit at the end of a line."""
    return text.replace(" %", "\u00a0%").replace("n = ", "n\u00a0=\u00a0")


def _file(name: str) -> str:
    return resources.files("gguf_bench.report").joinpath("page", name).read_text(encoding="utf-8")


def _drawn(drawn: Drawn, figure: Figure) -> dict[str, Markup]:
    """The SVG elements of a chart by the name of their size. Vega writes text into them as text."""
    return {size: Markup(drawing.result()) for size, drawing in drawn[figure.id].items()}
