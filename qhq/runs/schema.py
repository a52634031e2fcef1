"""What a record is: the types of its fields, and how it is read from its file.

A record is checked once, where its file is read (`read_record`): somebody else may have made the folder, and
a key of another type would be met far from there, as a fault of qhq. What other versions of qhq write stays
readable: keys that are unknown here are kept and written back, keys that came later are optional. What is
never computed with (the resolved config, tables of further measures) is left as plain JSON.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from qhq.documents import validate
from qhq.errors import ConfigError, is_printable
from qhq.files import MOST_DOCUMENT_BYTES, Json, read_json

SCHEMA_VERSION = 1
"""Written into every record; 0 are those of versions before records were typed.

A new key needs no new number. A key that changes its meaning does, and a reader of the old one here.
"""

# NaN fails this bound as well.
MOST = 1e300
"""No result is a number as large."""

LAST_VALUE = "last_value"
"""The baseline that every task has; a record has its metrics under ``naive``."""


def _printable(text: str) -> str:
    # A terminal would obey what no name has: escape sequences, and halves of characters that it cannot print.
    if not is_printable(text):
        raise ValueError("must be printable text")
    return text


def _date(text: str) -> str:
    datetime.datetime.fromisoformat(text)
    return text


Text = Annotated[str, AfterValidator(_printable)]
Day = Annotated[str, AfterValidator(_date)]
Number = Annotated[float, Field(gt=-MOST, lt=MOST)]
Count = Annotated[int, Field(ge=0, lt=2**64)]


class Record(BaseModel):
    """Part of a record. Strict, as JSON is: a whole number is a number, a text or a truth value is none."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        strict=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
    )

    def to_dict(self) -> Json:
        """As JSON has it: what was given, keys of other versions among it, and no defaults."""
        return self.model_dump(mode="json", exclude_unset=True, by_alias=True)

    def updated(self, **changes: object) -> Self:
        """The same with some keys given or replaced, checked again."""
        return type(self).model_validate({**self.to_dict(), **changes})

    def without(self, key: str) -> Self:
        """The same without a key that may be missing."""
        return type(self).model_validate(
            {name: value for name, value in self.to_dict().items() if name != key}
        )


OTHER_RUN = "Name another run; 'qhq compare' lists them"

RecordT = TypeVar("RecordT", bound=Record)


def read_record(
    model: type[RecordT],
    path: Path,
    fix: str = OTHER_RUN,
    *,
    most: int = MOST_DOCUMENT_BYTES,
    **known: object,
) -> RecordT:
    """Read one record.

    Args:
        model: What the file holds.
        path: The file.
        fix: What to do about a file that is damaged.
        most: Bytes that it may have.
        **known: Keys that are known better than the file has them, such as the name of a folder that may have
            been renamed.

    Raises:
        ConfigError: If the file is missing, is no JSON, or a key is missing or of another type.
    """
    try:
        content = read_json(path, most=most, what="record")
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The folder must hold a readable {path.name}", got=f"{path}: {error}", fix=fix
        ) from error
    return validate(model, {**content, **known}, str(path), fix=fix)
