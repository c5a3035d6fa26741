"""`predict.py … --sr DIR`: the answers of the table, in a report; nothing of the patient anywhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import uid

from echoviewclip.predict import main
from echoviewclip.utils.errors import UserError
from tests.dicom_objects import sector, write_object
from tests.inference.predicted import read

highdicom = pytest.importorskip("highdicom", reason="requirements-sr.txt is not installed")
SECRETS = ("Garcia", "P-4711")


@pytest.mark.parametrize("report", [[], ["--report", "study.html"]], ids=["in parts", "with a page"])
def test_a_study_is_answered_and_reported(runs, elsewhere, capsys, report):
    for number in range(2):
        uids = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1", "SOPInstanceUID": uid.generate_uid()}
        frames, patient = sector(), {"PatientName": "Garcia^Ana", "PatientID": "P-4711", "Modality": "US"}
        write_object(f"{number}.dcm", frames.tobytes(), frames.shape, "RGB", **uids, **patient)
    resume = ["--resume", str(runs / "quality" / "last.pth"), "--device", "cpu", "--workers", "0"]
    assert main(["0.dcm", "1.dcm", "--sr", "sr", *report, *resume]) == 0
    said = capsys.readouterr()
    assert "1 structured report, with the names of patients: sr/001.dcm\n" in said.out
    content = highdicom.sr.srread("sr/001.dcm").content
    groups = content.get_image_measurement_groups()
    for group, row in zip(groups, read(), strict=True):
        (certainty,) = group.get_measurements(name=highdicom.sr.CodedConcept("111012", "DCM", "Certainty of Finding"))
        assert certainty.value == pytest.approx(100 * row["probability"])
    others = [file for file in Path().rglob("*") if file.is_file() and file.suffix != ".dcm"]
    assert others
    for secret in SECRETS:
        assert secret not in said.out + said.err
        assert not any(secret.encode() in file.read_bytes() for file in others)


def test_shares_are_refused(runs):
    with pytest.raises(UserError, match="--sr needs all videos at once; leave out --part"):
        main(["a.dcm", "--sr", "sr", "--part", "1/2", "--resume", str(runs / "quality" / "last.pth")])
