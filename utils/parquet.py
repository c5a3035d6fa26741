"""Tables as Parquet, by pyarrow, which is optional: a file is whole or absent, and is read some rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path

SUFFIX = ".parquet"
ROWS = 1 << 16  # of a group, that are in memory at a time


def is_parquet(file: str | Path) -> bool:
    """Whether a table is Parquet, by its name."""
    return str(file).lower().endswith(SUFFIX)


def import_arrow(file: str | Path) -> Any:
    """The module pyarrow, with `parquet`. Raises UserError that names `file`, which needs it, where it is missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(f"{file}: Parquet needs pyarrow, which is not installed: pip install pyarrow") from None
    return pyarrow


def write_tables(path: str | Path, tables: Iterable[Any]) -> None:
    """Writes pyarrow tables of one schema, at least one, below each other into one file."""
    arrow = import_arrow(path)
    tables = iter(tables)
    first = next(tables)
    with atomic_path(path) as temporary, arrow.parquet.ParquetWriter(temporary, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def read_columns(file: str | Path, content: BinaryIO | None = None) -> list[str]:
    """Names of the columns, of `content` where the file is open.

    Raises UserError where the file is damaged or no Parquet.
    """
    with _opened(file, content) as table:
        return list(table.schema_arrow.names)


def read_table(file: str | Path, columns: Sequence[str]) -> Any:
    """A pyarrow table of these columns. Raises UserError."""
    with _opened(file) as table:
        return table.read(columns=list(columns))


def read_batches(file: str | Path, columns: Sequence[str], content: BinaryIO | None = None) -> Iterator[Any]:
    """The rows in pyarrow record batches of at most ROWS, with these columns alone. Raises UserError."""
    with _opened(file, content) as table:
        yield from table.iter_batches(ROWS, columns=list(columns))


@contextmanager
def _opened(file: str | Path, content: BinaryIO | None = None) -> Iterator[Any]:
    arrow = import_arrow(file)
    try:
        with arrow.parquet.ParquetFile(content or file) as table:
            yield table
    except (arrow.ArrowException, OSError):
        raise UserError(f"{file}: cannot be read as Parquet: it is damaged or another kind of file") from None
