"""Values that every request makes anew: dataclasses that cost a tenth of a frozen one to build.

A frozen dataclass sets each field by a call, which adds up to a good part of a request. These are as frozen to the type
checker, which refuses every assignment to a field; at run time nothing watches, so nothing untyped may be given one to
change. Equality and hash are those of a frozen dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Class decorator, in place of `@dataclass(frozen=True, slots=True)`."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
