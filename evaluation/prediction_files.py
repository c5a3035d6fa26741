"""`predictions.csv` and `predictions.parquet`: what a model answered about every video of an evaluation, row by row.

Written and read here only. A folder holds one of the two, the second where there are many videos (TEST.PARQUET_ABOVE).

    path, patient, group_<column>, set, label, prediction, probability, failed,
    s_<name>                     scores, higher = in distribution
    p_0 … p_{K-1}                view probabilities, and n_0 … those of the negative branch
    grade, grade_prediction, score_target, score_prediction, g_0 … g_{G-1}
    defect_<name>, true_<name>   probabilities of defects, and how strongly they show
    attention, frames            T weights and T frame indices; in CSV separated by spaces, in Parquet a list

An empty cell, in Parquet null, is an unknown (no label, a video that failed). prediction, probability and
grade_prediction follow from the probabilities; they are written for people and not read back.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from echoviewclip.evaluation.predictions import MATRICES, NAMED, SEQUENCES, VECTORS, Predictions
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path
from echoviewclip.utils.parquet import ROWS, import_arrow, is_parquet, read_columns, read_table, write_tables

NAMES = ("predictions.csv", "predictions.parquet")


def save_predictions(folder: str | Path, predictions: Predictions, parquet_above: int) -> None:
    """Writes the file of a folder: as Parquet where there are more than so many videos, else as CSV. Raises UserError.

    The other file, of an earlier evaluation, is removed.
    """
    many = len(predictions) > parquet_above
    (Path(folder) / NAMES[not many]).unlink(missing_ok=True)
    write_predictions(Path(folder) / NAMES[many], predictions)


def check_can_be_saved(folder: str | Path, videos: int, parquet_above: int) -> None:
    """Raises UserError where predictions of so many videos will be Parquet and there is nothing to write that with."""
    if videos > parquet_above:
        try:
            import_arrow(Path(folder) / NAMES[1])
        except UserError as error:
            raise UserError(f"{error}; or set TEST.PARQUET_ABOVE to {videos} for a CSV file") from None


def find_predictions(folder: str | Path) -> Path | None:
    """The file of a folder; None where it has none."""
    return next((file for name in NAMES if (file := Path(folder) / name).is_file()), None)


def write_predictions(path: str | Path, predictions: Predictions) -> None:
    """Writes a file, by its suffix as Parquet or CSV, whole or not at all.

    Numbers keep every digit, so figures can be computed from it again.
    """
    if is_parquet(path):
        parts = (_part(predictions, start) for start in range(0, max(len(predictions), 1), ROWS))
        write_tables(path, (_arrow_table(path, part) for part in parts))
        return
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        columns = {name: _texts(values) for name, values in _columns(predictions).items()}
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read_predictions(path: str | Path) -> Predictions:
    """Reads what `write_predictions` wrote: a file, or the one that a folder holds.

    Raises:
        UserError: no such file, no column `path`, rows of unequal length, a cell that is not what its column holds.
    """
    path = Path(path)
    if path.is_dir():
        path = find_predictions(path) or path / NAMES[0]
    if not path.is_file():
        raise UserError(f"{path}: no such file; evaluate first (main.py --only_test)")
    table = _ArrowTable(path) if is_parquet(path) else _CsvTable(path)
    names = table.names
    path_column = table.vector("path", str, "")
    found: dict[str, Any] = {"path": path_column}
    for name, (kind, missing) in VECTORS.items():
        if name in names:
            found[name] = table.vector(name, kind, missing)
    for name, prefix in MATRICES.items():
        if f"{prefix}0" in names:
            columns = [table.vector(column, np.float32, np.nan) for column in names if column.startswith(prefix)]
            found[name] = np.transpose(columns)
    for name, (kind, absent) in SEQUENCES.items():
        if name in names and len(path_column):
            found[name] = table.sequences(name, kind, absent)
    for name, (prefix, kind, missing) in NAMED.items():
        own = [column for column in names if column.startswith(prefix)]
        found[name] = {column.removeprefix(prefix): table.vector(column, kind, missing) for column in own}
    try:
        return Predictions(**found)
    except ValueError as error:
        raise UserError(f"{path}: {error}; evaluate again (main.py --only_test)") from None


def _columns(p: Predictions) -> dict[str, np.ndarray]:
    """All columns in order: [N], and [N, T] of those that hold several numbers."""
    columns: dict[str, np.ndarray] = {"path": p.path, "patient": p.patient, **_named(p, "groups")}
    columns |= {"set": p.set, "label": p.label}
    if p.probabilities.shape[1]:
        columns |= {"prediction": p.prediction, "probability": p.probability}
    columns["failed"] = p.failed
    columns |= _named(p, "scores")
    if p.grade_probabilities.shape[1]:
        columns |= {"grade": p.grade, "grade_prediction": p.grade_prediction}
        columns |= {name: getattr(p, name) for name in ("score_target", "score_prediction")}
    columns |= _named(p, "defects") | _named(p, "defect_targets")
    for name, prefix in MATRICES.items():
        columns |= {f"{prefix}{k}": column for k, column in enumerate(getattr(p, name).T)}
    return columns | {name: getattr(p, name) for name in SEQUENCES if getattr(p, name).shape[1]}


def _named(p: Predictions, name: str) -> dict[str, np.ndarray]:
    return {NAMED[name][0] + key: values for key, values in getattr(p, name).items()}


def _part(p: Predictions, start: int) -> Predictions:
    return p.where(np.arange(start, min(start + ROWS, len(p))))


def _unknown(values: np.ndarray) -> np.ndarray:
    """Which numbers are none: nan, -1 among integers; of texts the empty ones."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    return values == "" if values.dtype.kind == "U" else values < 0


