"""What the answers are called in DICOM: codes of the standard where it has them, else private ones (PS3.16)."""

from __future__ import annotations

import hashlib
from functools import cache

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes

from echoviewclip.utils.errors import shortened
from echoviewclip.utils.files import find_own
from echoviewclip.utils.yaml_text import read_yaml_file

VIEWS = "labels/dicom.yaml"
SCHEME = "99ECHOVIEWCLIP"
MEANING = 64  # characters that a code meaning may have (PS3.5 table 6.2-1, LO)

IMAGE_VIEW, IMAGE_MODE = codes.DCM.ImageView, codes.SCT.ImageMode
CERTAINTY, PERCENT, ONE = codes.DCM.CertaintyOfFinding, codes.UCUM.Percent, codes.UCUM.NoUnits
QUALITY, QUALITY_RATING = codes.DCM.ImageQuality, codes.DCM.ImageQualityRating


def private(kind: str, meaning: str) -> CodedConcept:
    """A concept of our own. Its value follows from what it means, so that two programs never mean different things."""
    digest = hashlib.sha256(meaning.encode(errors="surrogateescape")).hexdigest()
    return CodedConcept(f"{kind}-{digest[:8]}", SCHEME, shortened(meaning, MEANING))


def scheme() -> CodingSchemeIdentificationItem:
    """What a file says of our own concepts (PS3.3 C.12.1)."""
    return CodingSchemeIdentificationItem(SCHEME, name="EchoViewCLIP", responsible_organization="EchoViewCLIP")


@cache
def _standard() -> dict[str, list[str]]:
    return read_yaml_file(find_own(VIEWS))


def standard_view(name: str) -> tuple[CodedConcept | None, list[CodedConcept]]:
    """The plane of a view of a label list and the modes that it is recorded in; None and [] where there is no code."""
    if name not in _standard():
        return None, []
    plane, *modes = _standard()[name]
    return _concept(codes.cid12226, plane), [_concept(codes.cid12224, mode) for mode in modes]


def _concept(group: object, keyword: str) -> CodedConcept:
    code = getattr(group, keyword)
    return CodedConcept(code.value, code.scheme_designator, code.meaning)
