"""The user's mistakes: reported in one line that says what to do, without a traceback."""

from __future__ import annotations

import io
import json
import os
import reprlib
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from echoviewclip.utils.urls import without_secrets

ERROR_FILE = "RUN_ERROR_FILE"  # set where utils.launch says for all its processes why one failed, which that file tells
STOPPED = 75  # EX_TEMPFAIL of sysexits.h: the run was asked to stop; schedulers can be told to queue such a job again

MOST_SHOWN = 80  # characters of what an input says, where a message quotes it
MOST_IN_LINE = 1000  # characters of a line of a message; longer ones lose their middle


class UserError(Exception):
    """A mistake that the user can fix: its text says what is wrong, where (file, line, key) and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "\n".join(shortened(printable(without_secrets(line)), MOST_IN_LINE) for line in message.split("\n"))
        )


class LostPeer(UserError):
    """Another process of the run has ended or does not answer; this one is not the cause."""


def printable(text: str) -> str:
    """The text with what would move a terminal's cursor, or is no character at all, written as an escape sequence."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, most: int = MOST_SHOWN) -> str:
    """The text, or its beginning and its end with an ellipsis between: at most `most` characters."""
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 1]}…{text[-end:]}"


def quoted(value: object, most: int = MOST_SHOWN) -> str:
    """What an input says, as a message shows it: in quotes, special characters escaped, of sensible length.

    Safe for values of any size and depth, such as those of a yaml or JSON file.
    """
    if isinstance(value, str):
        return repr(shortened(value, most))
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxlist, brief.maxtuple, brief.maxdict, brief.maxset = 2, 4, 4, 4, 4
    brief.maxstring, brief.maxother = most, most
    try:
        return shortened(brief.repr(value), most)
    except ValueError:
        return "a number of thousands of digits"


def first_line(error: BaseException) -> str:
    """What an error of a library says, short enough for a line of ours; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def exit_code(main: Callable[[], int | None]) -> int:
    """Runs a command's `main` and turns a `UserError` into one line on standard error and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may be no text
    try:
        return main() or 0
    except LostPeer as error:
        Failure(str(error), lost_peer=True).tell()
        return 1
    except UserError as error:
        Failure(str(error)).tell()
        return 2
    except KeyboardInterrupt:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print("interrupted", file=sys.stderr)
        return 130


@dataclass(frozen=True)
class Failure:
    """Why a process failed: a line, and whether another process is the cause."""

    message: str
    lost_peer: bool = False

    def tell(self) -> None:
        """Prints the line, or leaves it where the launcher finds it, which prints one for all processes."""
        if ERROR_FILE not in os.environ:
            print(f"error: {self.message}", file=sys.stderr)
            return
        with open(os.environ[ERROR_FILE], "w", encoding="utf-8") as stream:
            json.dump(asdict(self), stream)

    @classmethod
    def read(cls, file: Path) -> Failure | None:
        """What a process left in `file`; None where it could not say."""
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
