"""The page -> HTML: the template filled in, with its style and its script inside, and nothing from elsewhere.

The template escapes every string. Should that ever fail, the page's own Content-Security-Policy lets no script run but
the one whose hash it names, and lets the browser fetch nothing.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from importlib.metadata import version

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from gguf_bench.report.contents import Figure, Page
from gguf_bench.report.drawing import svg

MARK = '<meta name="generator" content="gguf-bench'
"""What tells a report of ours from any other file; it stands within the first few hundred bytes."""


def html(page: Page) -> str:
    """The whole file."""
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
    environment.filters |= {"drawn": _drawn, "tied": _tied}
    return environment.get_template("page.html").render(
        page=page,
        mark=Markup(MARK),
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


def _drawn(figure: Figure) -> dict[str, Markup]:
    """The SVG elements of a chart by the name of their size. Vega writes text into them as text."""
    return {name: Markup(svg(spec)) for name, spec in figure.specs.items()}
