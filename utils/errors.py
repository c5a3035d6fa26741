"""The user's mistakes: reported in one line that says what to do, without a traceback."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

SAID_BY_LAUNCHER = "ERRORS_SAID_BY_LAUNCHER"  # set where utils.launch says for all its processes what one left behind


class UserError(Exception):
    """A mistake that the user can mend: its text says what is wrong, where (file, line, key) and what to do."""


def first_line(error: Exception) -> str:
    """What an error of a library says, short enough for a line of ours; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def exit_code(main: Callable[[], int | None]) -> int:
    """Runs a command's `main` and turns a `UserError` into one line on standard error and exit code 2."""
    try:
        return main() or 0
    except UserError as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print("interrupted", file=sys.stderr)
        return 130


def _say(words: str) -> None:
    """Prints a mistake, or leaves it in torchrun's error file where the launcher prints it once for all processes."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file and SAID_BY_LAUNCHER in os.environ:
        with open(file, "w", encoding="utf-8") as stream:
            json.dump({"message": words, "timestamp": int(time.time())}, stream)
    else:
        print(f"error: {words}", file=sys.stderr)
