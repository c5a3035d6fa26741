"""One run from configuration to results: data, model, checkpoint, training or evaluation, and the files it leaves."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from yacs.config import CfgNode

from datasets import lists
from datasets.annotations import Annotations
from datasets.check import check_annotations
from datasets.dataset import VideoDataset, frames_from
from datasets.loader import TrainingData, evaluation_loader
from datasets.reading import reading_faults
from datasets.transforms import DeviceTransform
from datasets.video import Opener
from evaluation.calibration import PRIOR_VIDEOS
from evaluation.feature_statistics import FEWEST
from evaluation.predictions import write_predictions
from evaluation.report import write_report
from evaluation.summary import write_metrics
from trainers.calibration import changed, settle
from trainers.collect import evaluation_views
from trainers.evaluate import Evaluation, EvaluationSet, Evaluator, check_statistics
from trainers.folder import check_folder, lock, remove_run, results_folder
from trainers.loop import Trainer
from trainers.precision import Precision
from trainers.preparation import settle_preparation
from trainers.restore import restore_model
from trainers.resume import read_checkpoint, with_activation
from trainers.stages import build_stage
from utils.config import without_effect
from utils.config.choices import FITTED_SCORES
from utils.distributed import barrier, is_main, rank, world
from utils.errors import UserError
from utils.files import write_text
from utils.label_list import read_names
from utils.logs import set_up_logging
from utils.stopping import Stop

log = logging.getLogger(__name__)


FEW_VIDEOS = 10 * PRIOR_VIDEOS  # with fewer to calibrate on, the log says so
NO_CHECKPOINT = "--only_test evaluates a checkpoint: name it with --resume CKPT (MODEL.RESUME)"


def run(
    config: CfgNode,
    device: torch.device,
    content: dict[str, Any] | None = None,
    overwrite: bool = False,
    given: Collection[str] = (),
) -> None:
    """Trains `config.STAGE`, or evaluates it with TEST.ONLY_TEST, in a folder that no other process writes to.

    `content` is that of MODEL.RESUME where it is read. `overwrite` removes the run that the folder holds. `given`
    are the keys that the user set (`given_keys`), which the log names where they have no effect. Raises UserError.
    """
    folder = results_folder(config)
    with lock(folder) if is_main() else nullcontext(), Stop(config.TRAIN.TIMEOUT) as stop, reading_faults():
        if is_main():
            check_folder(config, overwrite)
        _run(config, device, folder, content, overwrite, given, stop)


def _run(
    config: CfgNode,
    device: torch.device,
    folder: Path,
    content: dict[str, Any] | None,
    overwrite: bool,
    given: Collection[str],
    stop: Stop,
) -> None:
    views = read_names(config.DATA.LABEL_LIST, config.DATA.NUM_CLASSES, "DATA.NUM_CLASSES")
    grades = read_names(config.DATA.QUALITY_LIST, config.DATA.NUM_QUALITIES, "DATA.NUM_QUALITIES")
    zero_shot = config.TRAINER.ViFi_CLIP.ZS_EVAL and config.STAGE == "view"
    if config.TEST.ONLY_TEST and not config.MODEL.RESUME and not zero_shot:
        raise UserError(NO_CHECKPOINT)
    set_up_logging(folder, anew=overwrite)
    torch.manual_seed(config.SEED)
    training = not config.TEST.ONLY_TEST
    sets = evaluation_sets(config)
    content = read_checkpoint(config, views, grades, content)
    config = with_activation(config, content)
    refit = training and config.STAGE == "view"  # later stages leave what the scores by distance look at as it is
    statistics = None if refit else content.get("statistics")
    fits = fits_features(config) and not statistics
    if config.STAGE == "quality" and config.TEST.FIT_FEATURES and not statistics:
        raise UserError(
            "TEST.FIT_FEATURES needs views to fit features to, and the lists of stage quality have grades: fit them in "
            "stage negation, from whose checkpoint stage quality keeps them"
        )
    train = read_list(config, config.DATA.TRAIN_FILE, "DATA.TRAIN_FILE") if training or fits else None
    for problem in check_annotations(train, sets[0].annotations, [part.annotations for part in sets[1:]]):
        log.warning("%s", problem)
    preparation = settle_preparation(content, train if training else None, [part.annotations for part in sets])
    if training or not content.get("calibration"):
        check_validation(sets[0].annotations, config)
    if training:
        for sentence in without_effect(config, given):
            log.warning("%s", sentence)
        check_targets(train, score=config.STAGE == "quality" and config.DATA.QUALITY_TARGET == "score")
    if fits:
        check_fit(train)
    stage = build_stage(config)
    model, tokens = restore_model(config, views, content, answers=not training)
    model.to(device)
    check_statistics(statistics, model, config.DATA.INPUT_SIZE)
    stage.prepare(model)
    precision = Precision(config.TRAIN.OPT_LEVEL, model, device)
    if training and not precision.trained:
        raise UserError(
            "nothing trains: MODEL.FIX_TEXT and TRAINER.ViFi_CLIP (USE, PROMPT_MODEL, PROMPT_DEPTH_…) freeze all"
        )
    # Stage quality trains nothing that the calibration is of.
    calibrates = config.STAGE != "quality" and (training or not content.get("calibration"))
    known = {"fitted": bool(statistics) or fits, "anew": calibrates, "asked": changed(config, content)}
    evaluator = Evaluator(
        config,
        sets,
        precision,
        (views, grades),
        calibration=settle(content, config, model.parts, **known),
        calibrates=calibrates,
        statistics=statistics,
        fit_on=evaluation_set(config, "train", train) if fits else None,
        refit=refit,
        stop=stop,
    )
    if calibrates:
        labelled = int((sets[0].annotations.labels >= 0).sum())
        if not training:
            log.warning("no calibration yet: τ and temperature are found on %s itself", config.DATA.VAL_FILE)
        if labelled < FEW_VIDEOS:
            log.warning(
                "%s: %d videos with a label are few for temperature and τ; the temperature is held near 1 "
                "(as by %d videos more), and τ is about the lowest score of these videos",
                config.DATA.VAL_FILE,
                labelled,
                PRIOR_VIDEOS,
            )
    if is_main():
        if overwrite:
            remove_run(folder)
        write_text(folder / "config.yaml", config.dump())
    if training:
        about = {"variant": config.MODEL.VARIANT, "views": views, "grades": grades, "tokens": tokens}
        about["preparation"] = preparation
        trainer = Trainer(config, stage, model, precision, training_data(config, train), evaluator, about, stop)
        if "training" in content:
            trainer.load(content)
        counted = sum(p.numel() for p in precision.trained.values()) / 1e6
        log.info(
            "%s on %s: %d videos, %.1f M parameters train, on %s",
            stage.name,
            config.DATA.DATASET,
            len(train),
            counted,
            device,
        )
        evaluation = trainer.fit()
    else:
        evaluation = evaluator(model, content.get("epoch"), intervals=True)
    write_results(folder, evaluation, [part.annotations for part in sets], config.DATA.DECODER)


def read_list(config: CfgNode, file: str, key: str, outsiders: bool = False) -> Annotations:
    """A list of videos with this stage's targets."""
    if not file:
        raise UserError(f"{key} is empty: name a list of videos (path label per line)")
    return lists.read_list(config, file, outsiders=outsiders)


