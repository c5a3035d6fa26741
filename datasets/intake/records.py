"""What the user may choose, and what becomes of each source."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from echoviewclip.datasets.intake.preparation import Preparation


@dataclass(frozen=True)
class Options:
    """What the user may choose; see tools/prepare.py."""

    size: int = 256  # pixels of the short side; smaller videos are not enlarged
    stills: bool = False  # keep videos of one frame
    keep_names: bool = False
    any_modality: bool = False  # keep DICOM objects that are not ultrasound
    crop: bool = True  # cut to the box of the ultrasound image

    @property
    def preparation(self) -> Preparation:
        """What decides the pixels."""
        return Preparation(size=self.size, crop=self.crop)


@dataclass
class Record:
    """What became of one source: a line of the manifest, or of the report of faults."""

    source: str  # relative to SRC
    name: str = ""  # relative to DST/videos
    patient: str = ""  # salted hash of the DICOM patient, for splits by patient
    format: str = ""
    width: int = 0
    height: int = 0
    source_width: int = 0
    source_height: int = 0
    frames: int = 0
    fps: str = ""
    heart_rate: str = ""
    modality: str = ""  # a guess: 2d, color, m-mode, pw, cw
    regions: str = ""  # in pixels of the source
    box: str = ""  # what of the source the video shows: left, top, right, bottom in its pixels
    masked: float = 0.0  # share of the picture painted black
    warnings: list[str] = field(default_factory=list)
    fault: str = ""
    skipped: str = ""  # why it was left out, which is no fault
    lost: bool = False  # its process died or took too long: not tried again by itself


SEPARATOR = " | "  # between the warnings of a video in the manifest: they hold semicolons and commas themselves
MANIFEST = [f.name for f in fields(Record) if f.name not in ("fault", "skipped", "lost")]
