"""Settings that follow from a fingerprint, each with its reason.

As in nnU-Net (Isensee et al., Nature Methods 2021): what is known to work is kept fixed, what depends on the data or
the machine follows from them by rules that can be read, and nothing is searched for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import open_clip

from echoviewclip.clip.architectures import REGISTRY_NAME
from echoviewclip.experiment.fingerprint import GRADED, Fingerprint
from echoviewclip.experiment.words import size_of

ACTIVATIONS = 34  # bytes a token, unit of width and block in half precision (Korthikanti et al., arXiv 2205.05198)
STATE = 16  # bytes a parameter: float32 weight and gradient, two moments
USABLE = 0.8  # share of an accelerator's memory
PUBLISHED_BATCH, PUBLISHED_RATE = 64, 2.2e-5  # videos an optimiser step, peak learning rate
TINY_WEIGHTS = "weights/tiny-world.safetensors"
SHUFFLE_BUFFER = 1000  # videos, about 1 GB: what WebDataset's examples shuffle among
LEAST_GB = 7  # with less a ViT does not train


@dataclass(frozen=True)
class Choice:
    """A setting by its dotted key, and why it is so."""

    key: str
    value: Any
    why: str = ""


def choose_arch(found: Fingerprint) -> str:
    """The published model where there is an accelerator that holds it, else the tower made for CPUs."""
    return "ViT-B/16" if found.machine.accelerators and found.machine.memory >= LEAST_GB else "tiny"


def choose(found: Fingerprint, arch: str, output: str) -> dict[str, list[Choice]]:
    """Settings of each stage that the data allow; those of later stages are changes to the first's."""
    plan = _tiny(found) if arch == "tiny" else _vit(found, arch)
    stages = {"view": [Choice("STAGE", "view"), Choice("OUTPUT", f"{output}/view"), *_data(found), *plan["view"]]}
    stages["negation"] = [
        Choice("STAGE", "negation"),
        Choice("OUTPUT", f"{output}/negation"),
        _outsiders(found),
        Choice("MODEL.RESUME", f"{output}/view/best.pth", "grows from stage 1"),
        *plan["negation"],
        Choice("TRAINER.ViFi_CLIP.USE", "no_text"),
    ]
    if f"{GRADED}train" in found.lists:
        stages["quality"] = [
            Choice("STAGE", "quality"),
            Choice("OUTPUT", f"{output}/quality"),
            *_graded(found),
            Choice("MODEL.RESUME", f"{output}/negation/best.pth", "grows from stage 2; its result answers everything"),
            *plan["quality"],
            Choice("TRAINER.ViFi_CLIP.USE", "quality"),
        ]
    return stages


