"""From a checkpoint into a model: the same stage, an earlier one that it grows from, or the published code's."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor
from yacs.config import CfgNode

from echoviewclip.clip.weights import activation_of, tag_activation
from echoviewclip.inference.checkpoint import AnyCheckpoint, BareWeights, Checkpoint, read_file
from echoviewclip.models.growth import BRANCHES, GROWTH
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.utils.checkpoint import DamagedCheckpoint
from echoviewclip.utils.config import changed_settings, load_config
from echoviewclip.utils.config.choices import STAGES
from echoviewclip.utils.errors import UserError

log = logging.getLogger(__name__)


def find_checkpoint(config: CfgNode) -> str:
    """With TRAIN.AUTO_RESUME the `last.pth` of the output folder, else MODEL.RESUME, else empty.

    A `last.pth` that is damaged or gone gives way to the `last.prev.pth` beside it.
    """
    last, before = (Path(config.OUTPUT) / name for name in ("last.pth", "last.prev.pth"))
    if not config.TRAIN.AUTO_RESUME or config.TEST.ONLY_TEST or not (last.is_file() or before.is_file()):
        return config.MODEL.RESUME
    if before.is_file() and (why := _why_unreadable(last)) and not _why_unreadable(before):
        log.warning("%s: the run goes on from %s", why, before)
        return str(before)
    return str(last)


def _why_unreadable(file: Path) -> str | None:
    """What is wrong with a checkpoint that is damaged or not there; None with one that is whole."""
    if not file.is_file():
        return f"{file} is gone"
    try:
        read_file(file)
    except DamagedCheckpoint as error:
        return str(error)
    return None


def configuration_for(checkpoint: AnyCheckpoint, cfg: str | Path | None, changes: Sequence[tuple[str, Any]]) -> CfgNode:
    """The configuration to answer with: what neither the yaml file `cfg` nor `changes` set is as in the checkpoint's.

    Bare weights carry none, and need `cfg`. Raises UserError.
    """
    if isinstance(checkpoint, Checkpoint):
        return load_config(cfg or None, changes, checkpoint.origin.config)
    if not cfg:
        raise UserError(
            f"{checkpoint.file}: carries no configuration, as checkpoints of the published code do not; "
            "name the yaml file of its stage: -cfg FILE (configs/released/)"
        )
    variant = [("MODEL.VARIANT", "released")] if checkpoint.published else []
    return load_config(cfg, [*changes, *variant])


def read_checkpoint(
    config: CfgNode, views: Sequence[str], grades: Sequence[str], read: AnyCheckpoint | None = None
) -> AnyCheckpoint | None:
    """The checkpoint that the configuration names, before the model is built; None without one.

    `read` is it where it has been read. Weights have our names, also where the published code wrote them. `training`,
    from which a training of the same stage goes on, is None for another stage. Raises UserError where the checkpoint
    is of a later stage (training only), of other classes, or of the other variant, where a later stage has none to
    grow from, and where a run is to go on from what holds no state of its optimiser.
    """
    file = find_checkpoint(config)
    if not file:
        earlier = GROWTH[config.STAGE].grows_from
        if earlier and not config.TEST.ONLY_TEST:
            raise UserError(
                f"stage {config.STAGE} grows from a checkpoint of stage {earlier}, which `bash "
                f"{GROWTH[earlier].script}` trains: name it with --resume CKPT (MODEL.RESUME)"
            )
        return None
    checkpoint = read or read_file(file)
    if isinstance(checkpoint, BareWeights):
        log.info("%s: weights of stage unknown", file)
        return checkpoint.renamed(config)
    _check(checkpoint, config, views, grades)
    if checkpoint.origin.stage != config.STAGE:
        log.info("%s: weights of stage %s", file, checkpoint.origin.stage)
        return replace(checkpoint, training=None)
    if checkpoint.training is None and not config.TEST.ONLY_TEST:
        _begin_anew(Path(file), config)
        return checkpoint
    log.info("%s: same stage", file)
    if not config.TEST.ONLY_TEST and (
        changed := changed_settings(checkpoint.origin.config, with_activation(config, checkpoint))
    ):
        log.warning("the run goes on with other settings: %s", ", ".join(changed))
    return checkpoint


def _begin_anew(file: Path, config: CfgNode) -> None:
    """Says that a stage begins again with the weights of a best.pth. Raises UserError in the folder of its own run."""
    last = file.with_name("last.pth")
    goes_on = f"--resume {last} goes on with its run" if last.is_file() else "no last.pth is beside it to go on from"
    if file.resolve().parent == Path(config.OUTPUT).resolve():
        raise UserError(
            f"{file}: holds weights without the state of the optimiser; {goes_on}, and another folder (--output DIR) "
            "trains the stage anew from these weights"
        )
    log.warning(
        "%s: holds weights without the state of the optimiser, so stage %s begins anew with them at epoch 1; %s",
        *(file, config.STAGE, goes_on),
    )


def with_activation(config: CfgNode, checkpoint: AnyCheckpoint | None) -> CfgNode:
    """The configuration with the activation that its weights were trained with as MODEL.QUICK_GELU.

    It is in no tensor: a checkpoint brings it in its own configuration, pretrained weights say it themselves
    (`activation_of`), and only for those that do not MODEL.QUICK_GELU decides.
    """
    model = checkpoint.origin.configuration().MODEL if isinstance(checkpoint, Checkpoint) else config.MODEL
    known = (tag_activation if checkpoint else activation_of)(model.ARCH, model.PRETRAINED)
    activation = model.QUICK_GELU if known is None else known
    if activation == config.MODEL.QUICK_GELU:
        return config
    log.info("MODEL.QUICK_GELU is %s: the weights were trained so", activation)
    config = config.clone()
    config.defrost()
    config.MODEL.QUICK_GELU = activation
    config.freeze()
    return config


def _check(checkpoint: Checkpoint, config: CfgNode, views: Sequence[str], grades: Sequence[str]) -> None:
    origin, file = checkpoint.origin, checkpoint.file
    later = STAGES.index(origin.stage) > STAGES.index(config.STAGE)
    if later and not config.TEST.ONLY_TEST:
        raise UserError(f"{file}: holds stage {origin.stage}, which cannot grow into the earlier {config.STAGE}")
    if origin.variant != config.MODEL.VARIANT:
        raise UserError(f"{file}: holds the {origin.variant} variant; set MODEL.VARIANT {origin.variant}")
    kinds = [("views", origin.views, views, "DATA.LABEL_LIST")]
    if origin.stage == "quality" == config.STAGE:
        kinds.append(("grades", origin.grades, grades, "DATA.QUALITY_LIST"))
        kinds.append(("defects", origin.configuration().MODEL.DEFECTS, config.MODEL.DEFECTS, "MODEL.DEFECTS"))
    for kind, own, names, key in kinds:
        if list(own) != list(names):
            pairs = zip(own, names, strict=False)
            first = next((f"{a!r}, not {b!r}" for a, b in pairs if a != b), f"{len(own)}, not {len(names)}")
            raise UserError(f"{file}: was trained on other {kind} than {key} names ({first})")


def load_weights(model: VideoCLIP, state: dict[str, Tensor], file: str | Path) -> None:
    """Loads what the model and the state share; starts the branches that the state lacks. Raises UserError."""
    wanted = model.state_dict()
    has = {part for part, prefixes in BRANCHES.items() if any(key.startswith(prefixes) for key in state)}
    optional = tuple(prefix for part, prefixes in BRANCHES.items() if part not in has for prefix in prefixes)
    # The released quality model has no text, and published checkpoints no prompt tables: both are rebuilt from names.
    missing = [
        key
        for key in wanted
        if key not in state and not key.startswith(optional) and not key.endswith("prompts.embeddings")
    ]
    absent = tuple(prefix for prefix in ("positive_text.", *sum(BRANCHES.values(), ())) if not _holds(model, prefix))
    unknown = [key for key in state if key not in wanted and not key.startswith(absent)]
    shapes = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    for what, keys in (("lacks", missing), ("has the unknown", unknown), ("has another shape of", shapes)):
        if keys:
            raise UserError(
                f"{file}: {what} {', '.join(keys[:3])}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}; "
                "check MODEL.ARCH, MODEL.SHARED_BLOCKS, DATA.INPUT_SIZE, DATA.NUM_FRAMES and TRAINER.ViFi_CLIP"
            )
    model.load_state_dict({key: value for key, value in state.items() if key in wanted}, strict=False)
    for part in BRANCHES:
        if _holds(model, f"{part}.") and part not in has:
            log.info("the %s branch starts as a copy of the positive one", part)
            model.restart_branch(part)


def _holds(model: VideoCLIP, prefix: str) -> bool:
    return any(key.startswith(prefix) for key in model.state_dict())