def check_targets(train: Annotations, score: bool) -> None:
    """Raises UserError that names the lines of training videos without the label or score that the stage learns."""
    without = train.lines[np.isnan(train.scores) if score else train.labels < 0].tolist()
    if without:
        shown = ", ".join(map(str, without[:10])) + (", …" if len(without) > 10 else "")
        raise UserError(
            f"{train.file}: {len(without)} videos have no {'score' if score else 'label'} to train on "
            f"(lines {shown}); give them one or remove them"
        )


def check_fit(train: Annotations) -> None:
    """Raises UserError where too few training videos have a label for the scores by distance to be fitted."""
    labelled = int((train.labels >= 0).sum())
    if labelled < FEWEST:
        raise UserError(
            f"{train.file}: {labelled} labelled videos, and scores by distance are fitted to at least {FEWEST}: add "
            "videos, or set TEST.SCORE msp and TEST.FIT_FEATURES False"
        )


def check_validation(validation: Annotations, config: CfgNode) -> None:
    """Raises UserError where no validation video has what the stage's figures compare with."""
    quality = config.STAGE == "quality"
    if not validation.targeted(scores=quality).any():
        what = "grade or score" if quality else "label"
        raise UserError(
            f"{validation.file}: none of its {len(validation)} videos has a {what}, so there is nothing to validate "
            "on; give them one, or name another list (DATA.VAL_FILE)"
        )


