""".labels.claims.json: which items are before whom right now, so that no two people meet by chance.

A claim is a courtesy, not a lock: it is forgotten after a while, and a label without one counts.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from arena.errors import WriteError
from arena.store.folder import Folder

CLAIM_S: Final = 900.0
"""How long a claim stands after its item was shown."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An item that somebody looks at."""

    who: str  #: the person
    server: str  #: the process that shows it, by a random name
    tab: str  #: the browser tab, or the terminal, by a random name
    at: float  #: when it was shown, seconds since 1970


def read_label_claims(folder: Path) -> dict[str, Claim]:
    """Read item → claim, without those that are too old; empty if the file is damaged.

    Call it under `arena.store.labels.label_lock`.
    """
    try:
        tree = orjson.loads(Folder(folder).label_claims.read_bytes())
        claims = {item: Claim(**claim) for item, claim in tree.items()}
        now = time.time()
        return {item: claim for item, claim in claims.items() if 0 <= now - claim.at < CLAIM_S}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_label_claims(folder: Path, claims: Mapping[str, Claim]) -> None:
    """Write item → claim in place of what was there; the file goes with the last claim.

    Call it under `arena.store.labels.label_lock`.

    Raises:
        WriteError: it cannot be written.
    """
    path = Folder(folder).label_claims
    try:
        if claims:
            path.write_bytes(orjson.dumps({item: asdict(claim) for item, claim in claims.items()}))
        else:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    except OSError as error:
        raise WriteError(path, error) from None