def _data(found: Fingerprint) -> list[Choice]:
    """Where the data are, and who reads them."""
    machine, size = found.machine, f"{np.median(found.widths):.0f}×{np.median(found.heights):.0f}"
    processes = max(1, machine.accelerators)
    workers = min(8, max(1, machine.cores // processes - 1))
    choices = [
        Choice("DATA.ROOT", str(found.root)),
        Choice("DATA.TRAIN_FILE", found.lists["train"].name, size_of(found, "train")),
        Choice("DATA.VAL_FILE", found.lists["val"].name, size_of(found, "val")),
        Choice("DATA.DATASET", found.root.resolve().name),
        Choice("DATA.LABEL_LIST", str(found.label_list), _classes(found)),
        Choice("DATA.NUM_WORKERS", workers, f"{machine.cores} cores, training processes: {processes}"),
    ]
    if machine.accelerators and machine.cores < 8 * processes:
        reason = f"fewer than 8 cores a device: it cuts and resizes the {size} frames itself"
        choices.append(Choice("DATA.RESIZE", "device", reason))
    if found.shards > 1:
        reason = f"{found.shards} shards, read front to back; as many videos are held in memory"
        choices.append(Choice("DATA.SHUFFLE_BUFFER", SHUFFLE_BUFFER, reason))
    return choices + _sampling(found)


def _classes(found: Fingerprint) -> str:
    counts = found.views.values()
    rare = sum(count < 10 for count in counts)
    text = f"{len(found.views)} views with {min(counts)} to {max(counts)} training videos"
    return text + (f"; {rare} have fewer than 10, expect little of them" if rare else "")


def _sampling(found: Fingerprint) -> list[Choice]:
    """The whole video by default; where it is long, one second, which holds a heart cycle."""
    seconds, known = found.seconds, np.mean(found.rates > 0)
    if seconds > 5 and known > 0.9:
        reason = f"videos last {seconds:.1f} s (median): frames of the whole would be too far apart to show motion"
        return [Choice("DATA.SAMPLING", "stride", reason)]
    shown = f"{seconds:.1f} s" if seconds == seconds else "an unknown time"
    return [Choice("DATA.SAMPLING", "uniform", f"videos last {shown} (median): a clip spans all of it")]


def _outsiders(found: Fingerprint) -> Choice:
    names = ",".join(path.name for path in found.outsiders)
    why = (
        "lists of videos that show none of the views"
        if names
        else "none found (ood_near.csv, ood_far.csv): not measured"
    )
    return Choice("DATA.OOD_FILE", names, why)


def _graded(found: Fingerprint) -> list[Choice]:
    counts = ", ".join(f"{name} {count}" for name, count in found.grades.items())
    choices = [
        Choice("DATA.TRAIN_FILE", found.lists[f"{GRADED}train"].name, size_of(found, f"{GRADED}train")),
        Choice("DATA.VAL_FILE", found.lists[f"{GRADED}val"].name, size_of(found, f"{GRADED}val")),
        Choice("DATA.QUALITY_LIST", str(found.quality_list), counts),
    ]
    return choices + ([Choice("DATA.QUALITY_TARGET", "score", "the lists give scores")] if found.scored else [])


def _vit(found: Fingerprint, arch: str) -> dict[str, list[Choice]]:
    """The published recipe, fitted to the memory and to the number of videos."""
    frames = 16 if np.median(found.frames) >= 16 else 8
    size = 336 if arch.endswith("336px") else 224
    batch, checkpoint, memory = _batch(found, arch, frames, size)
    processes = max(1, found.machine.accelerators)
    wanted = min(PUBLISHED_BATCH, max(8, _power_of_two(found.videos["train"] / 16)))
    accumulation = max(1, round(wanted / (batch * processes)))
    step = batch * processes * accumulation
    rate = float(f"{PUBLISHED_RATE * math.sqrt(step / PUBLISHED_BATCH):.2g}")
    epochs, steps = _epochs(found, step, steps=1000, least=30, most=100)
    few = " (few frames)" if frames < 16 else ""
    view = [
        Choice("DATA.NUM_FRAMES", frames, f"videos have {np.median(found.frames):.0f} frames (median){few}"),
        Choice("DATA.INPUT_SIZE", size, "of the pretrained weights"),
        Choice("MODEL.ARCH", arch),
        Choice("MODEL.PRETRAINED", "openai", "fetched on the first run; without a network the message says what to do"),
        Choice("TRAIN.EPOCHS", epochs, f"{steps} optimiser steps"),
        Choice("TRAIN.BATCH_SIZE", batch, memory),
        *([Choice("TRAIN.USE_CHECKPOINT", True, "else not even one video fits")] if checkpoint else []),
        Choice("TRAIN.ACCUMULATION_STEPS", accumulation, f"{step} videos a step; 64 as published, fewer of few videos"),
        Choice("TRAIN.LR", rate, "as published for 64 videos a step, with the square root of their number"),
        Choice("TRAIN.CLIP_GRAD", 1.0),
        Choice("EVAL_FREQ", max(1, epochs // 15)),
        Choice("SAVE_FREQ", 0, "last.pth and best.pth only: a checkpoint takes up to 2 GB"),
    ]
    off = "a blended video shows neither view, which is what this stage learns to tell"
    blending = [Choice("AUG.MIXUP", 0.0, off), Choice("AUG.CUTMIX", 0.0)]
    graded = [Choice("TRAIN.LR", 1.0e-5, "as published"), Choice("AUG.MIXUP", 0.0, "a blended video has no grade")]
    return {"view": view, "negation": blending, "quality": [*graded, Choice("AUG.CUTMIX", 0.0)]}


def _tiny(found: Fingerprint) -> dict[str, list[Choice]]:
    """The small tower as on the phantom (configs/phantom/), where its settings were measured."""
    side = np.median(np.minimum(found.widths, found.heights))
    batch = min(16, max(2, _power_of_two(found.videos["train"] / 4)))
    epochs, steps = _epochs(found, batch, steps=400, least=4, most=40)
    size = 112 if side >= 96 else 64
    view = [
        Choice("PRINT_FREQ", 20),
        Choice("DATA.NUM_FRAMES", 4, "what a CPU can afford"),
        Choice("DATA.INPUT_SIZE", size, f"short sides are {side:.0f} pixels (median)"),
        Choice("MODEL.ARCH", "tiny", f"{found.machine.name}: a ViT needs an accelerator with {LEAST_GB} GB (--arch)"),
        Choice("MODEL.PRETRAINED", TINY_WEIGHTS, "learned on echo phantoms as varied as the world"),
        Choice("MODEL.SHARED_BLOCKS", 2),
        Choice("TRAIN.EPOCHS", epochs, f"{steps} optimiser steps"),
        Choice("TRAIN.WARMUP_EPOCHS", 1.0),
        Choice("TRAIN.BATCH_SIZE", batch),
        Choice("TRAIN.LR", 3.0e-4),
        Choice("TRAIN.WEIGHT_DECAY", 0.05),
        Choice("TRAIN.CLIP_GRAD", 1.0),
        Choice("AUG.MIXUP", 0.0),
        Choice("AUG.CUTMIX", 0.0),
        Choice("AUG.SCALES", [0.95, 0.875]),
        Choice("EVAL_FREQ", max(1, epochs // 8)),
        Choice("SAVE_FREQ", 0, "last.pth and best.pth only"),
    ]
    longer = min(60, 3 * epochs)
    return {
        "view": view,
        "negation": [Choice("TRAIN.LR", 1.0e-3)],
        "quality": [
            Choice("TRAIN.EPOCHS", longer, "grades take longer than views"),
            Choice("TRAIN.LR", 1.0e-3),
            Choice("EVAL_FREQ", max(1, longer // 8)),
        ],
    }


def _epochs(found: Fingerprint, step: int, *, steps: int, least: int, most: int) -> tuple[int, int]:
    """Epochs in which about `steps` optimiser steps of `step` videos are made, and how many that are."""
    of_epoch = math.ceil(found.videos["train"] / step)
    epochs = min(most, max(least, math.ceil(steps / of_epoch)))
    return epochs, epochs * of_epoch


def _power_of_two(number: float) -> int:
    """The largest one that is not larger."""
    return 2 ** max(0, int(math.log2(max(number, 1))))


def _batch(found: Fingerprint, arch: str, frames: int, size: int) -> tuple[int, bool, str]:
    """Videos that fit into the memory, whether activations must be recomputed for it, and why."""
    config = open_clip.get_model_config(REGISTRY_NAME[arch])
    vision, text = config["vision_cfg"], config["text_cfg"]
    tokens = frames * ((size // vision["patch_size"]) ** 2 + 1)
    layer = tokens * vision["width"] / 1e9
    parameters = 12 * (vision["layers"] * vision["width"] ** 2 + text["layers"] * text["width"] ** 2) + 4e7
    room = USABLE * found.machine.memory - STATE * parameters / 1e9
    whole = layer * vision["layers"] * ACTIVATIONS
    recomputed = layer * (2 * vision["layers"] + ACTIVATIONS)
    checkpoint = whole > room
    each = recomputed if checkpoint else whole
    batch = min(16, _power_of_two(room / each))
    why = (
        f"about {each:.1f} GB a video and {STATE * parameters / 1e9:.1f} GB of weights in {found.machine.memory:.0f} GB"
    )
    return batch, checkpoint, f"{why} ({found.machine.name}); halve it where memory ends"