def evaluation_sets(config: CfgNode) -> list[EvaluationSet]:
    """The validation list, then the lists of outsiders."""
    named = [("in", config.DATA.VAL_FILE)]
    for file in filter(None, (part.strip() for part in config.DATA.OOD_FILE.split(","))):
        named.append((kind_of_outsiders(file), file))
    sets = []
    for kind, file in named:
        annotations = read_list(config, file, "DATA.VAL_FILE" if kind == "in" else "DATA.OOD_FILE", kind != "in")
        sets.append(evaluation_set(config, kind, annotations))
    return sets


def kind_of_outsiders(file: str) -> str:
    """The kind of a list of outsiders: near or far where its name holds that word (`ood_near.txt`), else ood."""
    words = re.split(r"[\W_]+", Path(file).stem.lower())
    return next((kind for kind in ("near", "far") if kind in words), "ood")


def evaluation_set(config: CfgNode, kind: str, annotations: Annotations) -> EvaluationSet:
    """A list of videos with the loader of this process' share."""
    loader = evaluation_loader(
        dataset(config, annotations, train=False),
        batch_size=config.TRAIN.BATCH_SIZE,
        workers=config.DATA.NUM_WORKERS,
        rank=rank(),
        world=world(),
        pin_memory=torch.cuda.is_available(),
        timeout=config.TRAIN.TIMEOUT,
    )
    return EvaluationSet(kind, annotations, loader)


def fits_features(config: CfgNode) -> bool:
    """Whether the scores by distance are wanted, which take a pass over the training videos.

    Where TEST.SCORE names one, in stage negation only: stage view would pay at each evaluation for a rejection that
    comes after it.
    """
    decides = config.STAGE == "negation" and config.TEST.SCORE in FITTED_SCORES
    return config.STAGE != "quality" and (config.TEST.FIT_FEATURES or decides)


def dataset(config: CfgNode, annotations: Annotations, train: bool, opener: Opener | None = None) -> VideoDataset:
    """The videos of a list, opened by `opener`, sampled and cropped as the configuration says."""
    clips, crops = evaluation_views(config)
    return VideoDataset(
        annotations,
        frames=config.DATA.NUM_FRAMES,
        size=config.DATA.INPUT_SIZE,
        train=train,
        seed=config.SEED,
        decoder=config.DATA.DECODER,
        sampling=config.DATA.SAMPLING,
        stride_seconds=config.DATA.STRIDE_SECONDS,
        scales=config.AUG.SCALES,
        background_swap=config.AUG.BACKGROUND_SWAP,
        clips=clips,
        crops=crops,
        resize_on_device=config.DATA.RESIZE == "device",
        seconds=config.DATA.TIMEOUT,
        opener=opener,
    )


def training_data(config: CfgNode, annotations: Annotations) -> TrainingData:
    """The training list as batches with the augmentation of the AUG keys."""
    aug = config.AUG
    transform = DeviceTransform(
        train=True,
        color_jitter=aug.COLOR_JITTER,
        gray_scale=aug.GRAY_SCALE,
        flip=aug.FLIP,
        erasing=aug.ERASING,
    )
    return TrainingData(
        dataset(config, annotations, train=True),
        transform,
        batch_size=config.TRAIN.BATCH_SIZE,
        workers=config.DATA.NUM_WORKERS,
        seed=config.SEED,
        rank=rank(),
        world=world(),
        pin_memory=torch.cuda.is_available(),
        timeout=config.TRAIN.TIMEOUT,
        max_bad_fraction=config.DATA.MAX_BAD_FRACTION,
    )


def write_results(folder: Path, evaluation: Evaluation, lists: Sequence[Annotations], decoder: str) -> None:
    """Writes predictions.csv, metrics.json and report.html, and says the main figures and where everything is."""
    if is_main():
        write_predictions(folder / "predictions.csv", evaluation.predictions)
        write_metrics(folder / "metrics.json", evaluation.summary)
        write_report(folder, frames_from(lists, decoder))
        fitted = evaluation.summary["fitted"] or ()
        for name, value in evaluation.metrics.items():
            interval = evaluation.summary["intervals"].get(name)
            around = f"  [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
            log.info("%-34s %.4f%s%s", name, value, around, "  (fitted on these videos)" if name in fitted else "")
        if fitted:
            log.warning(
                "temperature and τ were fitted on these very videos, so %s flatter themselves", ", ".join(fitted)
            )
        log.info("results: %s", folder.resolve() / "report.html")
    barrier()
