"""Formulas become MathML while the site is built: the browser sets them, and no script has to be fetched."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

MARKED = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]</(?P=tag)>', flags=re.DOTALL
)
"""What pymdownx.arithmatex leaves of ``$…$`` and ``$$…$$``."""

ENVIRONMENT = re.compile(r"\\begin\{(?!cases|matrix|pmatrix|bmatrix|array)")
"""Environments that the converter does not know; it would print their ``&`` and ``\\\\`` as they stand."""


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """MkDocs calls this with the HTML of every page."""

    def formula(match: re.Match[str]) -> str:
        tex = html.unescape(match["tex"])
        if ENVIRONMENT.search(tex) or tex.count("{") != tex.count("}"):
            raise PluginError(f"{page.file.src_uri}: this formula cannot be converted: {tex.strip()}")
        mathml = convert(tex, display="block" if match["open"] == "[" else "inline")
        return f'<{match["tag"]} class="arithmatex">{mathml}</{match["tag"]}>'

    return MARKED.sub(formula, content)
