"""One source becomes one prepared video, black outside the ultrasound image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from datasets.dicom import DicomVideo
from datasets.intake.encode import UNKNOWN_FPS, write_mjpeg
from datasets.intake.find import NO_IMAGE, why_left_out
from datasets.intake.names import hash_patient
from datasets.intake.records import Options, Record
from datasets.reasons import reason_of
from datasets.regions import Region, fitting_regions
from datasets.sector import MOSTLY_IMAGE, find_image
from datasets.video import NoImage, Video, VideoError, open_video
from utils.errors import UserError
from utils.files import atomic_path

MASK_FRAMES = 32  # looked at to find the ultrasound image


def convert(root: Path, name: str, destination: Path, target: str, options: Options, salt: bytes) -> Record:
    """Reads one source, paints everything but ultrasound black, writes the small video.

    Whatever is wrong with the source goes into the record. Raises UserError where the video cannot be written.
    """
    record = Record(name, target)
    try:
        with open_video(root / name) as video:
            record.skipped = why_left_out(video, stills=options.stills, any_modality=options.any_modality)
            if record.skipped:
                return record
            _describe(video, record, salt)
            mask = _find_image(video, record)
            file = destination / "videos" / target
            with atomic_path(file) as temporary:
                size = write_mjpeg(temporary, _small(video, mask, options.size), video.fps, video.heart_rate)
            record.height, record.width = size
            record.warnings += video.warnings
    except NoImage:
        return Record(name, target, skipped=NO_IMAGE)
    except VideoError as error:
        return Record(name, target, fault=error.reason)
    except UserError:
        raise
    except Exception as error:  # a file that nobody thought of must not end the run
        return Record(name, target, fault=f"cannot be prepared: {reason_of(error)}")
    return record


def _find_image(video: Video, record: Record) -> np.ndarray:
    """Where the ultrasound image is, bool [H, W]; what was found goes into the record."""
    sample = video.frames(np.linspace(0, len(video) - 1, min(MASK_FRAMES, len(video))).round().astype(int))
    regions = fitting_regions(video.regions, *sample.shape[-2:])
    if video.regions and not regions:
        record.warnings.append("the region tags do not fit the picture and were not used")
    sample = sample.permute(0, 2, 3, 1).numpy()
    found = find_image(sample, regions)
    record.warnings += found.warnings
    mask = found.mask if found.confidence >= MOSTLY_IMAGE else np.ones_like(found.mask)
    record.masked = round(float(1 - mask.mean()), 4)
    record.modality = guess_modality(sample, mask, regions)
    return mask


def _describe(video: Video, record: Record, salt: bytes) -> None:
    record.format = type(video).__name__.removesuffix("Video").lower().replace("pyav", "video")
    record.frames = len(video)
    record.fps = f"{video.fps:.4g}" if video.fps else ""
    record.heart_rate = f"{video.heart_rate:.4g}" if video.heart_rate else ""
    record.source_width, record.source_height = video.width, video.height
    record.regions = " ".join(map(str, video.regions))
    if isinstance(video, DicomVideo):
        record.patient = hash_patient(salt, str(video.dataset.get("PatientID") or ""))
    if not video.fps and len(video) > 1:
        record.warnings.append(f"the frame rate is not known; the file says {UNKNOWN_FPS}")


def _small(video: Video, mask: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """All frames, masked, with their short side at most `size`."""
    height, width = mask.shape
    scale = min(1.0, size / min(height, width))
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    keep = torch.from_numpy(mask[..., None].astype(np.uint8))
    for frame in video.iterate():
        pixels = (torch.from_numpy(frame) * keep).permute(2, 0, 1)[None]
        if shape != (height, width):
            pixels = F.interpolate(pixels, shape, mode="bilinear", antialias=True)
        yield pixels[0].permute(1, 2, 0).contiguous().numpy()


def guess_modality(frames: np.ndarray, mask: np.ndarray, regions: Sequence[Region]) -> str:
    """What kind of ultrasound uint8 frames [T, H, W, 3] show: by the region tags, else 2d or color by the pixels."""
    types = {region.data_type for region in regions}
    if "m-mode" in {region.spatial_format for region in regions}:
        return "m-mode"
    for kind, data_type in (("cw", "cw"), ("pw", "pw"), ("color", "color flow")):
        if data_type in types:
            return kind
    pixels = frames[:, mask].astype(np.int16)
    colored = (pixels.max(-1) - pixels.min(-1)) > 60
    return "color" if colored.mean() > 0.005 else "2d"
