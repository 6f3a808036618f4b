"""The most that a run may have spent, on disk before each call is sent.

What a reply has cost is in the log from the moment it arrives. A call in flight when a process
is killed is in no log, and may be billed. So before each call arena writes here what the log would
show if all calls in flight cost the most that they can. The file is there while a run is under way,
or after one that was killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import FileIO
from pathlib import Path

import orjson

from arena.errors import DataError
from arena.store.locked_file import unwritable
from arena.store.log_lines import is_cost


class Claims:
    """The sums of one log, by judge; open for writing by the process that writes the log.

    Args:
        path: of the file; it appears with the first claim.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._usd: dict[str, float] = {}
        self._file: FileIO | None = None
        self._size = 0

    def keep(self, judge: str, usd: float) -> None:
        """Take over what an earlier run claimed, or has spent, for when there is more to claim."""
        self._usd[judge] = usd

    def put(self, judge: str, usd: float) -> None:
        """Set the claim of a judge, in place of its earlier one.

        Raises:
            LogError: it cannot be written, so nothing may be sent.
        """
        self._usd[judge] = usd
        line = orjson.dumps(self._usd)
        # As long as the last one, so that one write replaces it whole, and a kill tears nothing.
        line = line.ljust(self._size - 1) + b"\n"
        try:
            if self._file is None:
                self._file = FileIO(self._path, "w")
            self._file.seek(0)
            self._size = self._file.write(line)
        except OSError as error:
            raise unwritable(self._path, error) from None

    def close(self, *, settled: bool) -> None:
        """Close the file, and remove it if the log holds what was spent."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if settled:
            self._path.unlink(missing_ok=True)


def read_claims(path: Path) -> Mapping[str, float]:
    """Return judge → dollars; empty if there is no such file, or nothing in it.

    Raises:
        DataError: it is damaged.
    """
    try:
        raw = path.read_bytes()
        sums = orjson.loads(raw) if raw.strip() else {}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DataError(path, None, f"cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError:
        sums = None
    if not isinstance(sums, dict) or not all(map(is_cost, sums.values())):
        remedy = "delete it; calls that were under way when a run was killed are then not counted"
        raise DataError(path, None, "not the sums that a run may have spent", remedy)
    return sums
