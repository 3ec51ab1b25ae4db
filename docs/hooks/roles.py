"""How docstrings become pages: roles become links, and each thing is said once.

Docstrings say ``:class:`~neuro_eq.spec.Network```; on the site that is a link where the name has an entry.  A method
without a docstring fulfils what its base class documents, and an attribute that its class's docstring lists, or of
which the signature says all, needs no entry of its own.  The signature of a frozen model is written from its fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from griffe import (
    Attribute,
    Class,
    Expr,
    ExprCall,
    ExprKeyword,
    ExprSubscript,
    Extension,
    Function,
    Module,
    Object,
    Parameter,
    ParameterKind,
    Parameters,
)

ROLE = re.compile(r":(?:class|meth|func|mod|data|attr):`(?P<short>~?)(?P<path>[\w.]+)`")
SECTION = re.compile(r"(?P<indent> *)(?P<title>Args|Attributes):")
ITEM = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<text>.*)")
MODEL = "neuro_eq.frozen.Frozen"
BOUNDS = re.compile(r"\b[gl][te]=")
ANY = re.compile(r"SerializeAsAny\[([\w.]+)\]")
PLAIN = {"Nudge": "float"}
"""What a checked type is to a reader."""


def linked(text: str) -> str:
    """The text with every role as a link to its entry, or as code where it has none."""

    def link(match: re.Match[str]) -> str:
        path = match["path"]
        shown = path.rpartition(".")[2] if match["short"] else path
        if not path.startswith("neuro_eq."):
            return f"`{shown}`"
        return f'<autoref identifier="{path}" optional><code>{shown}</code></autoref>'

    return ROLE.sub(link, text)


def single(text: str) -> tuple[str, set[str]]:
    """The text with ``n_in, n_out: units`` as one line for each name, and all names that it lists."""
    written: list[str] = []
    listed: set[str] = set()
    indent: int | None = None
    names: list[str] = []
    item: list[str] = []

    def finish() -> None:
        for name in names:
            written.append(f"{' ' * (indent or 0)}{name}: {item[0]}")
            written.extend(item[1:])
        names.clear()
        item.clear()

    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        if section := SECTION.fullmatch(line):
            finish()
            indent = len(section["indent"]) + 4
            written.append(line)
        elif indent is not None and depth == indent and (match := ITEM.fullmatch(line.strip())):
            finish()
            names += match["names"].split(", ")
            listed.update(names)
            item.append(match["text"])
        elif names and depth > (indent or 0):
            item.append(line)
        else:
            finish()
            indent = indent if depth == indent or not line.strip() else None
            written.append(line)
    finish()
    return "\n".join(written), listed


class Roles(Extension):
    """Griffe calls this for every object that it reads, and at the end for the package."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring in place."""
        if obj.docstring is not None:
            obj.docstring.value = single(linked(obj.docstring.value))[0]

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Write the models' signatures, then drop what is said elsewhere."""
        classes = [*classes_of(pkg)]
        models = [cls for cls in classes if any(base.path == MODEL for base in cls.mro())]
        for cls in models:
            cls.set_member("__init__", signature(cls))
        for cls in classes:
            text, listed = single(cls.docstring.value) if cls.docstring else ("", set())
            if cls.docstring is not None and "\nAttributes:\n" in text:
                cls.docstring.value = typed(text, cls)
                if cls not in models:
                    cls.members.pop("__init__", None)  # nobody but the library makes one
            elif cls.docstring is not None and "\nArgs:\n" not in text:
                said = arguments_of_bases(cls)
                cls.docstring.value, listed = single(f"{text}\n\n{said}" if said else text)
            for name, member in [*cls.members.items()]:
                if member.docstring or name == "__init__":
                    continue
                fulfils = member.is_function or "property" in member.labels
                said = name in listed or (cls in models and isinstance(member, Attribute) and not bounded(member))
                if fulfils or said:
                    del cls.members[name]


def arguments_of_bases(cls: Class) -> str:
    """The nearest base's list of arguments, which the class itself does not repeat."""
    for base in cls.mro():
        text = base.docstring.value if base.docstring else ""
        if "\nArgs:\n" in text:
            return "Args:\n" + re.split(r"\n(?=\S)", text.partition("\nArgs:\n")[2], maxsplit=1)[0]
    return ""


def bounded(member: Attribute) -> bool:
    """Whether there is more to a field than its type and its default; a class variable is no field."""
    return "instance-attribute" not in member.labels or BOUNDS.search(str(member.value)) is not None


def typed(text: str, cls: Class) -> str:
    """The text with the type of each attribute that it lists."""

    def item(match: re.Match[str]) -> str:
        member = cls.members.get(match["name"])
        annotation = member.annotation if isinstance(member, Attribute) else None
        return match[0] if annotation is None else f"    {match['name']} ({annotation}):"

    head, title, listed = text.partition("Attributes:\n")
    return head + title + re.sub(r"^    (?P<name>\w+):", item, listed, flags=re.MULTILINE)


def classes_of(module: Module) -> Iterator[Class]:
    """The classes that are defined in the module and below it."""
    for member in module.members.values():
        if member.is_alias:
            continue
        if isinstance(member, Module):
            yield from classes_of(member)
        elif isinstance(member, Class):
            yield member


def signature(cls: Class) -> Function:
    """``__init__`` of a frozen model: its fields, first those that its own ``__init__`` takes by position."""
    fields = {name: field for base in reversed([cls, *cls.mro()]) for name, field in fields_of(base)}
    own = cls.members.get("__init__")
    first = [p.name for p in own.parameters if p.name in fields] if isinstance(own, Function) else []
    parameters = [Parameter("self", kind=ParameterKind.positional_or_keyword)]
    for name in [*first, *(name for name in fields if name not in first)]:
        kind = ParameterKind.positional_or_keyword if name in first else ParameterKind.keyword_only
        field = fields[name]
        parameters.append(Parameter(name, annotation=plain(field.annotation), kind=kind, default=default(field.value)))
    return Function("__init__", parameters=Parameters(*parameters), parent=cls, returns="None")


def fields_of(cls: Class) -> Iterator[tuple[str, Attribute]]:
    """What a model is made of; ``kind`` is its own name and not an argument."""
    for name, member in cls.members.items():
        if name in ("kind", "model_config") or name.startswith("_") or not isinstance(member, Attribute):
            continue
        if member.annotation is not None and "instance-attribute" in member.labels:
            yield name, member


def plain(annotation: str | Expr | None) -> str | Expr | None:
    """The type without what only validation needs."""
    if isinstance(annotation, ExprSubscript) and str(annotation.left) == "SerializeAsAny":
        return annotation.slice
    text = str(annotation)
    if text in PLAIN:
        return PLAIN[text]
    return ANY.sub(r"\1", text) if ANY.search(text) else annotation


def default(value: str | Expr | None) -> str | Expr | None:
    """The default that ``Field(default=…)`` names, or the value itself; None where it is required."""
    if isinstance(value, ExprCall) and str(value.function) == "Field":
        named = {a.name: a.value for a in value.arguments if isinstance(a, ExprKeyword)}
        if "default_factory" in named:
            return f"{named['default_factory']}()"
        return named.get("default")
    return value
