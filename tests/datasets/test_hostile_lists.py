"""Lists that someone damaged or made up: each is read, or refused in one line of sensible length."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import pytest

from echoviewclip.datasets.annotations import MAX_PATH, read_annotations
from echoviewclip.datasets.rows import MAX_LINE
from echoviewclip.utils.errors import MOST_IN_LINE, UserError, exit_code, quoted, shortened
from echoviewclip.utils.label_list import read_names

DEEP = 200_000
DIGITS = "9" * 5001
LONG = "x" * 100_000


def refusal(file: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        read_annotations(file, **options)
    message = str(caught.value)
    assert message.startswith(f"{file}") and len(message) < 500 + len(str(file))
    assert "\n" not in message and message.isprintable()
    return message.removeprefix(str(file))


JSONS = {
    "nested lists": ("[" * DEEP + "]" * DEEP, ": nested too deeply"),
    "nested lists without an end": ("[" * DEEP, ": nested too deeply"),
    "nested objects": ('{"a":' * DEEP, ": nested too deeply"),
    "a number of 5001 digits": (
        f'[{{"filename": "a.avi", "label": {DIGITS}}}]',
        ": holds a number of thousands of digits",
    ),
    "a name of 100 kB": (json.dumps([{"filename": LONG, "label": 1}]), ":1: a path of 100000 bytes"),
    "a label of 100 kB": (json.dumps([{"filename": "a.avi", "label": LONG}]), ":1: the label 'xxx"),
    "labels nested in labels": ('[{"filename": "a.avi", "label": [[[1]]]}]', ":1: `label`, "),
    "a patient that is an object": ('[{"filename": "a.avi", "patient": {"name": "Jane"}}]', ":1: `label`, "),
    "a zero byte": ('[{"filename": "a\\u0000.avi"}]', ":1: a zero byte in the path"),
    "half of a pair": ('[{"filename": "\\ud800.avi"}]', ":1: surrogates not allowed in the path"),
    "an infinite score": ('[{"filename": "a.avi", "score": 1e999}]', ":1: the score inf is not in [0, 1]"),
    "a score of many digits": (f'[{{"filename": "a.avi", "score": "{DIGITS}"}}]', ":1: the score 999"),
    "another kind of tree": (json.dumps({"data_list": {"filename": "a.avi"}}), ": expected a list of entries"),
    "a text": (json.dumps(LONG), ": expected a list of entries"),
}


@pytest.mark.parametrize("what", JSONS)
def test_hostile_json_is_refused_in_one_line(tmp_path, what):
    text, message = JSONS[what]
    (tmp_path / "l.json").write_text(text)
    assert refusal(tmp_path / "l.json").startswith(message)


TEXTS = {
    "a line of 100 kB": (f"{LONG} 1\n", "class", ":1: a line of 100002 characters"),
    "a line that many words could end": ("a.bb " * 50_000 + "/\n", "class", ":1: a line of 250"),
    "a label of 5001 digits": (f"a.avi {DIGITS}\n", "class", ":1: the label '999"),
    "a label above all that a list holds": ("a.avi 99999999999999999999\n", "class", ":1: the label 999"),
    "a label that would take gigabytes": ("a.avi 999999999\n", "multilabel", ":1: the label 999999999 is out of range"),
    "a label far below zero": ("a.avi -99999999999999999999\n", "class", ":1: the label -999"),
    "a score of 5001 digits": (f"a.avi {DIGITS}\n", "score", ":1: the score 999"),
    "a path that no system has": (f"{'ü' * 2500}.avi 1\n", "class", f":1: a path of {2 * 2500 + 4} bytes"),
    "words without a path": (("what is " * 900) + "this\n", "class", ":1: expected `path label`, found 'what is"),
}


@pytest.mark.parametrize("what", TEXTS)
def test_hostile_text_is_refused_in_one_line(tmp_path, what):
    text, target, message = TEXTS[what]
    (tmp_path / "l.txt").write_text(text)
    begun = time.process_time()
    assert refusal(tmp_path / "l.txt", target=target).startswith(message)
    assert time.process_time() - begun < 5


CSVS = {
    "a header of 100 kB": (f"{','.join(['x' * 100] * 1000)}\n", ":1: the header lacks path; it is 'xxx"),
    "a cell of 200 kB": (f"path,label\n{LONG}{LONG},1\n", ":2: not a CSV table: field larger than field limit"),
    "a quote without an end": ('path,label\n"a.avi,1\n' + "b.avi,1\n" * 20_000, ":"),
    "a label of 100 kB": (f"path,label\na.avi,{LONG}\n", ":2: the label 'xxx"),
    "many labels": (f"path,label\na.avi,{'1 ' * 5000}\n", ":2: several labels (1 1 1"),
    "a zero byte": (
        "path,label\na\0.avi,1\n",
        ":2: not a CSV table: line contains NUL" if sys.version_info < (3, 11) else ":2: a zero byte in the path",
    ),
    "columns without number": (f"path,label\n{'a,' * 10_000}\n", ":2: 10001 columns where the header has 2"),
}


@pytest.mark.parametrize("what", CSVS)
def test_hostile_tables_are_refused_in_one_line(tmp_path, what):
    text, message = CSVS[what]
    (tmp_path / "l.csv").write_text(text)
    assert refusal(tmp_path / "l.csv").startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"id,name\n0,{LONG}\n", "l.csv:2: the name 'xxx"),
        ('id,name\n0,"A\n4C"\n', r"l.csv:\d: the name 'A\\n4C' is no text of at most 200 characters"),
        ("id,name\n0,A\x1b[31m4C\n", r"l.csv:2: the name 'A\\x1b\[31m4C' is no text"),
        (f"id,name\n{DIGITS},A4C\n", "l.csv:2: expected `0,name`, found '999"),
        (f"id,name\n{'0,' * 50_000}\n", "l.csv:2: expected `0,name`, found '0,0"),
        (f"id,name\n0,{LONG}{LONG}\n", "l.csv: .*field larger than field limit"),
        ("", "l.csv:1: a label list begins with the line id,name"),
    ],
)
def test_hostile_label_lists_are_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_names(tmp_path / "l.csv", 1, "DATA.NUM_CLASSES")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_the_longest_lines_that_may_be_are_read(tmp_path):
    name = "d/" * ((MAX_PATH - 5) // 2) + "a.avi"
    labels = " 1" * ((MAX_LINE - len(name)) // 2)
    (tmp_path / "l.txt").write_text(f"{name}{labels}\n")
    listed = read_annotations(tmp_path / "l.txt", target="multilabel", num_classes=3)
    assert listed.name(0) == name and listed.labels.tolist() == [[0, 1, 0]]


def test_quotes_of_inputs_are_short_whatever_they_hold():
    nested: list = []
    for _ in range(DEEP):
        nested = [nested]
    bomb: list = ["lol"] * 9
    for _ in range(30):
        bomb = [bomb] * 9
    for value in (LONG, nested, bomb, {LONG: LONG}, 1 << 50_000, b"\0" * 10_000, "\x1b[31m\n"):
        assert len(quoted(value)) <= 400 and quoted(value).isprintable()
    assert quoted("plain") == "'plain'" and shortened("plain") == "plain"
    assert shortened("abcdefghij" * 10, 12) == "abcdefg…ghij" and len(shortened(LONG)) == 80
    lines = str(UserError(f"{LONG}\nsecond")).split("\n")
    assert len(lines[0]) == MOST_IN_LINE and lines[1] == "second"


def test_file_names_that_are_no_text_are_printed_all_the_same(monkeypatch):
    terminal = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(terminal, encoding="utf-8", write_through=True))
    assert exit_code(lambda: print("\udcff.avi cannot be read")) == 0
    assert terminal.getvalue() == b"\\udcff.avi cannot be read\n"
    assert str(UserError("\udcff.avi\x1b[31m")) == "\\udcff.avi\\x1b[31m"
