"""One way to read any video: `open_video(path)`.

What lies behind the path decides the reader: a video file, a DICOM object, a folder of images, a still image, an
array, or a member of a `.tar` that stands where a folder might (`videos.tar/a.avi`). Of a URL (`s3://bucket/a.avi`) a
local copy is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from tarfile import is_tarfile
from typing import BinaryIO

from echoviewclip.datasets.video.base import Video, VideoError, errors_name, may_be_opened
from echoviewclip.datasets.video.content import HEAD_BYTES, kind_of
from echoviewclip.datasets.video.reasons import Unreadable
from echoviewclip.utils.urls import is_url, shown

DECODERS = ("pyav", "torchcodec", "decord")

Opener = Callable[[str, str], Video]
"""Opens a path with a decoder (one of DECODERS) as `open_video` does."""


def open_video(path: str | Path, decoder: str = "pyav", content: BinaryIO | None = None) -> Video:
    """Opens a video for reading, where it has been read its `content`; use it as a context manager.

    `decoder` (one of DECODERS) reads video files; other kinds have one reader each. The content decides the kind,
    not the suffix. Raises VideoError.
    """
    # Here, so that the libraries of readers that are not used stay unloaded.
    from echoviewclip.datasets.video import images
    from echoviewclip.datasets.video.dicom import DicomVideo

    path = str(path)
    with errors_name(path):
        member = content or _open_elsewhere(path)
        path = shown(path)
        if member is None and not may_be_opened(path):
            raise VideoError(path, "is a pipe, a socket or a device, not a file")
        video: Video
        if isinstance(member, Sequence) or (member is None and Path(path).is_dir()):
            video = images.FolderVideo(path, member)
        elif member is None and path.endswith(".tar") and is_tarfile(path):
            raise VideoError(path, _why_no_video(path))
        else:
            kind = _kind(path, member)
            if kind == "dicom":
                video = DicomVideo(path, member)
            elif kind == "array":
                video = images.ArrayVideo(path, member)
            elif kind == "image":
                video = images.StillVideo(path, member)
            else:
                video = video_reader(decoder)(path, member)
        try:
            video.check_size()
        except VideoError:
            video.close()
            raise
    return video


def _open_elsewhere(path: str) -> BinaryIO | Sequence[tuple[str, Callable[[], BinaryIO]]] | None:
    """What a URL leads to or an archive holds: a file, or the name and an opener of each file in a folder; None for a
    path on the disk."""
    if not is_url(path):
        from echoviewclip.datasets.video import tar

        return tar.open_member(path)
    from echoviewclip.datasets.remote.downloads import IsFolder, open_copy, open_folder

    try:
        return open_copy(path)
    except IsFolder:
        return open_folder(path)


def _why_no_video(archive: str) -> str:
    from echoviewclip.datasets.video.tar import is_cut_short

    if is_cut_short(archive):
        return "is an archive that is cut short: what lies behind the cut is missing"
    return "is an archive; name the videos in it, ARCHIVE.tar/VIDEO"


def _kind(path: str, member: BinaryIO | None) -> str:
    with nullcontext(member) if member else open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
    if not head:
        raise VideoError(path, "is empty")
    kind = kind_of(head)
    if not kind and path.lower().endswith((".dcm", ".dicom")):
        # Something is damaged, perhaps only the second element.
        if not head.startswith((b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08")):
            raise VideoError(path, "is not a DICOM object")
        return "dicom"
    return kind


def video_reader(decoder: str) -> Callable[[str, BinaryIO | None], Video]:
    """What opens a video file with `decoder`, by its path, or its bytes under the name of a path."""
    if decoder == "pyav":
        from echoviewclip.datasets.video.pyav import PyAVVideo

        return PyAVVideo
    from echoviewclip.datasets.video import optional

    if decoder == "torchcodec":
        return optional.TorchCodecVideo
    if decoder == "decord":
        return optional.DecordVideo
    raise Unreadable(f"the decoder must be one of {', '.join(DECODERS)}, found {decoder!r}")
