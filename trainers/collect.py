"""What a model answers about every video of a list, exactly once, whatever the number of processes and views."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm
from yacs.config import CfgNode

from datasets.cropping import clips_on
from datasets.reading import read
from datasets.transforms import DeviceTransform
from models.quality import expected_score
from models.video_clip import VideoCLIP
from trainers.precision import Precision
from utils.distributed import gather, is_main, world
from utils.stopping import Stop


def evaluation_views(config: CfgNode) -> tuple[int, int]:
    """Temporal clips of a video and crops of a clip that an evaluation looks at."""
    test = config.TEST
    return (
        (4, 3) if test.MULTI_VIEW_INFERENCE and test.NUM_CLIP == test.NUM_CROP == 1 else (test.NUM_CLIP, test.NUM_CROP)
    )


@torch.no_grad()
def collect(
    model: VideoCLIP,
    loader: DataLoader,
    transform: DeviceTransform,
    precision: Precision,
    title: str,
    stop: Stop | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, str], dict[str, str]]:
    """Every answer of the model about every video of the loader's data set, in the order of its list.

    Returns the answers, and by name why videos could not be read and what is not as it should be in others.

    `loader` yields this process' share; the shares of all processes are put together. Several views of a video
    (clips × crops) become one answer in `merge_views`, and everything else follows from that: see `judged`. Rows of
    videos that could not be read are nan and `failed`. Raises Stopped where all processes agree on it.
    """
    model.eval()
    share = -(-len(loader.dataset) // world())
    batches = stop.between(read(loader), -(-share // loader.batch_size)) if stop else read(loader)
    shown = {"total": len(loader), "desc": title, "leave": False, "disable": not is_main() or None, "mininterval": 5}
    kept: list[dict[str, Tensor]] = []
    faults: dict[str, str] = {}
    warnings: dict[str, str] = {}
    for batch in tqdm(batches, **shown):
        faults |= dict(batch["faults"])
        warnings |= dict(batch["warnings"])
        kept.append(_answers(model, batch, loader, transform, precision))
    own = {name: torch.cat([batch[name].cpu() for batch in kept]).numpy() for name in kept[0]} if kept else {}
    faults, warnings = ({k: v for share in gather(words) for k, v in share.items()} for words in (faults, warnings))
    return _together(gather(own)), faults, warnings


def _answers(
    model: VideoCLIP, batch: dict[str, Tensor], loader: DataLoader, transform: DeviceTransform, precision: Precision
) -> dict[str, Tensor]:
    """What the model answers about a batch, a row a video; left on the device, which saves a wait a batch."""
    video = clips_on(precision.device, batch, loader.dataset.size)
    count, views = video.shape[:2]
    # Kernels round differently for batches of another size: filled up, the last one of a share has the usual size,
    # and an answer does not depend on how many processes share the list.
    video = torch.cat([video, video[-1:].expand(loader.batch_size - count, *video.shape[1:])])
    clips = transform(video.flatten(0, 1))
    with precision.autocast():
        answers = model(clips, model.parts)
    merged = {
        name: merge_views(name, value, views)[:count] for name, value in answers.items() if not name.startswith("text")
    }
    where = {"index": batch["index"], "failed": batch["failed"], "frames": batch["frames"].flatten(1)}
    return merged | judged(merged) | where


def merge_views(name: str, values: Tensor, views: int) -> Tensor:
    """Answers [N·V, …] about V views of each video → one a video [N, …].

    Logits, cosines and features are averaged; weights of frames stand side by side [N, V·T] and sum to 1.
    """
    if views == 1:
        return values
    values = values.unflatten(0, (-1, views))
    return values.flatten(1) / views if "attention" in name else values.mean(dim=1)


def judged(merged: dict[str, Tensor]) -> dict[str, Tensor]:
    """What follows from a video's merged logits: `probabilities`, `probabilities_no`, `quality_probabilities` [N, …]
    and `quality_score` [N], as far as the logits are there.

    The scores in or out of distribution follow from the same logits, so that all that is said of a video is of one
    quantity. The negative branch's class is the one it denies least.
    """
    signs = {"logits": 1, "logits_no": -1, "quality_logits": 1}
    found = {
        name.replace("logits", "probabilities"): (sign * merged[name]).softmax(dim=-1)
        for name, sign in signs.items()
        if name in merged
    }
    if "quality_logits" in merged:
        found["quality_score"] = expected_score(merged["quality_logits"])
    return found


def _together(shares: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    shares = [share for share in shares if share]
    answers = {name: np.concatenate([share[name] for share in shares]) for name in shares[0]}
    order = np.argsort(answers["index"], kind="stable")
    answers = {name: values[order] for name, values in answers.items()}
    failed = answers["failed"].astype(bool)
    for values in answers.values():
        if values.dtype.kind == "f":
            values[failed] = np.nan
    return answers
