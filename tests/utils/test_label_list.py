"""Label lists: names in the order of their ids, and one line for each fault."""

from __future__ import annotations

import pytest

from echoviewclip.utils.errors import UserError
from echoviewclip.utils.label_list import read_names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,name\n0,a\n", "DATA.NUM_CLASSES is 2, but {file} names 1; make them agree"),
        (b"", "{file}:1: a label list begins with the line id,name"),
        (b"name,id\na,0\n", "{file}:1: a label list begins with the line id,name"),
        (b"id,name\n1,a\n", "{file}:2: expected `0,name`, found '1,a'"),
        (b"id,name\n0,a\n1,\n", "{file}:3: expected `1,name`, found '1,'"),
        (
            b"id,name\n0,\xe9\n",
            "{file}: not UTF-8 text: 'utf-8' codec can't decode byte 0xe9 in position 10: invalid continuation byte; "
            "save it as UTF-8",
        ),
    ],
)
def test_a_label_list_that_disagrees_is_named_with_its_line(tmp_path, content, message):
    file = tmp_path / "labels.csv"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_names(file, 2, "DATA.NUM_CLASSES")
    assert str(caught.value) == message.format(file=file)


def test_a_missing_label_list_is_named(tmp_path):
    with pytest.raises(UserError) as caught:
        read_names(tmp_path / "none.csv", 2, "DATA.NUM_CLASSES")
    assert str(caught.value) == f"{tmp_path}/none.csv: no such label list (DATA.LABEL_LIST, DATA.QUALITY_LIST)"


def test_names_come_in_order_of_their_ids(tmp_path):
    (tmp_path / "labels.csv").write_text('\ufeffid,name\n0,"a, b"\n\n1, c \n', encoding="utf-8")
    assert read_names(tmp_path / "labels.csv", 2, "DATA.NUM_CLASSES") == ["a, b", "c"]
