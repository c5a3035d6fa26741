"""From a checkpoint into a model: the same stage, an earlier one that it grows from, or the published code's."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from yacs.config import CfgNode

from echoviewclip.clip.weights import activation_of, tag_activation
from echoviewclip.models.released import is_published, published_prompts, translate
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.utils.checkpoint import DamagedCheckpoint, load_checkpoint
from echoviewclip.utils.config import changed_settings, config_from_text, load_config
from echoviewclip.utils.config.choices import STAGES
from echoviewclip.utils.errors import UserError

log = logging.getLogger(__name__)

# The stage that a stage grows from, and what trains that.
GROWS_FROM = {"negation": ("view", "train_stage1.sh"), "quality": ("negation", "train_stage2.sh")}

# Branches and texts that a later stage adds; a checkpoint without them lets the model start them itself.
ADDED = {"negative": ("negative.", "negative_text."), "quality": ("quality.",)}


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
        load_checkpoint(file)
    except DamagedCheckpoint as error:
        return str(error)
    return None


def configuration_for(
    content: dict[str, Any], file: str | Path, cfg: str | Path | None, changes: Sequence[tuple[str, Any]]
) -> CfgNode:
    """The configuration to answer with: what neither the yaml file `cfg` nor `changes` set is as in the checkpoint's.

    Checkpoints of the published code carry none, and need `cfg`. Raises UserError.
    """
    if "config" in content:
        return load_config(cfg or None, changes, content["config"])
    if not cfg:
        raise UserError(
            f"{file}: carries no configuration, as checkpoints of the published code do not; "
            "name the yaml file of its stage: -cfg FILE (configs/released/)"
        )
    variant = [("MODEL.VARIANT", "released")] if is_published(content["model"]) else []
    return load_config(cfg, [*changes, *variant])


def read_checkpoint(
    config: CfgNode, views: Sequence[str], grades: Sequence[str], content: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The checkpoint that the configuration names, read before the model is built; empty without one.

    `content` is it where it has been read. `model` has our names, also where the published code wrote it (then
    `published` is true), `file` is the path. `training`, from which a training of the same stage goes on, is left out
    for another stage. Raises UserError where the checkpoint is of a later stage (training only), of other classes, or
    of the other variant, and where a later stage has none to grow from.
    """
    file = find_checkpoint(config)
    if not file:
        if config.STAGE in GROWS_FROM and not config.TEST.ONLY_TEST:
            earlier, script = GROWS_FROM[config.STAGE]
            raise UserError(
                f"stage {config.STAGE} grows from a checkpoint of stage {earlier}, which `bash {script}` trains: "
                "name it with --resume CKPT (MODEL.RESUME)"
            )
        return {}
    content = content or load_checkpoint(file)
    if "stage" in content:
        _check(content, config, views, grades, file)
    same_stage = content.get("stage") == config.STAGE
    log.info("%s: %s", file, "same stage" if same_stage else f"weights of stage {content.get('stage', 'unknown')}")
    if not same_stage:
        content.pop("training", None)
    elif not config.TEST.ONLY_TEST and (
        changed := changed_settings(content["config"], with_activation(config, content))
    ):
        log.warning("the run goes on with other settings: %s", ", ".join(changed))
    return named(content, config, file)


def with_activation(config: CfgNode, content: dict[str, Any]) -> CfgNode:
    """The configuration with the activation that its weights were trained with as MODEL.QUICK_GELU.

    It is in no tensor: the checkpoint `content` brings it in its own configuration, pretrained weights say it
    themselves (`activation_of`), and only for those that do not MODEL.QUICK_GELU decides.
    """
    model = config_from_text(content["config"]).MODEL if "config" in content else config.MODEL
    known = (tag_activation if content else activation_of)(model.ARCH, model.PRETRAINED)
    activation = model.QUICK_GELU if known is None else known
    if activation == config.MODEL.QUICK_GELU:
        return config
    log.info("MODEL.QUICK_GELU is %s: the weights were trained so", activation)
    config = config.clone()
    config.defrost()
    config.MODEL.QUICK_GELU = activation
    config.freeze()
    return config


def named(content: dict[str, Any], config: CfgNode, file: str | Path) -> dict[str, Any]:
    """A checkpoint's content with its weights under our names, its `file`, and whether it is `published` (code's).

    Of a published one `prompts` are the embeddings [K, 77, width] of the positive prompts, None where it lacks them.
    """
    state, about = content["model"], {"file": str(file), "published": is_published(content["model"])}
    if not about["published"]:
        return content | about
    if config.MODEL.VARIANT != "released":
        raise UserError(f"{file}: a checkpoint of the published code; set MODEL.VARIANT released to load it")
    about |= {"prompts": published_prompts(state), "model": translate(state, config.MODEL.SHARED_BLOCKS)}
    return content | about


def _check(content: dict[str, Any], config: CfgNode, views: Sequence[str], grades: Sequence[str], file: str) -> None:
    later = STAGES.index(content["stage"]) > STAGES.index(config.STAGE)
    if later and not config.TEST.ONLY_TEST:
        raise UserError(f"{file}: holds stage {content['stage']}, which cannot grow into the earlier {config.STAGE}")
    if content["variant"] != config.MODEL.VARIANT:
        raise UserError(f"{file}: holds the {content['variant']} variant; set MODEL.VARIANT {content['variant']}")
    kinds = [("views", views, "DATA.LABEL_LIST")]
    if content["stage"] == "quality" == config.STAGE:
        kinds.append(("grades", grades, "DATA.QUALITY_LIST"))
    for kind, names, key in kinds:
        if list(content[kind]) != list(names):
            pairs = zip(content[kind], names, strict=False)
            first = next((f"{a!r}, not {b!r}" for a, b in pairs if a != b), f"{len(content[kind])}, not {len(names)}")
            raise UserError(f"{file}: was trained on other {kind} than {key} names ({first})")


def load_weights(model: VideoCLIP, state: dict[str, Tensor], file: str) -> None:
    """Loads what the model and the state share; starts the branches that the state lacks. Raises UserError."""
    wanted = model.state_dict()
    has = {part for part, prefixes in ADDED.items() if any(key.startswith(prefixes) for key in state)}
    optional = tuple(prefix for part, prefixes in ADDED.items() if part not in has for prefix in prefixes)
    # The released quality model has no text, and published checkpoints no prompt tables: both are rebuilt from names.
    missing = [
        key
        for key in wanted
        if key not in state and not key.startswith(optional) and not key.endswith("prompts.embeddings")
    ]
    absent = tuple(prefix for prefix in ("positive_text.", *sum(ADDED.values(), ())) if not _holds(model, prefix))
    unknown = [key for key in state if key not in wanted and not key.startswith(absent)]
    shapes = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    for what, keys in (("lacks", missing), ("has the unknown", unknown), ("has another shape of", shapes)):
        if keys:
            raise UserError(
                f"{file}: {what} {', '.join(keys[:3])}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}; "
                "check MODEL.ARCH, MODEL.SHARED_BLOCKS, DATA.INPUT_SIZE, DATA.NUM_FRAMES and TRAINER.ViFi_CLIP"
            )
    model.load_state_dict({key: value for key, value in state.items() if key in wanted}, strict=False)
    for part in ADDED:
        if _holds(model, f"{part}.") and part not in has:
            log.info("the %s branch starts as a copy of the positive one", part)
            model.restart_branch(part)


def _holds(model: VideoCLIP, prefix: str) -> bool:
    return any(key.startswith(prefix) for key in model.state_dict())
