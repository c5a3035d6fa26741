"""Small videos in shards, and the same videos as files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from echoviewclip.datasets.intake.preparation import Preparation
from echoviewclip.datasets.intake.shards import write_shards
from tests.media import numbered_frames, write_video

VIDEOS = 26
SHARD_BYTES = 40_000  # two videos each
CUT = "train-000003.tar"  # a shard that tests damage


def write_prepared(folder: Path, videos: int = VIDEOS) -> Path:
    """A folder as prepare.py leaves it, with `train.csv`; writes its shards, too, and returns these."""
    (folder / "videos").mkdir(parents=True)
    names = [f"{k * 7919 % 10007:05d}.avi" for k in range(1, videos + 1)]
    for k, name in enumerate(names):
        write_video(folder / "videos" / name, numbered_frames(12, height=40, width=48, seed=k))
    rows = [f"{name},{k % 3},p{k},," for k, name in enumerate(names)]
    (folder / "train.csv").write_text("\n".join(["path,label,patient,quality,score", *rows]))
    (folder / "manifest.csv").write_text("\n".join(["name,warnings", *[f"{name}," for name in names]]))
    (folder / "prepared.json").write_text(json.dumps(asdict(Preparation())))
    write_shards(folder, SHARD_BYTES)
    return folder / "shards"


def shards_of(folder: Path) -> list[Path]:
    """The shards of a folder, in order."""
    return sorted((folder / "videos").glob("*.tar"))
