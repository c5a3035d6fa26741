"""The shares of a prediction put together, without its checkpoint and its videos: `predict.py merge OUTPUT`.

A share that is whole leaves a note of its parts, and of the prediction that it is a share of: what was asked of which
videos. Answers of two predictions are never mixed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from echoviewclip.inference.parts import FOLDER, AnswerParts, WrittenParts
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import write_text

MOST_NAMED = 10  # missing shares that a message names


@dataclass(frozen=True)
class Share:
    """The `place`-th `of` so many of the prediction `whole` (`AnswerParts.whole`) of `total` videos.

    `files` are the names of its parts.
    """

    place: int
    of: int
    whole: str
    total: int
    files: list[str]


def note_share(parts: AnswerParts, place: int, of: int) -> None:
    """Notes that all videos of a share have been answered."""
    share = Share(place, of, parts.whole, parts.written.total, [file.name for file in parts.written.files])
    write_text(parts.folder / f"share-{place}-of-{of}-{parts.whole}.json", json.dumps(asdict(share)) + "\n")


def join_shares(output: str | Path) -> WrittenParts:
    """The answers of all shares in an output folder; of several predictions there, the one that was noted last.

    Raises UserError where there is none of which all shares have ended, naming those that have not.
    """
    folder = Path(output) / FOLDER
    found: dict[tuple[str, int], dict[int, Share]] = {}
    for note in sorted(folder.glob("share-*.json"), key=lambda file: file.stat().st_mtime_ns):
        share = _read(note)
        of_the_same = found.pop((share.whole, share.of), {})
        found[share.whole, share.of] = of_the_same | {share.place: share}  # the latest last
    if not found:
        raise UserError(
            f"{folder}: no share of a prediction has ended there (predict.py … --part I/N --output {output})"
        )
    complete = [shares for (_, of), shares in found.items() if len(shares) == of]
    if not complete:
        (_, of), shares = max(found.items(), key=lambda item: len(item[1]))
        missing = [str(place) for place in range(1, of + 1) if place not in shares]
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        raise UserError(
            f"{folder}: of {of} shares {', '.join(missing[:MOST_NAMED])}{more} have not ended; start them (again): "
            f"predict.py … --part {missing[0]}/{of}"
        )
    names = sorted((name for share in complete[-1].values() for name in share.files), key=_number)
    for name in names:
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: the part is gone; start the shares again, which answer what is missing")
    return WrittenParts(folder, [folder / name for name in names], complete[-1][1].total)


def _read(note: Path) -> Share:
    try:
        return Share(**json.loads(note.read_text(encoding="ascii")))
    except (OSError, ValueError, TypeError):
        raise UserError(f"{note}: not the note of a share; remove it, and start that share again") from None


def _number(name: str) -> int:
    return int(name.partition("-")[0])
