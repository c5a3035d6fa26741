"""One run from configuration to results: data, model, checkpoint, training or evaluation, and the files it leaves."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from yacs.config import CfgNode

from echoviewclip.clip.compiled import compile_blocks
from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.configured import training_data
from echoviewclip.datasets.intake.check import check_annotations
from echoviewclip.datasets.reading import reading_faults
from echoviewclip.evaluation.calibration import PRIOR_VIDEOS
from echoviewclip.evaluation.prediction_files import check_can_be_saved
from echoviewclip.evaluation.summary import Summary
from echoviewclip.evaluation.worst import UNEXPLAINED, telling_videos
from echoviewclip.inference.calibration import changed, settle
from echoviewclip.inference.checkpoint import AnyCheckpoint, Origin
from echoviewclip.inference.explain import explainable
from echoviewclip.inference.precision import Precision
from echoviewclip.inference.preparation import settle_preparation
from echoviewclip.inference.restore import restore_model
from echoviewclip.inference.resume import read_checkpoint, with_activation
from echoviewclip.inference.scoring import check_statistics
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.trainers.closing import say_what_is_there
from echoviewclip.trainers.data import (
    check_defects,
    check_fit,
    check_targets,
    check_validation,
    evaluation_set,
    evaluation_sets,
    read_list,
)
from echoviewclip.trainers.evaluate import Evaluator
from echoviewclip.trainers.explained import explain_videos
from echoviewclip.trainers.feature_cache import FeatureCache, remove_own_cache
from echoviewclip.trainers.folder import check_folder, lock, remove_run, removed_if_unused, results_folder
from echoviewclip.trainers.loop import Trainer
from echoviewclip.trainers.next_step import Call
from echoviewclip.trainers.parallel import place
from echoviewclip.trainers.provenance import provenance_of
from echoviewclip.trainers.results import write_results
from echoviewclip.trainers.saving import LAST, RunFiles
from echoviewclip.trainers.shares import say_shares
from echoviewclip.trainers.stages import build_stage
from echoviewclip.trainers.start import Start
from echoviewclip.trainers.trackers.follow import check_trackers
from echoviewclip.utils.config import without_effect
from echoviewclip.utils.distributed import is_main
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import write_text
from echoviewclip.utils.label_list import read_names
from echoviewclip.utils.logs import set_up_logging
from echoviewclip.utils.stopping import Stop

log = logging.getLogger(__name__)

FEW_VIDEOS = 10 * PRIOR_VIDEOS  # with fewer to calibrate on, the log says so
NO_CHECKPOINT = "--only_test evaluates a checkpoint: name it with --resume CKPT (MODEL.RESUME)"


def run(
    config: CfgNode,
    device: torch.device,
    read: AnyCheckpoint | None = None,
    overwrite: bool = False,
    given: Collection[str] = (),
    call: Call | None = None,
) -> None:
    """Trains `config.STAGE`, or evaluates it with TEST.ONLY_TEST, in a folder that no other process writes to.

    `read` is the checkpoint MODEL.RESUME, where it has been read. `overwrite` removes the run that the folder holds.
    `given` are the keys that the user set (`given_keys`), which the log names where they have no effect. `call` is the
    command that trains, from which the log says the next one. Raises UserError.
    """
    begin = time.monotonic()
    folder = results_folder(config)
    with ExitStack() as stack:
        if is_main():
            stack.enter_context(removed_if_unused(folder))
            stack.enter_context(lock(folder))
        stop = stack.enter_context(Stop(config.TRAIN.TIMEOUT))
        stack.enter_context(reading_faults())
        if is_main():
            check_folder(config, overwrite)
        views = read_names(config.DATA.LABEL_LIST, config.DATA.NUM_CLASSES, "DATA.NUM_CLASSES")
        grades = read_names(config.DATA.QUALITY_LIST, config.DATA.NUM_QUALITIES, "DATA.NUM_QUALITIES")
        _check_start(config)
        set_up_logging(folder, anew=overwrite)
        torch.manual_seed(config.SEED)
        say_shares(config)
        sets = evaluation_sets(config)
        check_can_be_saved(folder, sum(len(part.annotations) for part in sets), config.TEST.PARQUET_ABOVE)
        checkpoint = read_checkpoint(config, views, grades, read)
        start = Start(with_activation(config, checkpoint), views, grades, checkpoint, sets, begin)
        if start.training:
            for sentence in without_effect(start.config, given):
                log.warning("%s", sentence)
        files, summary = _run(start, device, stop, folder, overwrite)
        if files is not None and is_main():
            say_what_is_there(start.config, files, summary, time.monotonic() - begin, call)


def _check_start(config: CfgNode) -> None:
    zero_shot = config.TRAINER.ViFi_CLIP.ZS_EVAL and config.STAGE == "view"
    if config.TEST.ONLY_TEST and not config.MODEL.RESUME and not zero_shot:
        raise UserError(NO_CHECKPOINT)
    if not config.TEST.ONLY_TEST:
        check_trackers(config)


def _run(
    start: Start, device: torch.device, stop: Stop, folder: Path, overwrite: bool
) -> tuple[RunFiles | None, Summary]:
    """The files of the training, None where it only evaluates, and the last evaluation."""
    config, checkpoint = start.config, start.checkpoint
    train = _read_training_list(start)
    preparation = settle_preparation(
        checkpoint, train if start.training else None, [part.annotations for part in start.sets]
    )
    stage = build_stage(config)
    model, tokens = restore_model(config, start.views, checkpoint, answers=not start.training)
    check_statistics(start.statistics, model, config.DATA.INPUT_SIZE)
    stage.prepare(model)
    if start.explains:
        explainable(model)  # here, so that nobody waits for an answer that cannot be given
    sharded = place(model, config, device, trains=start.training)
    if config.TRAIN.COMPILE:
        compile_blocks(model, device)
    precision = Precision(config.TRAIN.OPT_LEVEL, model, device, trains=start.training)
    if start.training and not precision.trained:
        raise UserError(
            "nothing trains: MODEL.FIX_TEXT and TRAINER.ViFi_CLIP (USE, PROMPT_MODEL, PROMPT_DEPTH_…) freeze all"
        )
    evaluator = _evaluator(start, model, precision, train, stop)
    data = training_data(config, train) if train is not None and start.training else None
    cache = None
    if data is not None and start.caches:
        cache = FeatureCache(config, stage, model, precision, data, stop)
    if is_main():
        if overwrite:
            remove_run(folder)
        write_text(folder / "config.yaml", config.dump())
    if data is not None:
        names = (start.views, start.grades)
        origin = Origin(stage.name, config.MODEL.VARIANT, config.dump(), *names, tokens, preparation)
        trainer = Trainer(config, stage, model, precision, data, evaluator, origin, stop, cache, sharded)
        if start.saved and start.saved.training:
            trainer.load(start.saved)
        counted = sum(p.numel() for p in precision.trained.values()) / 1e6
        log.info(
            "%s on %s: %d videos, %.1f M parameters train, on %s",
            *(stage.name, config.DATA.DATASET, len(data.dataset), counted, device),
        )
        files = trainer.files
        with files.history.followed(config):
            evaluation = trainer.fit()
        remove_own_cache(config)
    else:
        evaluation, files = evaluator(model, start.saved.epoch if start.saved else None, intervals=True), None
    evaluated, why = [part.annotations for part in start.sets], UNEXPLAINED
    if start.explains:
        telling = telling_videos(evaluation.predictions, evaluation.summary)
        why = explain_videos(config, model, precision, evaluated, telling)
    if is_main():
        lists = [*(part.file for part in evaluated), train.file if train is not None else None]
        checkpoints = [checkpoint.file if checkpoint else None, *([folder / LAST] if (folder / LAST).is_file() else [])]
        came_about = provenance_of(start.begin, [*lists, *checkpoints])
        evaluation = replace(evaluation, summary=replace(evaluation.summary, provenance=came_about))
    write_results(folder, evaluation, evaluated, config, why)
    return files, evaluation.summary


def _read_training_list(start: Start) -> Annotations | None:
    """The training list, where anything is learned from it; all lists checked. Raises UserError."""
    config = start.config
    validation, *outsiders = (part.annotations for part in start.sets)
    if config.STAGE == "quality" and config.TEST.FIT_FEATURES and start.statistics is None:
        raise UserError(
            "TEST.FIT_FEATURES needs views to fit features to, and the lists of stage quality have grades: fit them in "
            "stage negation, from whose checkpoint stage quality keeps them"
        )
    needed = start.training or start.fits
    train = read_list(config, config.DATA.TRAIN_FILE, "DATA.TRAIN_FILE") if needed else None
    for problem in check_annotations(train, validation, outsiders):
        log.warning("%s", problem)
    if start.training or start.calibration is None:
        check_validation(validation, config)
    if train is not None and start.training:
        check_targets(train, score=config.STAGE == "quality" and config.DATA.QUALITY_TARGET == "score")
        if config.STAGE == "quality":
            check_defects(train, config.MODEL.DEFECTS)
    if train is not None and start.fits:
        check_fit(train)
    return train


def _evaluator(
    start: Start, model: VideoCLIP, precision: Precision, train: Annotations | None, stop: Stop
) -> Evaluator:
    config = start.config
    asked = start.saved is not None and changed(config, start.saved.origin.configuration())
    fitted = start.statistics is not None or start.fits
    calibration = settle(start.calibration, config, model.parts, fitted=fitted, anew=start.calibrates, asked=asked)
    if start.calibrates:
        _warn_of_few_videos(start)
    return Evaluator(
        config,
        start.sets,
        precision,
        (start.views, start.grades),
        calibration=calibration,
        calibrates=start.calibrates,
        statistics=start.statistics,
        fit_on=evaluation_set(config, "train", train) if train is not None and start.fits else None,
        refit=start.refits,
        stop=stop,
    )


def _warn_of_few_videos(start: Start) -> None:
    file, labelled = start.config.DATA.VAL_FILE, int((start.sets[0].annotations.labels >= 0).sum())
    if not start.training:
        log.warning("no calibration yet: τ and temperature are found on %s itself", file)
    if labelled < FEW_VIDEOS:
        log.warning(
            "%s: %d videos with a label are few for temperature and τ; the temperature is held near 1 "
            "(as by %d videos more), and τ is about the lowest score of these videos",
            *(file, labelled, PRIOR_VIDEOS),
        )
