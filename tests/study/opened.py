"""Study pages written and opened in a browser."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from echoviewclip.study.clips import Clip
from echoviewclip.study.findings import find
from echoviewclip.study.page import Facts, write_study
from echoviewclip.study.protocol import choose_protocol
from echoviewclip.utils.label_list import read_names
from tests.browser import Page
from tests.study.builders import COLUMNS, GRADES, groups, study

NAMES = tuple(read_names("labels/ultracls.csv"))
VISIBLE = "((selector) => [...document.querySelectorAll(selector)].filter((element) => element.offsetParent))"


def write(file: Path, clips: list[Clip]) -> Path:
    """The page of a study of these clips."""
    protocol = choose_protocol("adult-tte", NAMES)
    facts = Facts(COLUMNS, NAMES, GRADES, "msp", 1.0, protocol)
    write_study(file, find(study(*clips, name=60 * "long"), groups(), protocol, GRADES), facts)
    return file


def until(page: Page, condition: str, seconds: float = 5.0) -> Any:
    """Waits until a condition holds in the page."""
    end = time.monotonic() + seconds
    while not (value := page.evaluate(condition)):
        assert time.monotonic() < end, condition
        time.sleep(0.02)
    return value
