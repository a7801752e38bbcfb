"""The base of all sections of the settings: an unknown key is refused, and errors do not show values. An optional
setting or a path that is empty counts as not set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Port = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    """A section: immutable, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _absent(cls, value: Any, info: ValidationInfo) -> Any:
        """The default for an empty text: an empty path would be the current directory, whose files would then be read."""
        default = cls.model_fields[info.field_name or ""].default
        return default if value == "" and (default is None or isinstance(default, Path)) else value
