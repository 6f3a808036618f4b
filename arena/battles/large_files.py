"""Large JSON Lines and CSV files: how DuckDB reads them, and which of them it should not try."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from arena.battles.duckdb_reader import Source, json_values, sql_file, sql_name, sql_text
from arena.battles.table import PROBS
from arena.data.csv_file import csv_layout
from arena.data.rows import LONGEST_LINE, compression, opened

_FAST_BYTES = 1 << 24
"""A file of this size or more is read by DuckDB, which takes a tenth of a second to import."""

_DUCKDB_LINE = 1 << 21
"""Bytes of the longest line that DuckDB reads: its buffers are twice as long, and stay in the
processor's cache. A file with a longer one is read row by row."""

_GZIP_RATIO = 8
"""About so much longer are battles than their compressed bytes."""

_SCANNED_BYTES = 1 << 18
_TRAILING_COMMA = re.compile(rb",[ \t\r]*[]}]")


def packing_of(path: Path) -> Literal["none", "gzip"] | None:
    """Return how a large file of UTF-8 is compressed; None if DuckDB should not try it."""
    compressed = compression(path)
    size = path.stat().st_size * (_GZIP_RATIO if compressed == "gzip" else 1)
    return compressed if size >= _FAST_BYTES else None


def is_ended(path: Path, packing: str) -> bool:
    """Return whether the last line of a file is known to be complete."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return packing == "none" and file.read() == b"\n"


def has_long_line(path: Path) -> bool:
    """Return whether a line is so long that DuckDB would fill its memory before it gives up."""
    with path.open("rb") as file:
        while chunk := file.read(_DUCKDB_LINE):
            if len(chunk) == _DUCKDB_LINE and b"\n" not in chunk:
                return True
    return False


def has_trailing_comma(path: Path) -> bool:
    """Return whether a comma may stand before a closing bracket, which is no JSON.

    DuckDB ignores it. Logs of arena have none, and need not be looked through.
    """
    with opened(path) as file:
        while chunk := file.read(_SCANNED_BYTES):
            chunk += file.readline(LONGEST_LINE)
            if len(chunk) > LONGEST_LINE:
                return True  # the row loop has to say so
            codes = np.frombuffer(chunk, np.uint8)
            before, closes = codes[:-1], (codes[1:] | 32) == ord("}")  # ] | 32 is }
            odd = closes & (before <= ord(",")) & (before != ord('"'))
            if odd.any() and _TRAILING_COMMA.search(chunk):
                return True
    return False


def csv_source(
    path: Path, packing: str, header: Sequence[str], names: Sequence[str], known: Collection[str]
) -> Source:
    """Return how DuckDB reads a CSV file of UTF-8.

    Args:
        path: the file.
        packing: how it is compressed.
        header: the names of all its columns.
        names: the columns to code; with "id", if arena wrote the file.
        known: columns by which the separator is found.
    """
    with opened(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        layout = csv_layout(text, known)
    # DuckDB ignores an empty cell too many. So there is a column more, which must stay missing, as
    # no other may: an empty cell is none of these.
    columns = ", ".join(f"k{number}: 'VARCHAR'" for number in range(len(header) + 1))
    id_cell = f"k{header.index('id')}" if "id" in names else ""
    read = {len(header) - 1, *map(header.index, names)}
    return Source(
        rows=f"read_csv({sql_file(path)}, delim = {sql_text(layout.separator)}, "
        f"skip = {layout.before}, header = true, auto_detect = false, quote = '\"', escape = '\"', "
        "strict_mode = true, null_padding = true, nullstr = '\x01', parallel = false, "
        f"hive_partitioning = false, compression = '{packing}', columns = {{{columns}}})",
        cells={name: f"k{header.index(name)}" for name in names if name != "id"},
        values=lambda _connection, _name, texts: [text or None for text in texts],
        odd=" OR ".join(
            [f"k{len(header)} IS NOT NULL", *(f"k{number} IS NULL" for number in read)]
        ),
        ids=id_cell,
        is_id=f"{id_cell} <> ''",
    )


def jsonl_source(path: Path, packing: str, names: Sequence[str], *, own: bool) -> Source:
    """Return how DuckDB reads a file of UTF-8 with a JSON object on each line.

    Args:
        path: the file.
        packing: how it is compressed.
        names: the columns to code.
        own: whether arena wrote the file; then every line must have an id.
    """
    types = dict.fromkeys(names, "JSON")
    types["probs"] = f"STRUCT({', '.join(f'{sql_name(name)} DOUBLE' for name in PROBS)})"
    if own:
        types |= {"id": "JSON", "cost_usd": "DOUBLE"}
    columns = ", ".join(f"{sql_name(name)}: '{kind}'" for name, kind in types.items())
    return Source(
        rows=f"read_json({sql_file(path)}, format = 'newline_delimited', "
        f"hive_partitioning = false, maximum_object_size = {_DUCKDB_LINE}, "
        f"compression = '{packing}', columns = {{{columns}}})",
        cells={name: f"{sql_name(name)}::VARCHAR" for name in names},
        values=lambda _connection, _name, texts: json_values(texts),
        ids="coalesce(id::VARCHAR, 'null')" if own else "",
        is_id="id LIKE '\"_%\"'",
        costs="coalesce(cost_usd, 'nan'::DOUBLE)" if own else "",
        has_probs=True,
    )
