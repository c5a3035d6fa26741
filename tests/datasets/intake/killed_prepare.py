"""A preparation that is killed in the middle of a video, in a process of its own. Linux only."""

from __future__ import annotations

import os
from pathlib import Path

from echoviewclip.datasets.intake import prepare as module
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options


def prepare_until_killed(source: Path, destination: Path, after: int, options: Options, *, torn: str = "") -> None:
    """Prepares `source`; the process is gone, without any clean-up, in the middle of video `after`.

    It leaves half a video, and `torn` at the end of its journal.
    """
    if not (child := os.fork()):
        try:  # what fails here must not go on as a second run of the tests
            _prepare_some(source, destination, after, options, torn)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def _prepare_some(source: Path, destination: Path, after: int, options: Options, torn: str) -> None:
    convert, done = module.convert, []

    def convert_some(root, name, folder, target, *more):
        if len(done) == after:
            (folder / "videos" / f".{target}.half.avi").write_bytes(b"RIFF")
            with (folder.parent / f"{folder.name}-private/done.jsonl").open("a") as journal:
                journal.write(torn)
            os._exit(9)
        done.append(name)
        return convert(root, name, folder, target, *more)

    module.convert = convert_some
    prepare(source, destination, options, 0)
