"""Shards that a reading process reads front to back, and what it has read and not yet used.

Which videos these are the sampler says (`datasets.shard_order.Turn`). How they are read changes no result: what has not
been read ahead, or not without a fault, is read from where it lies when it is asked for, and fails there as any other.
"""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import suppress

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.shard_order import Turn
from echoviewclip.datasets.video.base import Video
from echoviewclip.datasets.video.open import open_video
from echoviewclip.datasets.video.reasons import Unreadable
from echoviewclip.datasets.video.tar import HEADER, Place, find_member, read_member
from echoviewclip.utils.workers import time_limit

BLOCK = 1 << 20  # bytes that are read at once; as far as this ahead it is quicker to read on than to seek


class ForwardReader:
    """The videos of a list that lie in shards; open them with `open`, each after its turn has begun (`begin`)."""

    def __init__(self, videos: Annotations, seconds: float) -> None:
        """Reading ahead is given up for a turn after `seconds` (0: never)."""
        self.videos, self.seconds = videos, seconds
        self._held: dict[str, bytes] = {}  # content by path
        self._shards: dict[int, _OpenShard] = {}  # by lane
        self._run, self._current = -1, ""

    def begin(self, turn: Turn) -> None:
        """Drops what had the turn before, and reads what has to be read now."""
        if turn.run != self._run:
            self._begin_anew(turn.run)
        self._held.pop(self._current, None)
        self._current = self.videos.path(turn.video)
        with suppress(TimeoutError), time_limit(self.seconds):
            for video in turn.ahead:
                self._read(turn.lane, self.videos.path(video))

    def open(self, path: str, decoder: str) -> Video:
        """As `open_video`."""
        content = self.content(path)
        return open_video(path, decoder, None if content is None else io.BytesIO(content))

    def content(self, path: str) -> bytes | None:
        """What has been read ahead of a video; None where it has not."""
        return self._held.get(path)

    def _begin_anew(self, run: int) -> None:
        """Lets go of what an epoch that was left early has read."""
        for shard in self._shards.values():
            shard.file.close()
        self._held, self._shards, self._run = {}, {}, run

    def _read(self, lane: int, path: str) -> None:
        """Keeps the content of a video, if it can be read."""
        try:
            if (place := find_member(path)) is not None:
                self._held[path] = self._shard(lane, place.archive).read(place)
        except TimeoutError:
            raise
        except (OSError, Unreadable, tarfile.TarError):
            return

    def _shard(self, lane: int, archive: str) -> _OpenShard:
        """The shard that a lane is at."""
        shard = self._shards.get(lane)
        if shard is None or shard.archive != archive:
            if shard is not None:
                shard.file.close()
            shard = self._shards[lane] = _OpenShard(archive)
        return shard


class _OpenShard:
    """A shard and how far it has been read."""

    def __init__(self, archive: str) -> None:
        self.archive, self.at = archive, 0
        self.file = open(archive, "rb", buffering=BLOCK)  # noqa: SIM115  (closed with this object)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def read(self, place: Place) -> bytes:
        """The content of a member; raises as `read_member` does."""
        start, at = place.offset - HEADER, self.at
        self.at = -1  # unknown, should reading fail
        if 0 <= at <= start <= at + BLOCK:
            self.file.read(start - at)
        else:
            self.file.seek(start)
        content = read_member(self.file, place)
        self.at = place.offset + place.size
        return content
