"""Formulas become MathML while the site is built: the browser sets them, and no script has to be fetched."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

MARKED = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]</(?P=tag)>(?P<after>[.,;:?)]*)',
    flags=re.DOTALL,
)
"""What pymdownx.arithmatex leaves of ``$…$`` and ``$$…$$``, and the punctuation that must not begin the next line."""

TIGHT = re.compile(r"<mo(?: fence=\"false\")?(?: stretchy=\"false\")?>(?=(?:&#x02016;|&#x0007C;|&#x02202;)</mo>)")
"""Before the bars of a norm or an absolute value, and before a partial derivative."""

SIGN = re.compile(r"(?<=&#x0003D;</mo>|&#x02264;</mo>|&#x02190;</mo>)<mo>(?=&#x02212;</mo>)")
"""Before a minus that follows a relation: a sign, and no difference."""

NAME = re.compile(r"<mo>(?P<name>[a-z]{3,})</mo>")
"""A function that the converter takes for an operator."""

APPLIED = re.compile(r"(?<!<msup>)(?<!<msub>)<mi>[a-z]{3,}</mi>(?!<mo stretchy=\"false\">&#x00028;|</mrow>)")
"""The name of a function before what it is applied to, where no bracket stands between them."""

ENVIRONMENT = re.compile(r"\\begin\{(?!cases|matrix|pmatrix|bmatrix|array)")
"""Environments that the converter does not know; it would print their ``&`` and ``\\\\`` as they stand."""


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """MkDocs calls this with the HTML of every page."""

    def formula(match: re.Match[str]) -> str:
        tex = html.unescape(match["tex"])
        if ENVIRONMENT.search(tex) or tex.count("{") != tex.count("}"):
            raise PluginError(f"{page.file.src_uri}: this formula cannot be converted: {tex.strip()}")
        mathml = spaced(convert(tex, display="block" if match["open"] == "[" else "inline"))
        marked = f'<{match["tag"]} class="arithmatex">{mathml}</{match["tag"]}>'
        if match["tag"] == "div" or not match["after"]:
            return marked + match["after"]
        return f'<span class="formula">{marked}{match["after"]}</span>'

    return MARKED.sub(formula, content)


def spaced(mathml: str) -> str:
    """With TeX's spaces: a browser puts its own on both sides of bars, ∂, a slash and the name of a function."""
    mathml = TIGHT.sub('<mo stretchy="false" lspace="0" rspace="0">', mathml)
    mathml = SIGN.sub('<mo form="prefix">', mathml)
    mathml = mathml.replace("<mo>&#x0002F;</mo>", '<mo lspace="0.05em" rspace="0.05em">/</mo>')
    mathml = NAME.sub(r"<mi>\g<name></mi>", mathml)
    return APPLIED.sub(r'\g<0><mspace width="0.167em" />', mathml)
