"""What every section of an arena.toml is, and the names and files in it."""

from __future__ import annotations

import os
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from arena.config.secrets import secret_in_address
from arena.redaction import keep_secret

Name = Annotated[str, Field(pattern=r"^[\w][\w.+@:/ -]*$", max_length=120)]
"""A name that people read; it may hold a slash (``BAAI/bge-m3``), never a control character."""


def _variable(name: str) -> str:
    # A key that was pasted here is not repeated in the error, nor in any file.
    secret = re.search(r"(?=\w*[a-z])(?=\w*[0-9])[A-Za-z0-9]{20}", name)
    if secret or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise ValueError(
            "is no name of an environment variable; put the key into a variable, and its name here"
        )
    keep_secret(os.environ.get(name, "").strip())
    return name


VariableName = Annotated[str, AfterValidator(_variable)]
"""The environment variable that holds a key; never the key itself."""


def _address(url: str) -> str:
    # A mistaken address may hold a key or a password, so no error repeats it.
    try:
        parts = urlsplit(url)
        found = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        )
    except ValueError:
        found = False
    if not found:
        raise ValueError(
            "must be like https://host/v1, with the key in the variable that api_key_env names"
        )
    if secret := secret_in_address(url):
        raise ValueError(
            f"has {secret} in it, which would be kept beside the results; put it into a "
            "variable, and name that in api_key_env"
        )
    return url


BaseUrl = Annotated[str, AfterValidator(_address)]
"""The address of an endpoint, without any key."""


class Section(BaseModel):
    """A table of an arena.toml: unknown keys are mistakes, and nothing changes it later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def safe_filename(name: str) -> str:
    """A model's or dataset's name as a file name: slashes and the like become underscores."""
    return re.sub(r"[^\w.+@-]", "_", name)
