"""EV9V (huggingface.co/datasets/bgx666/EV9V): clips of nine views, as video files or as folders of frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from echoviewclip.datasets.intake.adapters.tables import Entry, choose, rows
from echoviewclip.utils.errors import UserError

# In the order of labels/ev9v.csv.
VIEWS = ("PLHLA", "PMASA", "PMVLSA", "PASA", "A4C", "A5C", "PMPALA", "PPMLSA", "SC4C")
LISTS = {"train.txt": "train", "val.txt": "val", "validation.txt": "val", "test.txt": "test"}
FOLDERS, SUFFIXES = ("", "Images", "Videos", "videos"), ("", ".mp4", ".avi")


def read(source: Path, destination: Path) -> Iterator[Entry]:
    """Lists of `<video> <CODE>`, or of `<video>` with the codes in `labels.csv` (names, labels)."""
    lists = [(source / name, split) for name, split in LISTS.items() if (source / name).is_file()]
    if not lists:
        raise UserError(f"{source}: holds none of {', '.join(LISTS)}")
    table = source / "labels.csv"
    codes = {row["names"]: row["labels"] for _, row in rows(table, "names", "labels")} if table.is_file() else {}
    labels = {view: number for number, view in enumerate(VIEWS)}
    for file, split in lists:
        for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
            if line.strip():
                video, _, code = line.strip().rpartition(" ")
                if not video:
                    video, code = code, codes.get(code, "")
                place = f"{file}:{number}"
                yield Entry(place, _find(source, video.strip()), split, choose(place, "the view", code, labels))


def _find(source: Path, video: str) -> str:
    """Where a video is; a folder of frames is a video, too."""
    for folder in FOLDERS:
        for suffix in SUFFIXES:
            path = Path(folder, video + suffix)
            if (source / path).exists():
                return path.as_posix()
    return video
