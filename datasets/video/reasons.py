"""Why a file cannot be read, in words of this program's own.

What a decoding library says of a file may quote the file, and with it a patient's name. Nothing of that is passed on:
only what kind of error it was.
"""

from __future__ import annotations

import errno
import logging
import os
import warnings

# By name of the exception's class or of one it derives from, so that no library need be loaded to know its errors.
WORDS = {
    "MemoryError": "it needs more memory than there is",
    "RecursionError": "it is nested too deeply",
    "TimeoutError": "decoding it takes too long",
    "EOFError": "it is cut short",
    "InvalidDataError": "Invalid data found when processing input",  # FFmpeg's own words
    "PatchWelcomeError": "its coding is not supported",
    "DecoderNotFoundError": "its coding is not supported",
    "NotImplementedError": "its coding is not supported",
    "UnidentifiedImageError": "it is not an image, or is damaged",
    "DecompressionBombError": "it declares too many pixels",
    "TarError": "the archive is damaged",
    "OSError": "it is cut short or damaged",
}


def silence(library: str) -> None:
    """Keeps what a library says of files, which quotes them, out of logs and terminals."""
    logger = logging.getLogger(library)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    warnings.filterwarnings("ignore", module=rf"{library}\b")


class Unreadable(Exception):
    """A file that cannot be read; its text says why and quotes nothing of the file. See `reason_of`."""


def reason_of(error: BaseException) -> str:
    """Why reading failed, without a word of the file or of the library that read it."""
    if isinstance(error, Unreadable):
        return str(error)
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number in errno.errorcode:
        return os.strerror(number)
    for kind in type(error).__mro__:
        if kind.__name__ in WORDS:
            return WORDS[kind.__name__]
    return f"its content is damaged ({type(error).__name__})"
