"""Whether videos were prepared as those that a model was trained on: what a checkpoint keeps of it, and warnings."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.intake.preparation import VERSION, Preparation, count_preparations, described
from echoviewclip.inference.checkpoint import AnyCheckpoint, Checkpoint

log = logging.getLogger(__name__)

Counts = Counter[Preparation | None]


def settle_preparation(
    checkpoint: AnyCheckpoint | None, train: Annotations | None, evaluated: Sequence[Annotations]
) -> Preparation | None:
    """How the training videos were prepared; most of them where they differ; None for not.

    The log says which lists hold videos that were prepared otherwise; without a training list, otherwise than those of
    the checkpoint, if it says. Raises UserError for a damaged note.
    """
    lists = [train, *evaluated] if train is not None else list(evaluated)
    counts = {id(part): count_preparations(part.paths()) for part in lists}
    says = isinstance(checkpoint, Checkpoint) and checkpoint.origin.says_preparation
    before = of_checkpoint(checkpoint)
    if train is not None:
        expected = commonest(counts[id(train)])
        whose = "the training videos" if len(counts[id(train)]) == 1 else "most training videos"
        if checkpoint and says and expected != before:
            log.warning("%s: %s", checkpoint.file, difference(before, expected, "its training videos", whose))
    elif says:
        expected, whose = before, "the training videos"
    else:
        return None
    for part in lists:
        for sentence in differences(counts[id(part)], expected, whose, len(part)):
            log.warning("%s: %s", part.file, sentence)
    return expected


def commonest(counts: Counts) -> Preparation | None:
    """The preparation of most videos; of none where most were not prepared."""
    return counts.most_common(1)[0][0]


def of_checkpoint(checkpoint: AnyCheckpoint | None) -> Preparation | None:
    """How the training videos of a checkpoint were prepared; None where they were not, or it does not say."""
    return checkpoint.origin.preparation if isinstance(checkpoint, Checkpoint) else None


def differences(counts: Counts, expected: Preparation | None, whose: str, total: int) -> Iterator[str]:
    """A sentence for each preparation of some of `total` videos that is not the `expected` one, of those of `whose`."""
    for other, videos in counts.items():
        if other != expected:
            yield difference(other, expected, f"{videos} of {total} videos", whose)


def difference(other: Preparation | None, expected: Preparation | None, who: str, whose: str) -> str:
    """That the videos `who` were prepared otherwise than those of `whose`, and how."""
    if other is None or expected is None:
        return f"{who} were {described(other)}, {whose} were {described(expected)}"
    given, wanted = asdict(other), asdict(expected)
    parts = [f"{name} {value}, not {wanted[name]}" for name, value in given.items() if value != wanted[name]]
    return f"{who} were prepared otherwise than {whose}: {'; '.join(parts)}"


def before_answers(
    videos: Sequence[str], expected: Preparation | None, as_is: bool, told: set[Preparation | None] | None = None
) -> Iterator[str]:
    """What to say before raw videos are prepared as the training videos were (`expected`), or with `as_is` are not.

    `expected` is None where the checkpoint names no preparation. Of videos that come in parts `told` holds the
    preparations of those before, of which nothing is said again, and gets those of these.
    """
    told = set() if told is None else told
    first, counts = not told, count_preparations(videos)
    for before in told:
        del counts[before]
    told |= counts.keys()
    if expected is None:
        for other in counts.keys() - {None}:
            prepared = f"{counts[other]} of {len(videos)} videos were {other}"
            yield f"{prepared}, and the checkpoint does not say that its training videos were"
        if as_is and first:
            yield "--as-is changes nothing: the checkpoint does not say that its training videos were prepared"
        return
    if None in counts and not as_is and expected.version != VERSION:
        yield (
            f"the training videos were prepared by version {expected.version} of preparing, and this program has "
            f"version {VERSION}, which may give other pixels"
        )
    if not as_is:
        del counts[None]  # become as the training videos were
    yield from differences(counts, expected, "the training videos", len(videos))
