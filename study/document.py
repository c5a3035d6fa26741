"""One DICOM Structured Report: what was answered about the videos of a study, as a TID 1500 Measurement Report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pydicom
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.sr.codedict import codes
from pydicom.uid import UID, generate_uid

from echoviewclip.datasets.video.reasons import silence
from echoviewclip.inference.prediction import Prediction
from echoviewclip.study import codes as ours

silence("highdicom")  # it quotes names that are not of the form of names

PROGRAM = "EchoViewCLIP"
NOT_FOR_DIAGNOSIS = (
    "Research software, not a medical device. Not for diagnosis: nobody has checked these answers, and they must not "
    "guide the care of a patient."
)
SERIES = f"{PROGRAM}, research, not for diagnosis"
NEEDED = (  # of patient and study; may be empty, but not absent (type 2)
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
SERIES_NUMBER = 9901  # beyond what a machine counts to; a series number is for people


@dataclass(frozen=True)
class Answered:
    """A video: the header of its DICOM object, and what the model says of it."""

    header: pydicom.Dataset
    answer: Prediction


@dataclass(frozen=True)
class Device:
    """What answered: the version of this program, and the SHA-256 of the checkpoint."""

    version: str
    checkpoint: str

    @property
    def uid(self) -> UID:
        """The same for the same checkpoint, as the UID of a device is (PS3.5 B.2)."""
        return UID(f"2.25.{int(self.checkpoint[:32], 16)}")


def make_document(videos: Sequence[Answered], device: Device) -> pydicom.Dataset:
    """The report of videos of one study, with the patient and the study of the first.

    Raises whatever pydicom and highdicom make of headers that are not as they should be; its text may quote them.
    """
    algorithm = AlgorithmIdentification(PROGRAM, device.version, [f"checkpoint SHA-256 {device.checkpoint}"])
    observer = DeviceObserverIdentifyingAttributes(
        device.uid, PROGRAM, PROGRAM, f"{PROGRAM} {device.version}", device.checkpoint
    )
    report = MeasurementReport(
        ObservationContext(observer_device_context=ObserverContext(codes.DCM.Device, observer)),
        codes.SCT.Echocardiography,
        [_group(number, video, algorithm) for number, video in enumerate(videos, 1)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    remark = TextContentItem(codes.DCM.Comment, NOT_FOR_DIAGNOSIS, RelationshipTypeValues.CONTAINS)
    report[0].ContentSequence.append(remark)
    document = ComprehensiveSR(
        list({video.header.SOPInstanceUID: _evidence(video.header) for video in videos}.values()),
        report[0],
        series_instance_uid=generate_uid(None),
        series_number=SERIES_NUMBER,
        sop_instance_uid=generate_uid(None),
        instance_number=1,
        manufacturer=PROGRAM,
        manufacturer_model_name=PROGRAM,
        software_versions=device.version,
        device_serial_number=device.checkpoint,
        series_description=SERIES,
        content_qualification="RESEARCH",
        coding_schemes=[ours.scheme()],
    )
    document.SpecificCharacterSet = "ISO_IR 192"  # UTF-8, whatever set the headers' names came in
    return document


def _evidence(header: pydicom.Dataset) -> pydicom.Dataset:
    """What a report takes over from the header of an object; what the header lacks is empty."""
    found = pydicom.Dataset()
    for name in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", *NEEDED):
        setattr(found, name, header.get(name))
    return found


def _group(number: int, video: Answered, algorithm: AlgorithmIdentification) -> MeasurementsAndQualitativeEvaluations:
    """What is said of one video (TID 1501); it is named by a number, since file names may be patients'."""
    return MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(generate_uid(None), f"video {number}"),
        algorithm_id=algorithm,
        measurements=_numbers(video.answer),
        qualitative_evaluations=_words(video.answer),
        source_images=[
            SourceImageForMeasurementGroup(video.header.SOPClassUID, video.header.SOPInstanceUID),
        ],
    )


def _words(answer: Prediction) -> list[QualitativeEvaluation]:
    """View, decision and grade. A rejected video is said to be most like a view, and not to show it."""
    found: list[tuple[CodedConcept, CodedConcept]] = []
    if answer.view is not None:
        own = ours.private("view", answer.view)
        if answer.decision == "rejected":
            found.append((ours.private("name", "Most similar view"), own))
        else:
            plane, modes = ours.standard_view(answer.view)
            found += [(ours.IMAGE_VIEW, plane or own), (ours.private("name", "View by the label list"), own)]
            found += [(ours.IMAGE_MODE, mode) for mode in modes]
    if answer.decision is not None:
        found.append((ours.private("name", "Shows a known view"), ours.private("answer", answer.decision)))
    if answer.quality is not None:
        found.append((ours.QUALITY, ours.private("grade", answer.quality)))
    return [QualitativeEvaluation(name, value) for name, value in found]


def _numbers(answer: Prediction) -> list[Measurement]:
    """The probability of the view and the quality in percent; the score that decides, and from where it accepts."""
    rating = None if answer.quality_score is None else 100 * answer.quality_score
    certainty = None if answer.probability is None else 100 * answer.probability
    score = f"Score that decides: {answer.score_name}"
    values = [
        (ours.CERTAINTY, certainty, ours.PERCENT),
        (ours.private("score", score), answer.score, ours.ONE),
        (ours.private("score", "Least score that is accepted"), answer.tau, ours.ONE),
        (ours.QUALITY_RATING, rating, ours.ONE),
    ]
    return [Measurement(name, value, unit) for name, value, unit in values if value is not None]
