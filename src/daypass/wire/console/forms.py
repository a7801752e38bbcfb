"""Forms as data: one template shows them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Field(NamedTuple):
    """A field. `kind`: text, password, area, code (an area for JSON or PEM), check or choice, which has `options` (value, text)."""

    name: str
    label: str
    value: str = ""
    kind: str = "text"
    hint: str = ""
    required: bool = True
    maxlength: int = 2048
    options: Sequence[tuple[str, str]] = ()


class FormView(NamedTuple):
    """A form, which posts to `action`.

    Attributes:
        button: the text of its button. label: what the button does, for screen readers, where the text alone does not say it.
        title: its heading; "": the form is a button beside something.
        hidden: fields that a person does not see.
        danger: the button removes something.
    """

    action: str
    button: str
    title: str = ""
    fields: Sequence[Field] = ()
    hidden: Mapping[str, str] = _NONE
    label: str = ""
    danger: bool = False


def chosen(name: str, label: str, options: Sequence[str], shown: Sequence[str] = ()) -> Field:
    """A choice among texts. `shown`: what a person reads in place of each; the last part of it, by default."""
    texts = shown or [option.rpartition("/")[2] for option in options]
    return Field(name, label, kind="choice", options=tuple(zip(options, texts, strict=True)))
