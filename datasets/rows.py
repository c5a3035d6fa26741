"""The entries of a list of videos, as text.

A list is one of

- text: `path label` a line; the path may hold spaces, quotes and any UTF-8. The label is the longest known name that
  ends the line, else the last word. A line that is only a path is a video without a label (an outsider);
- CSV with a header: `path` and any of `label`, `quality`, `score`, `patient` (other columns are left alone, unless
  they are asked for);
- Parquet with the columns of CSV, numbers or texts;
- JSON as in mmaction2: a list of `{"filename" | "frame_dir": …, "label": …}`, or that list under `data_list`;
  `quality`, `score` and `patient` as in CSV.

Blanks around a path are not part of it. docs/data.md shows examples.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from echoviewclip.datasets.labels import SEPARATORS, Labels
from echoviewclip.datasets.video.reasons import Unreadable, reason_of
from echoviewclip.utils.errors import UserError, quoted, shortened
from echoviewclip.utils.parquet import read_batches, read_columns
from echoviewclip.utils.urls import is_url, shown

FIELDS = ("path", "label", "patient", "quality", "score")  # what a list may say of a video

_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")  # of a path that ends a line without a label
_PATH_AND_WORDS = re.compile(r"(.*\.[A-Za-z][A-Za-z0-9]{1,4})[ \t]+([^/\\]+)$")  # where the label is not known
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$")
_BLANKS = " \t\r\n"
MAX_LINE = 1 << 13  # characters: a path of the greatest length and labels enough
NOTHING_KNOWN = Labels()


class Row(NamedTuple):
    """One entry of a list as text: empty strings where nothing was said."""

    line: int
    path: str
    label: str = ""
    patient: str = ""
    quality: str = ""
    score: str = ""
    fault: str = ""
    more: tuple[str, ...] = ()  # what further columns say, those that were asked for


def read_rows(
    file: Path | str,
    target: str = "class",
    known: Labels = NOTHING_KNOWN,
    more: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> Iterator[Row]:
    """The entries of a list, a file or a URL, as they stand there, faults among them; `target` as for
    `read_annotations`.

    Of text lists the label is in the field that `target` names, and names that are `known` may hold blanks; CSV and
    JSON fill all fields they have. `more` are further columns to be read, then those that are `optional`; case does not
    matter.
    Raises UserError where the file is not of its kind at all, or lacks one of `more`.
    """
    readers = {".csv": _csv_rows, ".json": _json_rows, ".parquet": _parquet_rows}
    try:
        yield from readers.get(list_kind(file), _text_rows)(file, target, known, Further(more, optional))
    except Unreadable as error:
        raise UserError(f"{shown(str(file))}: cannot be read: {error}") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{file}:{_undecodable(file)}: not UTF-8 text: {error.reason}") from None


def list_kind(file: Path | str) -> str:
    """The suffix of a list, which says what kind it is: `.csv`."""
    return PurePosixPath(shown(str(file))).suffix.lower()


def open_list(file: Path | str) -> BinaryIO:
    """The bytes of a list, a file or a URL. Raises OSError, and Unreadable for a URL."""
    if not is_url(str(file)):
        return open(file, "rb")
    from echoviewclip.datasets.remote.downloads import open_copy

    return open_copy(str(file))


def read_whole(file: Path | str) -> bytes:
    """All bytes of a list, a file or a URL. Raises UserError."""
    try:
        with open_list(file) as content:
            return content.read()
    except (OSError, Unreadable) as error:
        raise UserError(f"{shown(str(file))}: cannot be read: {reason_of(error)}") from None


def _undecodable(file: Path | str) -> int:
    """Number of the first line that is not UTF-8."""
    content = read_whole(file)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    return 1


class Further:
    """Columns beside FIELDS that are asked for.

    Attributes:
        names: of all, as they are compared: in lower case.
    """

    def __init__(self, needed: Sequence[str], optional: Sequence[str]) -> None:
        self.names = [name.lower() for name in (*needed, *optional)]
        self._needed = self.names[: len(needed)]

    def check(self, file: Path | str, header: Sequence[str]) -> None:
        """Raises UserError that names the columns there are where one that is needed is not among them."""
        if missing := [name for name in self._needed if name not in header]:
            there = f"its columns are {', '.join(map(shortened, header))}" if header else "a list of lines has none"
            raise UserError(f"{shown(str(file))}: has no column {quoted(missing[0])}; {there}")


def _text_rows(file: Path | str, target: str, known: Labels, more: Further) -> Iterator[Row]:
    more.check(file, ())
    nothing = ("",) * len(more.names)
    field = {"quality": "quality", "score": "score"}.get(target, "label")
    with TextIOWrapper(open_list(file), "utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.strip(_BLANKS)
            if not line:
                continue
            if len(line) > MAX_LINE:
                yield Row(number, "", fault=f"a line of {len(line)} characters, which no path and label have")
                continue
            path, words = _split(line, known, several=target == "multilabel")
            if not words and len(line.split()) > 1 and not _SUFFIX.search(line):
                yield Row(number, line, fault=f"expected `path label`, found {quoted(line)}")
            elif field == "label":
                yield Row(number, path, words, more=nothing)
            else:
                yield Row(number, path, **{field: words}, more=nothing)


def _split(line: str, known: Labels, several: bool) -> tuple[str, str]:
    """Path and label(s) of a line; the label is empty where it ends in none."""
    path, words = _last_label(line, known, several)
    if not words and not _SUFFIX.search(line) and (named := _PATH_AND_WORDS.match(line)):
        return named[1], named[2]
    while several and words:
        head, word = _last_label(path.rstrip(SEPARATORS), known, several)
        if not word:
            break
        path, words = head, f"{word}; {words}"
    return path, words


def _last_label(line: str, known: Labels, several: bool) -> tuple[str, str]:
    """What precedes the name or number that ends a line, and that; all of the line where it is nothing else."""
    if name := known.ending(line):
        head, word = line[: -len(name)].rstrip(_BLANKS), name
    else:
        head, word = _last_word(line)
        if not _NUMBER.match(word.split(",")[0] if several else word):
            return line, ""
    return (head, word) if head else (line, "")


def _last_word(line: str) -> tuple[str, str]:
    at = max(line.rfind(" "), line.rfind("\t"))
    return line[: max(at, 0)].rstrip(_BLANKS), line[at + 1 :]


def _csv_rows(file: Path | str, target: str, _known: Labels, more: Further) -> Iterator[Row]:
    with TextIOWrapper(open_list(file), "utf-8-sig", newline="") as lines:
        reader = csv.reader(lines)
        try:
            header = [cell.strip().lower() for cell in next(reader, [])]
            if missing := _lacking(header, target):
                raise UserError(f"{file}:1: the header lacks {missing}; it is {quoted(','.join(header))}")
            more.check(file, header)
            columns = [header.index(name) if name in header else -1 for name in FIELDS]
            further = [header.index(name) if name in header else -1 for name in more.names]
            for cells in reader:
                if not cells:
                    continue
                if len(cells) == len(header):
                    cells.append("")  # what a column says that is not there
                    said = tuple([cells[at].strip(_BLANKS) for at in further]) if further else ()
                    path, label, patient, quality, score = [cells[at].strip(_BLANKS) for at in columns]
                    yield Row(reader.line_num, path, label, patient, quality, score, "", said)
                else:
                    fault = f"{len(cells)} columns where the header has {len(header)}"
                    yield Row(reader.line_num, "", fault=fault)
        except csv.Error as error:
            raise UserError(f"{file}:{reader.line_num}: not a CSV table: {error}") from None


def _lacking(header: Sequence[str], target: str) -> str:
    """The columns that a table needs and lacks."""
    needed = {"path"} | ({target} & {"quality", "score"})  # without a label column all are outsiders
    return ", ".join(sorted(needed - set(header)))


def _parquet_rows(file: Path | str, target: str, _known: Labels, more: Further) -> Iterator[Row]:
    with open_list(file) as content:
        yield from _rows_of_parquet(file, content, target, more)


def _rows_of_parquet(file: Path | str, content: BinaryIO, target: str, more: Further) -> Iterator[Row]:
    written = read_columns(file, content)
    header = [name.strip().lower() for name in written]
    if missing := _lacking(header, target):
        raise UserError(f"{file}: the columns lack {missing}; they are {quoted(','.join(header))}")
    more.check(file, header)
    fields = [name for name in dict.fromkeys([*FIELDS, *more.names]) if name in header]
    number = 0
    for batch in read_batches(file, [written[header.index(name)] for name in fields], content):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            number += 1
            try:
                cells = {name: _words(_whole(value)).strip(_BLANKS) for name, value in zip(fields, values, strict=True)}
            except TypeError:
                yield Row(number, "", fault=f"`{'`, `'.join(fields)}` are texts, numbers or lists of them")
            else:
                said = tuple(cells.get(name, "") for name in more.names)
                yield Row(number, **{name: cells[name] for name in FIELDS if name in cells}, more=said)


def _json_rows(file: Path | str, target: str, _known: Labels, more: Further) -> Iterator[Row]:
    try:
        with open_list(file) as content:
            tree: Any = json.loads(content.read().decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise UserError(f"{file}:{error.lineno}: not valid JSON: {error.msg}") from None
    except UnicodeDecodeError:
        raise
    except RecursionError:
        raise UserError(f"{file}: nested too deeply for a list of videos") from None
    except ValueError:
        raise UserError(f"{file}: holds a number of thousands of digits") from None
    entries = tree.get("data_list") if isinstance(tree, dict) else tree
    if not isinstance(entries, list):
        raise UserError(f"{file}: expected a list of entries, or one under `data_list`")
    if more.names:
        entries = [_with_lower_keys(entry) for entry in entries]
        more.check(file, list(dict.fromkeys(key for entry in entries if entry for key in entry)))
    for number, entry in enumerate(entries, start=1):
        path = entry.get("filename") or entry.get("frame_dir") if isinstance(entry, dict) else None
        if isinstance(path, str):
            try:
                others = {name: _words(entry.get(name)) for name in FIELDS[1:]}
                said = tuple(_words(entry.get(name)) for name in more.names)
            except TypeError:
                fields = "`, `".join([*FIELDS[1:], *more.names])
                yield Row(number, "", fault=f"`{fields}` are texts, numbers or lists of them")
            else:
                yield Row(number, path.strip(_BLANKS), **others, more=said)
        else:
            yield Row(number, "", fault="the entry has no `filename` or `frame_dir`")


def _with_lower_keys(entry: Any) -> dict[str, Any] | None:
    return {str(key).strip().lower(): value for key, value in entry.items()} if isinstance(entry, dict) else None


def _whole(value: Any) -> Any:
    """3.0 as 3 and nan as nothing: what programs make of whole numbers in a column that has gaps."""
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() else value
    return value


def _words(value: Any) -> str:
    """What JSON gives for a field, as the other formats would write it; raises TypeError for what they cannot."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | int | float | None) for each in values):
        raise TypeError
    return "; ".join("" if each is None else str(each) for each in values)
