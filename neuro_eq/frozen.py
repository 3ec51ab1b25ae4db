"""The base of everything that describes rather than computes: frozen, validated, unknown keys refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from neuro_eq.errors import SpecError, did_you_mean

Model = TypeVar("Model", bound="Frozen")


class Frozen(BaseModel):
    """A frozen pydantic model that refuses unknown keys and non-finite numbers.

    A value that does not fit raises :class:`~neuro_eq.errors.SpecError` with the place and one sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise first_problem(error, type(self)) from None

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        """Fields and their values, as ``dict(…)`` takes them; what was computed of them is none."""
        for name in type(self).model_fields:
            yield name, getattr(self, name)

    def model_copy(self: Model, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Model:
        """Another of its kind, with some fields changed, and validated as any other.

        Args:
            update: field name to its new value.
            deep: copy the values, too; they are frozen, so nobody needs to.

        Raises:
            SpecError: a value that does not fit.
        """
        fields = dict(copy.deepcopy(self) if deep else self)
        return type(self)(**{**fields, **(update or {})})


def first_problem(error: ValidationError, model: type[BaseModel]) -> SpecError:
    """The first of pydantic's findings as our one sentence."""
    # A misspelt key is both unknown and missing: the unknown one names the cause.
    finding = min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
    place = ""
    for part in finding["loc"]:
        joint = "." if place and isinstance(part, str) else ""
        place += joint + (part if isinstance(part, str) else f"[{part}]")
    if finding["type"] == "extra_forbidden":
        return SpecError("unknown key" + did_you_mean(str(finding["loc"][-1]), model.model_fields), place)
    if finding["type"] == "missing":
        return SpecError("required, but not given", place)
    message = str(finding["msg"]).removeprefix("Value error, ")
    found = finding.get("input")
    if isinstance(found, (str, int, float, bool)) and "found" not in message:
        message += f" (found {found!r})"
    return SpecError(message[:1].lower() + message[1:], place)


def parse_kind(data: Any, table: Mapping[str, type[Model]], base: type, what: str) -> Model:
    """An instance of ``base`` from itself, from its kind's name, or from a mapping with a ``kind``."""
    if isinstance(data, base):
        return cast("Model", data)
    if isinstance(data, str):
        data = {"kind": data}
    if not isinstance(data, Mapping):
        raise SpecError(f"expected {what}, found {type(data).__name__}")
    kind = data.get("kind")
    if kind is None:
        raise SpecError("required, but not given" + did_you_mean("", table), "kind")
    if not isinstance(kind, str) or kind not in table:
        raise SpecError(f"no {what} {kind!r}" + did_you_mean(str(kind), table), "kind")
    return table[kind](**{str(key): value for key, value in data.items()})
