"""The user's mistakes: reported in one line that says what to do, without a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable


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
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