def _texts(values: np.ndarray) -> Sequence[str] | np.ndarray:
    """Text of each number, the shortest that reads back as the same."""
    if values.dtype.kind == "U":
        return values
    if values.dtype == bool:
        return values.astype(int).astype(str)
    cells = np.where(_unknown(values), "", values.astype(str))
    return [" ".join(row).strip() for row in cells] if cells.ndim == 2 else cells


def _arrow_table(path: str | Path, p: Predictions) -> Any:
    arrow = import_arrow(path)

    def column(values: np.ndarray) -> Any:
        flat = values.ravel()
        mask = None if values.dtype == bool else _unknown(flat)
        found = arrow.array(flat.tolist() if values.dtype.kind == "U" else flat, mask=mask)
        if values.ndim == 1:
            return found
        ends = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
        return arrow.ListArray.from_arrays(arrow.array(ends), found)

    return arrow.table({name: column(values) for name, values in _columns(p).items()})


class _CsvTable:
    """Columns of a CSV file. Raises UserError that names line and column."""

    def __init__(self, path: Path) -> None:
        with path.open(newline="", encoding="utf-8") as file:
            self.names, *rows = list(csv.reader(file)) or [[]]
        if "path" not in self.names:
            raise UserError(f"{path}: line 1 has no column 'path'; evaluate again (main.py --only_test)")
        for line, row in enumerate(rows, 2):
            if len(row) != len(self.names):
                raise UserError(f"{path}: line {line} has {len(row)} cells, not {len(self.names)}; evaluate again")
        self.path, self._cells = path, {name: [row[i] for row in rows] for i, name in enumerate(self.names)}

    def vector(self, name: str, kind: type, missing: str | float) -> np.ndarray:
        """A value for each row; `missing` where the cell is empty."""
        parse: Callable[[str], object] = (lambda cell: bool(int(cell))) if kind is bool else kind
        if issubclass(kind, np.floating):
            parse = float
        return np.asarray(list(self._parsed(name, lambda cell: parse(cell) if cell else missing)), kind)

    def sequences(self, name: str, kind: type, absent: float) -> ArrayLike:
        """Several numbers for each row; `absent` ones where the cell is empty."""
        parts = list(self._parsed(name, lambda cell: [kind(part) for part in cell.split()]))
        length = max(map(len, parts), default=0)
        return [part or [absent] * length for part in parts]

    def _parsed(self, name: str, parse: Callable[[str], Any]) -> Iterator[Any]:
        for line, cell in enumerate(self._cells[name], 2):
            try:
                yield parse(cell)
            except ValueError:
                raise UserError(
                    f"{self.path}: line {line}, column {name}: cannot read {cell!r}; evaluate again"
                ) from None


class _ArrowTable:
    """Columns of a Parquet file. Raises UserError that names the column."""

    def __init__(self, path: Path) -> None:
        self.path, self.names = path, read_columns(path)
        if "path" not in self.names:
            raise UserError(f"{path}: has no column 'path'; evaluate again (main.py --only_test)")

    def vector(self, name: str, kind: type, missing: str | float) -> np.ndarray:
        """As for CSV."""
        return self._numbers(name, read_table(self.path, [name])[name], kind, missing)

    def sequences(self, name: str, kind: type, absent: float) -> ArrayLike:
        """As for CSV; all rows must have equally many."""
        rows = read_table(self.path, [name])[name].combine_chunks()
        try:
            if len(rows.value_lengths().unique()) > 1:
                raise ValueError
            return self._numbers(name, rows.flatten(), kind, absent).reshape(len(rows), -1)
        except (AttributeError, ValueError):
            raise UserError(f"{self.path}: column {name}: rows of unequal length, or none; evaluate again") from None

    def _numbers(self, name: str, column: Any, kind: type, missing: str | float) -> np.ndarray:
        arrow = import_arrow(self.path)
        try:
            if kind is str:
                return np.asarray(column.cast(arrow.string()).fill_null(missing).to_pylist(), str)
            return column.fill_null(missing).to_numpy().astype(kind, copy=False)
        except (arrow.ArrowException, ValueError, TypeError):
            raise UserError(f"{self.path}: column {name}: holds {column.type}; evaluate again") from None
