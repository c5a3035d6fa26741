"""One source becomes one prepared video, black outside the ultrasound image, and a record."""

from __future__ import annotations

from pathlib import Path

from echoviewclip.datasets.intake.find import NO_IMAGE, NOT_ULTRASOUND, why_left_out
from echoviewclip.datasets.intake.names import hash_patient
from echoviewclip.datasets.intake.pictures import look_at, write_prepared
from echoviewclip.datasets.intake.records import Options, Record
from echoviewclip.datasets.video.base import NoImage, OtherModality, Video, VideoError
from echoviewclip.datasets.video.dicom import DicomVideo
from echoviewclip.datasets.video.open import open_video
from echoviewclip.datasets.video.reasons import reason_of
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path
from echoviewclip.utils.urls import join


def convert(
    root: Path | str, name: str, destination: Path, target: str, options: Options, salt: bytes, path: str = ""
) -> Record:
    """Reads one source, paints everything but ultrasound black, writes the small video.

    The source is `name` in a folder or at a URL `root`, or where `path` says. Whatever is wrong with it goes into the
    record. Raises UserError where the video cannot be written.
    """
    record = Record(name, target)
    try:
        with open_video(path or join(str(root), name)) as video:
            record.skipped = why_left_out(video, stills=options.stills, any_modality=options.any_modality)
            if record.skipped:
                return record
            _describe(video, record, salt)
            _write(video, record, destination / "videos" / target, options)
    except NoImage:
        return Record(name, target, skipped=NO_IMAGE)
    except VideoError as error:
        if isinstance(error, OtherModality) and not options.any_modality:
            return Record(name, target, skipped=NOT_ULTRASOUND)
        return Record(name, target, fault=error.reason)
    except UserError:
        raise
    except Exception as error:  # a file that nobody thought of must not end the run
        return Record(name, target, fault=f"cannot be prepared: {reason_of(error)}")
    return record


def _write(video: Video, record: Record, file: Path, options: Options) -> None:
    """Writes the video; what was found in its pictures goes into the record."""
    picture = look_at(video, options.crop)
    record.masked = round(float(1 - picture.mask.mean()), 4)
    record.box = ",".join(map(str, picture.box))
    record.modality = picture.modality
    with atomic_path(file) as temporary:
        record.height, record.width = write_prepared(temporary, video, picture, options.preparation)
    record.warnings += [*picture.warnings, *video.warnings]


def _describe(video: Video, record: Record, salt: bytes) -> None:
    record.format = type(video).__name__.removesuffix("Video").lower().replace("pyav", "video")
    record.frames = len(video)
    record.fps = f"{video.fps:.4g}" if video.fps else ""
    record.heart_rate = f"{video.heart_rate:.4g}" if video.heart_rate else ""
    record.source_width, record.source_height = video.width, video.height
    record.regions = " ".join(map(str, video.regions))
    if isinstance(video, DicomVideo):
        record.patient = hash_patient(salt, str(video.dataset.get("PatientID") or ""))
