"""How docstrings become pages: roles become links, and methods that say nothing of their own are left out.

Docstrings say ``:class:`~neuro_eq.spec.Network```; on the site that is a link where the name has an entry.  A method
without a docstring fulfils what its base class documents.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Class, Extension, Object

ROLE = re.compile(r":(?:class|meth|func|mod|data|attr):`(?P<short>~?)(?P<path>[\w.]+)`")


def linked(text: str) -> str:
    """The text with every role as a link to its entry, or as code where it has none."""

    def link(match: re.Match[str]) -> str:
        path = match["path"]
        shown = path.rpartition(".")[2] if match["short"] else path
        if not path.startswith("neuro_eq."):
            return f"`{shown}`"
        return f'<autoref identifier="{path}" optional><code>{shown}</code></autoref>'

    return ROLE.sub(link, text)


class Roles(Extension):
    """Griffe calls this for every object that it reads."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring in place."""
        if obj.docstring is not None:
            obj.docstring.value = linked(obj.docstring.value)

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Drop the methods that only fulfil what a base class documents."""
        for name in [name for name, member in cls.members.items() if member.is_function and not member.docstring]:
            del cls.members[name]
