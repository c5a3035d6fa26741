"""The reader of DICOM objects. Numbers in brackets are DICOM tags.

Frames are cut out of the pixel data one by one, checked, and decoded for themselves, so that neither a long cine nor a
hostile header costs more memory than the frames that were asked for.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom import config, uid
from pydicom.filereader import read_partial
from pydicom.pixels import get_decoder

from echoviewclip.datasets.video.base import NoImage, OtherModality, Video, VideoError, errors_name
from echoviewclip.datasets.video.dicom.coded import CodedFrames
from echoviewclip.datasets.video.dicom.colour import to_rgb, true_meaning
from echoviewclip.datasets.video.dicom.gray import read_gray_scale
from echoviewclip.datasets.video.dicom.header import COLOURS, GRAYS, RETIRED, number, read_pixel_header
from echoviewclip.datasets.video.dicom.native import NativeFrames
from echoviewclip.datasets.video.dicom.pixel_data import Item, Picture, find_pixel_data
from echoviewclip.datasets.video.dicom.tables import read_palette
from echoviewclip.datasets.video.dicom.timing import frame_rate
from echoviewclip.datasets.video.reasons import Unreadable, silence
from echoviewclip.datasets.video.regions import Region, read_regions

silence("pydicom")
config.settings.reading_validation_mode = config.IGNORE  # else it logs values that are not of their kind

# Encapsulated MPEG-2, MPEG-4 AVC and HEVC streams: 1.2.840.10008.1.2.4.100 to .108, and .1 of each: in fragments
STREAMS = tuple(f"1.2.840.10008.1.2.4.{k}{part}" for k in range(100, 109) for part in ("", ".1"))
MAX_STREAM_BYTES = 1 << 30
MANY_FRAMES = 100_000
META_BYTES = 1 << 20  # the file's meta information lies in these
FLOAT_PIXEL_DATA = 0x7FE00008
DARK = 32  # a picture without any brighter pixel shows nothing


class DicomVideo(Video):
    """A DICOM object with pixel data; a single image is a video of one frame.

    Besides what every video has: `dataset`, all elements before the pixel data.
    """

    def __init__(self, path: str, source: BinaryIO | None = None) -> None:
        self.path, self.dataset = path, pydicom.Dataset()
        self.file = source or open(path, "rb")  # noqa: SIM115  (closed by `close`)
        try:
            with warnings.catch_warnings(), errors_name(path):
                warnings.simplefilter("ignore")  # remarks on values that matter to no one here
                self._read_header()
                self._find_frames()
        except BaseException as error:
            self.close()
            if isinstance(error, VideoError) and not isinstance(error, NoImage) and self.is_of_other_modality:
                raise OtherModality(self.path, error.reason) from error
            raise

    @property
    def is_of_other_modality(self) -> bool:
        """Whether Modality (0008,0060) is there and not US."""
        return str(self.dataset.get("Modality") or "").strip().upper() not in ("", "US")

    def _read_header(self) -> None:
        if uid.DeflatedExplicitVRLittleEndian.encode() in self.file.read(META_BYTES):
            # pydicom would inflate it whole, whatever it becomes.
            raise VideoError(self.path, "is a deflated DICOM object; videos are not stored so")
        self.file.seek(0)
        self.dataset = dataset = read_partial(self.file, _ends_header, force=True)
        pixels_at = self.file.tell()
        if "Rows" not in dataset or "Columns" not in dataset:
            if is_of_no_image(dataset):
                raise NoImage(self.path, "is a DICOM object without pixels")
            raise VideoError(self.path, "is a DICOM object without pixels" if len(dataset) else "is not a DICOM object")
        self.little = bool(dataset.original_encoding[1])
        pixels = find_pixel_data(self.file, pixels_at, self.little)
        if pixels is None:
            raise VideoError(self.path, "is a DICOM object without pixels")
        self.pixels, self.header = pixels, read_pixel_header(dataset)
        self.height, self.width, self.length = self.header.height, self.header.width, 1
        self.check_size()
        self.heart_rate = max(number(dataset, "HeartRate") or 0, 0) or None  # (0018,1088)
        self.regions: tuple[Region, ...] = read_regions(dataset)

    def _find_frames(self) -> None:
        syntax = self.dataset.file_meta.get("TransferSyntaxUID") or uid.ImplicitVRLittleEndian
        is_stream = syntax in STREAMS
        if not is_stream:
            check_syntax(syntax)
        self.stream: Video | None = None
        self.settled = False
        if not self.pixels.encapsulated:
            self.source: NativeFrames | CodedFrames = NativeFrames(self.file, self.pixels, self.header, self.little)
            if is_stream or syntax.is_compressed:
                self.warnings += ("the pixel data is not compressed, although the header says so",)
        else:
            self.source = CodedFrames(self.file, self.pixels, self.header)
            if is_stream or self.source.holds_stream():
                self._open_stream(self.source.items)
        self.length = len(self.stream) if self.stream else self.source.count
        self.fps = frame_rate(self.dataset, self.length) if self.length > 1 else None
        if self.stream:
            self.fps = self.fps or self.stream.fps
        self.warnings += tuple(self.source.warnings)
        self._compare_frames()

    def _compare_frames(self) -> None:
        declared = self.header.frames
        if declared not in (None, self.length):
            stated = declared if declared < MANY_FRAMES else "far more"  # digits that are no count may be a patient's
            self.warnings += (f"the header declares {stated} frames, the pixel data holds {self.length}",)
        elif declared is None and self.length > 1:
            self.warnings += (f"the header does not say that there are {self.length} frames",)

    def _open_stream(self, items: Sequence[Item]) -> None:
        from echoviewclip.datasets.video.pyav import PyAVVideo

        if sum(item.length for item in items) > MAX_STREAM_BYTES:
            raise VideoError(self.path, "holds a video stream of more than 1 GB")
        stream = io.BytesIO()
        for item in items:
            self.file.seek(item.start)
            stream.write(self.file.read(item.length))
        self.stream = PyAVVideo(self.path, stream)
        self.height, self.width = self.stream.height, self.stream.width

    def iterate(self, wanted: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        declared = self.header.frames or 0
        if wanted is not None and len(wanted) and self.length <= wanted[-1] < declared:
            raise VideoError(
                self.path, f"frame {wanted[-1]} of {declared} is missing: the pixel data holds {self.length}"
            )
        return super().iterate(wanted)

    def decode(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        if self.stream is not None:
            yield from self.stream.decode(wanted)
            return
        if not self.settled:
            with errors_name(self.path):
                self._settle()
        for k in wanted:
            yield self._rgb(self.source.picture(k))

    def _settle(self) -> None:
        """Reads what the colours mean, and looks at the first frame whether they can."""
        label = self.header.meaning
        if label not in GRAYS + COLOURS:
            known = f" {label}" if label in RETIRED else ""  # what else stands there may be anything
            raise Unreadable(f"its photometric interpretation{known} is not known")
        self.palette = read_palette(self.dataset, self.little, self.header.signed) if label == GRAYS[-1] else None
        self.gray = read_gray_scale(self.dataset, self.header, self.little)
        self.true_meanings: dict[str, str] = {}
        if label != GRAYS[-1] and "RedPaletteColorLookupTableDescriptor" in self.dataset:
            self.warnings += ("a supplemental palette colours some of its grey values; they are read as grey",)
        try:
            first = self.source.picture(0)
        except Exception:  # it will be named when it is read
            self.settled = True
            return
        if first.values.ndim == 3:
            meaning = true_meaning(first.values, first.meaning, first.bits)
            if meaning != first.meaning and self.source.shares_colours:
                raise Unreadable("its colours cannot be what its header says")
            if meaning != first.meaning:
                self.true_meanings[first.meaning] = meaning
                self.warnings += (f"the colours are {meaning}, although the header says {first.meaning}",)
        elif (first.bits > 8 or self.palette) and self._rgb(first).max() < DARK:
            self.warnings += ("the first frame is nearly black: its grey values or palette may be read wrong",)
        self.settled = True

    def _rgb(self, picture: Picture) -> np.ndarray:
        """uint8 [H, W, 3]."""
        if picture.meaning == "PALETTE COLOR":
            assert self.palette is not None
            return self.palette.look_up(picture.values)
        if picture.values.ndim == 2:
            gray = self.gray.to_bytes(picture.values, self.header, picture.bits)
            return np.repeat(gray[..., None], 3, axis=2)
        return to_rgb(picture.values, self.true_meanings.get(picture.meaning, picture.meaning), picture.bits)

    def close(self) -> None:
        self.file.close()


def _ends_header(tag: int, _representation: str | None, _length: int) -> bool:
    """At the pixels; and at zeros, which some copies leave where the rest of a file should be."""
    return tag >= FLOAT_PIXEL_DATA or tag == 0


def is_of_no_image(dataset: pydicom.Dataset) -> bool:
    """Whether objects of this SOP class (0008,0016) hold no image: reports, waveforms, presentation states, DICOMDIR.

    An object without a class, or of a class of images, should have one.
    """
    named = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or ""
    name = uid.UID(str(named)).name  # of private classes the number
    return bool(named) and "Image" not in name and name != "Enhanced US Volume Storage"


def check_syntax(syntax: uid.UID) -> None:
    """Raises Unreadable for codings that nothing here decodes."""
    try:
        get_decoder(syntax)
    except NotImplementedError:
        known = f": {syntax.name}" if syntax in uid.UID_dictionary else ""  # what else stands there may be anything
        raise Unreadable(f"its coding (transfer syntax) is not supported{known}") from None
