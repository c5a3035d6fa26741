"""`predict.py … --sr DIR`: DICOM Structured Reports of DICOM studies, a file each.

They hold what identifies the patient, as the standard wants it, so they are written on request only, for their owner
alone, and nothing of them goes anywhere else.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pydicom

import echoviewclip
from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.dicom import DicomVideo
from echoviewclip.datasets.video.open import open_video
from echoviewclip.evaluation.provenance import sha256
from echoviewclip.inference.prediction import Prediction
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path, check_writable
from echoviewclip.utils.urls import shown

IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")  # that a reference needs


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


@dataclass
class Written:
    """What became of the answers.

    Attributes:
        files: the reports, one a study.
        without: how many videos are in none, by the reason.
    """

    files: list[Path] = field(default_factory=list)
    without: dict[str, int] = field(default_factory=dict)

    def summary(self) -> str:
        """Where the reports are and what is in none, a line each."""
        lines = [
            f"{_plural(count, 'video')} in no structured report: they {why}" for why, count in self.without.items()
        ]
        if self.files:
            where = f"{self.files[0]}{f' to {self.files[-1].name}' if len(self.files) > 1 else ''}"
            lines.append(f"{_plural(len(self.files), 'structured report')}, with the names of patients: {where}")
        return "".join(f"{line}\n" for line in lines)

    def leave_out(self, reason: str, videos: int = 1) -> None:
        """Counts videos that are in no report."""
        self.without[reason] = self.without.get(reason, 0) + videos


class StructuredReports:
    """What writes the reports of a run into a folder."""

    def __init__(self, folder: str | Path, videos: Sequence[str], checkpoint: str | Path) -> None:
        """Checks all that can be checked before the work.

        Raises UserError: highdicom is not installed, the folder holds something or cannot be written to, one of the
        `videos` is no DICOM object.
        """
        if find_spec("highdicom") is None:
            raise UserError("--sr needs highdicom, which is not installed: pip install -r requirements-sr.txt")
        self.folder = Path(folder)
        if self.folder.is_file() or (self.folder.is_dir() and any(self.folder.iterdir())):
            raise UserError(f"--sr {folder}: name a new or empty folder, so that reports of other studies stay apart")
        check_writable(self.folder)
        self._paths = {shown(video): video for video in videos}
        self._studies = {name: _study_of(video) for name, video in self._paths.items()}
        others = [video for video, study in self._studies.items() if study is None]
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise UserError(f"--sr is for DICOM studies, and {others[0]}{more} is no DICOM object: leave that out")
        self._checkpoint = checkpoint_hash(Path(checkpoint))

    def write(self, rows: Iterable[Prediction]) -> Written:
        """A report of each study that has answers, `001.dcm`, `002.dcm`, … in the order of its first video."""
        from echoviewclip.study.document import Answered, Device, make_document

        device = Device(echoviewclip.__version__, self._checkpoint)
        written, studies = Written(), dict[tuple[str, ...], list[Prediction]]()
        for row in rows:
            study = self._studies.get(row.file)
            if row.error:
                written.leave_out("have no answer")
            elif not study:
                written.leave_out("do not say which study they are of")
            else:
                studies.setdefault(study, []).append(row)
        for answers in studies.values():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # remarks on values, which quote them
                    report = make_document(
                        [Answered(read_header(self._paths[row.file]), row) for row in answers], device
                    )
                    file = self.folder / f"{len(written.files) + 1:03d}.dcm"
                    with atomic_path(file, private=True) as path:
                        report.save_as(path, enforce_file_format=True)
            except UserError:
                raise
            except Exception:  # what libraries make of values that are not of their kind, and quote
                written.leave_out("have headers that are not as DICOM wants them", len(answers))
            else:
                written.files.append(file)
        return written


def read_header(video: str) -> pydicom.Dataset:
    """All elements before the pixels of a DICOM object. Raises VideoError."""
    with open_video(video) as opened:
        assert isinstance(opened, DicomVideo)
        return opened.dataset


def _study_of(video: str) -> tuple[str, ...] | None:
    """Patient and study of a DICOM object; () where its header does not identify it, None of another file.

    What cannot be read at all counts as DICOM: it gets no answer either.
    """
    try:
        with open_video(video) as opened:
            if not isinstance(opened, DicomVideo):
                return None
            if not all(str(opened.dataset.get(name) or "") for name in IDENTIFIERS):
                return ()
            return str(opened.dataset.StudyInstanceUID), str(opened.dataset.get("PatientID") or "")
    except VideoError:
        return ()


def checkpoint_hash(checkpoint: Path) -> str:
    """The SHA-256 of a checkpoint; of an exported folder that of its list of files as `sha256sum` writes it.

    Raises UserError where it cannot be read.
    """
    try:
        if checkpoint.is_file():
            return sha256(checkpoint)
        files = sorted(file for file in checkpoint.iterdir() if file.is_file())
        return hashlib.sha256("".join(f"{sha256(file)}  {file.name}\n" for file in files).encode()).hexdigest()
    except OSError as error:
        raise UserError(f"{checkpoint}: cannot be read: {error.strerror}") from None
