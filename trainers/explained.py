"""Why a model decided about a handful of the videos that it was evaluated on (`--only_test --explain`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from yacs.config import CfgNode

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.configured import evaluation_batches, evaluation_views
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.evaluation.overlays import Why
from echoviewclip.inference.collect import collect
from echoviewclip.inference.explain import Explainer
from echoviewclip.inference.precision import Precision
from echoviewclip.models.outputs import present
from echoviewclip.models.video_clip import VideoCLIP


def explain_videos(
    config: CfgNode, model: VideoCLIP, precision: Precision, lists: Sequence[Annotations], names: Sequence[str]
) -> Mapping[str, Why]:
    """What spoke for and against the view that the model names in each of the videos `names`, as `lists` name them.

    The videos are read and answered again; those that are in no list or cannot be read are left out. All processes
    have to call it with the same names. Raises UserError where the model cannot be explained.
    """
    explainer = Explainer(model, evaluation_views(config)[1], keeps_pictures=True)
    paths = {videos.name(i): videos.path(i) for videos in lists for i in range(len(videos))}
    known = [name for name in names if name in paths]
    if not known:
        return {}
    loader = evaluation_batches(config, Annotations.of_paths([paths[name] for name in known]))
    collect(model, loader, DeviceTransform(train=False), precision, "explain", watch=explainer)
    return {
        known[place]: Why(one.frames, present(one.pictures), one.spoke_for, one.spoke_against)
        for place, one in explainer.explanations().items()
    }
