"""What a study holds and what it lacks: views with their clips, the protocol's list, clips to measure on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from echoviewclip.study.clips import Clip, Study, best_first
from echoviewclip.study.films import Film
from echoviewclip.study.groups import ViewGroups
from echoviewclip.study.protocol import Measurement, Protocol

Status = Literal["good", "poor", "ungraded", "rejected", "missing"]
WANTING: tuple[Status, ...] = ("missing", "rejected", "poor")


@dataclass(frozen=True)
class ViewClips:
    """A view that was found: its clips, best first."""

    view: str
    window: str
    mode: str
    clips: list[Clip]


@dataclass(frozen=True)
class Item:
    """A view of the protocol.

    Attributes:
        status: `good`: there in the best grade; `poor`: in lower ones alone; `ungraded`: there, and the checkpoint does
            not grade; `rejected`: the only clips that look like it were rejected; `missing`.
        optional: whether it may be missing.
        clips: of the view, best first, rejected ones last.
    """

    view: str
    status: Status
    optional: bool
    clips: list[Clip]

    @property
    def wanting(self) -> bool:
        """Whether something should be recorded again."""
        return not self.optional and self.status in WANTING


@dataclass(frozen=True)
class Choice:
    """The clip of a view to measure on.

    Attributes:
        clip: the best that will do; None where none does.
        nearest: where none does, the best clip of the view, if there is one …
        lacks: … and what it lacks, in words.
    """

    view: str
    clip: Clip | None
    nearest: Clip | None = None
    lacks: tuple[str, ...] = ()

    @property
    def film(self) -> Film | None:
        """What there is to play."""
        clip = self.clip or self.nearest
        return clip.film if clip else None


@dataclass(frozen=True)
class MeasurementChoice:
    """The clips for a measurement, one of each of its views."""

    measurement: Measurement
    choices: list[Choice]

    @property
    def ready(self) -> bool:
        """Whether each view has a clip that will do."""
        return all(choice.clip for choice in self.choices)


@dataclass(frozen=True)
class Findings:
    """All that the page says of a study.

    Attributes:
        views: what was found, in the order of the groups.
        unnamed: answered videos without a view: of a checkpoint that only grades; best first.
        rejected: best first.
        unreadable: videos without an answer.
        items: the protocol's views; empty without a protocol.
        measurements: the clips to measure on.
    """

    study: Study
    views: list[ViewClips]
    unnamed: list[Clip]
    rejected: list[Clip]
    unreadable: list[Clip]
    items: list[Item]
    measurements: list[MeasurementChoice]

    @property
    def wanting(self) -> dict[Status, list[Item]]:
        """Views of the protocol that are missing, those of rejected clips alone, those in bad quality only."""
        found = {status: [item for item in self.items if item.wanting and item.status == status] for status in WANTING}
        return {status: items for status, items in found.items() if items}

    @property
    def lacking(self) -> int:
        """How many views of the protocol should be looked at."""
        return sum(item.wanting for item in self.items)

    @property
    def required(self) -> list[Item]:
        """Views of the protocol that should be there."""
        return [item for item in self.items if not item.optional]


def find(study: Study, groups: ViewGroups, protocol: Protocol | None, grades: Sequence[str]) -> Findings:
    """Orders the clips of a study and holds them against a protocol; `grades` worst first, empty without grades."""
    by_view: dict[str, list[Clip]] = {}
    for clip in best_first(study.clips):
        if clip.answer.view is not None and not clip.answer.error:
            by_view.setdefault(clip.answer.view, []).append(clip)
    views = []
    for view in sorted(by_view, key=lambda view: (groups.order(view), view)):
        if found := [clip for clip in by_view[view] if clip.found]:
            views.append(ViewClips(view, *groups.place(view), found))
    answered = [clip for clip in study.clips if not clip.answer.error]
    return Findings(
        study,
        views,
        best_first(clip for clip in answered if clip.answer.view is None),
        [clip for clip in best_first(answered) if clip.rejected],
        [clip for clip in study.clips if clip.answer.error],
        list(_items(protocol, by_view, len(grades))) if protocol else [],
        [
            MeasurementChoice(one, [choose(view, by_view.get(view, []), one, grades) for view in one.views])
            for one in (protocol.measurements if protocol else ())
        ],
    )


def _items(protocol: Protocol, by_view: dict[str, list[Clip]], grades: int) -> Iterator[Item]:
    for optional, names in ((False, protocol.views), (True, protocol.optional)):
        for view in names:
            clips = by_view.get(view, [])
            yield Item(view, status_of(clips, grades), optional, clips)


def status_of(clips: Sequence[Clip], grades: int) -> Status:
    """How far a view is there, by its clips, best first; `grades` is the number of grades."""
    if not clips:
        return "missing"
    if not clips[0].found:
        return "rejected"
    if not grades:
        return "ungraded"
    return "good" if clips[0].grade == grades - 1 else "poor"


def choose(view: str, clips: Sequence[Clip], measurement: Measurement, grades: Sequence[str]) -> Choice:
    """The best clip of a view that a measurement can be made on; `clips` best first."""
    lacking = [(clip, what_lacks(clip, measurement, grades)) for clip in clips]
    for clip, lacks in lacking:
        if not lacks:
            return Choice(view, clip)
    if not lacking:
        return Choice(view, None)
    clip, lacks = min(lacking, key=lambda pair: len(pair[1]))
    return Choice(view, None, clip, tuple(lacks))


def what_lacks(clip: Clip, measurement: Measurement, grades: Sequence[str]) -> list[str]:
    """Why a clip will not do for a measurement, in words; empty where it will."""
    lacks = []
    if clip.rejected:
        lacks.append("rejected")
    if grades and clip.grade != len(grades) - 1:
        defect = f" ({clip.answer.defect.replace('_', ' ')})" if clip.answer.defect else ""
        lacks.append(f"graded {clip.answer.quality or 'not at all'}{defect}")
    seconds, beats = clip.timing.seconds, clip.timing.beats
    if clip.timing.frames == 1:
        lacks.append("a still image")
    elif seconds is None:
        lacks.append("length not known: no frame rate")
    elif beats is not None and beats < measurement.beats:
        lacks.append(f"{beats:.2g} beats, shorter than {measurement.beats:g}")
    elif beats is None and seconds < measurement.seconds:
        lacks.append(f"{seconds:.2g} s, shorter than {measurement.seconds:g} s")
    return lacks
