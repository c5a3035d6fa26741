"""The training loop: one for all stages, exact to resume at any optimiser step."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from yacs.config import CfgNode

from datasets.blending import Blending
from datasets.cropping import clips_on
from datasets.loader import TrainingData
from datasets.outliers import SyntheticOutliers
from models.video_clip import VideoCLIP
from trainers.evaluate import Evaluation, Evaluator
from trainers.guard import Guard, RunningStatistics, not_finite, poisoned
from trainers.optimiser import MovingAverage, build_optimiser, learning_rate, load_optimiser
from trainers.precision import Precision
from trainers.running import Running
from trainers.saving import BEST, LAST, checkpoint_of_epoch, commit, restore_best
from trainers.stages import Stage
from utils.distributed import barrier, from_main, is_main, rank, share_buffers, world
from utils.errors import UserError
from utils.logs import Clock, MetricsLog
from utils.seeding import generator

log = logging.getLogger(__name__)


class Trainer:
    """Trains one stage of one model; `fit` is the whole of it."""

    def __init__(
        self,
        config: CfgNode,
        stage: Stage,
        model: VideoCLIP,
        precision: Precision,
        data: TrainingData,
        evaluator: Evaluator,
        about: dict[str, Any],
    ) -> None:
        """`about` is what a checkpoint says beside weights: variant, views, grades, tokens."""
        self.config, self.stage, self.model, self.precision = config, stage, model, precision
        self.data, self.evaluator, self.about = data, evaluator, about
        self.folder = Path(config.OUTPUT)
        device = precision.device
        self.optimiser = build_optimiser(precision.master.items(), config)
        self.statistics = RunningStatistics(model)
        self.guard = Guard(config.TRAIN.MAX_BAD_STEPS, data.dataset.annotations.name, self._saved)
        self.average = None
        if config.TRAIN.EMA_DECAY:
            self.average = MovingAverage(model, precision.weights(model), config.TRAIN.EMA_DECAY)
        self.parallel: nn.Module = model
        if world() > 1:
            devices = [device.index] if device.type == "cuda" else None
            self.parallel = DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)
        self.blending = Blending(config.AUG.MIXUP, config.AUG.CUTMIX, config.AUG.MIXUP_SWITCH_PROB)
        self.outliers = SyntheticOutliers(config.AUG.OUTLIERS) if stage.learns_outliers else None
        self.group = config.TRAIN.ACCUMULATION_STEPS
        self.batches = data.batches  # in an epoch
        # Of a whole optimiser step, here. The last step of an epoch may have fewer, whose gradients weigh no more.
        self.clips = min(self.group * config.TRAIN.BATCH_SIZE, len(data.sampler))
        self.steps_per_epoch = math.ceil(self.batches / self.group)
        self.epoch, self.batch, self.step = 0, 0, 0  # position: epoch, batches done in it, optimiser steps done in all
        self.start, self.saved = 0, -1  # optimiser steps done when this run began, and when it last saved itself
        self.best, self.best_epoch = -math.inf, -1
        self.shown = Running()
        self.history = MetricsLog(self.folder)
        self.last_is_whole = True  # the last.pth that is there, if any, can be read

    def fit(self) -> Evaluation:
        """Trains to the last epoch, saving after each and evaluating by EVAL_FREQ; returns the last evaluation.

        A run that is finished already is evaluated again, and nothing is added to its history.
        """
        epochs = self.config.TRAIN.EPOCHS
        if self.epoch >= epochs:
            log.info(
                "the run is finished: %d epochs are trained, TRAIN.EPOCHS is %d; evaluating again", self.epoch, epochs
            )
            return self.evaluator(self.answering, self.epoch - 1, intervals=True)
        clock = Clock(epochs * self.batches, self.epoch * self.batches + self.batch)
        evaluation = None
        while self.epoch < epochs:
            if self.batch < self.batches:
                self._train_epoch(clock)
                self._save(None)  # a run that is stopped in the evaluation goes on with it
            due = self.epoch + 1 == epochs or (self.epoch + 1) % self.config.EVAL_FREQ == 0
            evaluation = self._evaluate() if due else None
            self.epoch, self.batch = self.epoch + 1, 0
            self._keep(evaluation)
        return evaluation

    def _train_epoch(self, clock: Clock) -> None:
        self.stage.train_mode(self.model)
        for batch in self.data.epoch(self.epoch, skip=self.batch):
            if self.batch % self.group == 0:
                self.statistics.keep()
            last_of_group = (self.batch + 1) % self.group == 0 or self.batch + 1 == self.batches
            terms = self._gradients(batch, synchronise=last_of_group)
            self.shown.add(terms, len(batch["index"]))
            self.guard.saw(self.epoch, self.batch, batch["index"], terms["loss"])
            self.batch += 1
            if last_of_group:
                self.shown.norm = self._update()
            if self.batch % self.config.PRINT_FREQ == 0 or self.batch == self.batches:
                self._report(clock)
            save = self.config.TRAIN.SAVE_STEPS
            if last_of_group and save and self.step % save == 0 and self.batch < self.batches:
                self._save(None)

    def _gradients(self, batch: dict[str, Tensor], synchronise: bool) -> dict[str, Tensor]:
        """Adds one batch's gradients; processes exchange them only with the last batch of a group."""
        device = self.precision.device
        # All randomness on the device is a function of the place in the run, so that a resumed run repeats it.
        key = generator(self.config.SEED, self.epoch, self.batch, rank())
        torch.manual_seed(int(key.integers(2**63)))
        clips = clips_on(device, batch, self.config.DATA.INPUT_SIZE).squeeze(1)
        video = self.data.transform(clips, batch["seed"].to(device, non_blocking=True))
        labels, scores = (batch[name].to(device, non_blocking=True) for name in ("label", "score"))
        video, targets = self.blending(video, self.stage.targets(labels, scores), key)
        if self.outliers is not None:
            video, targets = self.outliers(video, targets, batch["label"].numpy(), key)
        alone = world() > 1 and not synchronise
        with self.parallel.no_sync() if alone else nullcontext():
            with self.precision.autocast():
                answers = self.parallel(video, self.stage.parts)
                terms = self.stage.loss(answers, targets)
                loss = torch.stack(list(terms.values())).sum()
            self.precision.backward(poisoned(loss) * (len(clips) / self.clips))
        return {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}}

    def _update(self) -> Tensor:
        """One optimiser step, unless the loss or the gradient is not finite; returns the gradients' norm."""
        train = self.config.TRAIN
        steps = train.EPOCHS * self.steps_per_epoch
        warmup = round(train.WARMUP_EPOCHS * self.steps_per_epoch)
        rate = learning_rate(self.step, steps, warmup, train.LR, train.LR_SCHEDULER)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        outcome = self.precision.step(self.optimiser, train.CLIP_GRAD)
        self.stage.constrain(self.model)
        self.statistics.put_back(outcome.left_out)
        if self.average:
            self.average.update(self.precision.master | self.statistics.named, outcome.left_out)
        self.step += 1
        self.guard.stepped(outcome.failed)
        return outcome.norm

    def _report(self, clock: Clock) -> None:
        self.guard.read()
        self.data.share_faults()
        terms = self.shown.means()
        rate = self.optimiser.param_groups[0]["lr"]
        done = self.epoch * self.batches + self.batch
        text = "  ".join(f"{name} {value:.4f}" for name, value in terms.items())
        log.info(
            "epoch %d/%d  batch %d/%d  %s  lr %.2e  %s left",
            self.epoch + 1,
            self.config.TRAIN.EPOCHS,
            self.batch,
            self.batches,
            text,
            rate,
            clock.left(done),
        )
        counts = {"bad_videos": self.data.bad_videos, "bad_steps": self.guard.left_out}
        bad = {name: count for name, count in counts.items() if count}
        # Within a group, the step that the group will make.
        step = self.step + (self.batch % self.group != 0 and self.batch < self.batches)
        self.history.write(step, epoch=self.epoch, train={**terms, "lr": rate, **bad})
        self.shown = Running()

    @property
    def answering(self) -> VideoCLIP:
        """The model that is evaluated: the moving average of the weights where there is one."""
        return self.precision.cast(self.average.model) if self.average else self.model

    def _share_statistics(self) -> None:
        """Gives all processes the main one's running statistics, which each takes of its own share of the videos: the
        model that is evaluated is the one that is saved."""
        share_buffers(self.model)
        if self.average:
            share_buffers(self.average.model)

    def _evaluate(self) -> Evaluation:
        last = self.epoch + 1 >= self.config.TRAIN.EPOCHS
        self._share_statistics()
        evaluation = self.evaluator(self.answering, self.epoch, intervals=last)
        self.history.write(self.step, epoch=self.epoch, val=evaluation.metrics)
        return evaluation

    def _keep(self, evaluation: Evaluation | None) -> None:
        """Writes ckpt_epoch_N.pth by SAVE_FREQ, best.pth when it is the best so far, and last.pth."""
        figure = evaluation.metrics.get(self.stage.best, math.nan) if evaluation else math.nan
        better = figure > self.best
        ended = self.epoch - 1
        if better:
            self.best, self.best_epoch = figure, ended
        names = [BEST] * better
        if self.config.SAVE_FREQ and (ended + 1) % self.config.SAVE_FREQ == 0:
            names.append(checkpoint_of_epoch(ended))
        self._save(evaluation, also=names)
        if evaluation:
            log.info("epoch %d  %s %.4f%s", ended + 1, self.stage.best, figure, "  (best so far)" if better else "")

    def _save(self, evaluation: Evaluation | None, also: Sequence[str] = ()) -> None:
        """Writes last.pth, and the same under the names `also` before it; all processes call this at the same place."""
        self.guard.read()
        self.data.share_faults()
        weights = self.precision.weights(self.model)
        self._check_finite(weights | {f"average of {k}": v for k, v in self._averages().items()})
        if is_main():
            self.history.flush()
            commit(self.folder, self._content(weights, evaluation), also, keep_previous=self.last_is_whole)
        self.saved, self.last_is_whole = self.step, True
        barrier()

    def _content(self, weights: dict[str, Tensor], evaluation: Evaluation | None) -> dict[str, Any]:
        """What a checkpoint holds."""
        # A threshold and features of earlier weights would reject by a rule that is none of these weights'.
        known = evaluation is not None or not self.evaluator.calibrates
        training = {
            "epoch": self.epoch,
            "batch": self.batch,
            "batches": self.batches,
            "step": self.step,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "bad_steps": (self.guard.left_out, self.guard.in_a_row),
            "bad_videos": self.data.bad,
            "shown": self.shown.state(),
            "lines": self.history.lines,
        }
        if self.average:
            training |= {"weights": weights, "average_steps": int(self.average.steps)}
            weights = self._averages()
        return {
            "model": weights,
            "stage": self.stage.name,
            "config": self.config.dump(),
            "epoch": self.epoch - 1,
            "calibration": self.evaluator.calibration if known else {},
            "statistics": self.evaluator.statistics if known else {},
            "metrics": evaluation.metrics if evaluation else {},
            "training": training,
            **self.about,
        }

    def _check_finite(self, weights: dict[str, Tensor]) -> None:
        """Raises UserError, on all processes, where the main one's weights are of no use."""
        bad = from_main(not_finite(weights))
        if bad:
            names = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if bad[3:] else "")
            raise UserError(
                f"the weights are not finite after step {self.step} ({names}) and are not saved; {self._saved()}; "
                "lower TRAIN.LR or set TRAIN.CLIP_GRAD 1"
            )

    def _averages(self) -> dict[str, Tensor]:
        return self.average.model.state_dict() if self.average else {}

    def _saved(self) -> str:
        """What this run has left on disk."""
        if self.saved < 0:
            return f"nothing was saved since the run began at step {self.start}"
        return f"{self.folder / 'last.pth'} holds the weights after step {self.saved}"

    def load(self, content: dict[str, Any]) -> None:
        """Continues where a checkpoint (`file` its path) stopped; the model's weights are loaded already."""
        training = content["training"]
        self.epoch, self.batch, self.step = training["epoch"], training["batch"], training["step"]
        if training["batches"] != self.batches:
            if 0 < self.batch < training["batches"]:
                raise UserError(
                    f"the run stopped within an epoch of {training['batches']} batches, now an epoch has "
                    f"{self.batches}: keep the training list, TRAIN.BATCH_SIZE and the number of processes, "
                    "or resume a ckpt_epoch_N.pth"
                )
            self.batch = self.batches if self.batch else 0
            self.step = (self.epoch + (self.batch > 0)) * self.steps_per_epoch
        self.start = self.step
        self.guard.left_out, self.guard.in_a_row = training.get("bad_steps", (0, 0))
        load_optimiser(self.optimiser, training["optimiser"])
        self.precision.scaler.load_state_dict(training["scaler"])
        if self.average and "weights" in training:
            self.average.steps.fill_(training["average_steps"])
            self.precision.load(self.model, training["weights"])
        self.shown.load(training.get("shown", {}), self.precision.device)
        self.data.bad = training.get("bad_videos", {})
        self._go_on_with_files(content)

    def _go_on_with_files(self, content: dict[str, Any]) -> None:
        """Takes best.pth and metrics.jsonl back to where the checkpoint left them."""
        training, source = content["training"], Path(content["file"])
        self.last_is_whole = source.resolve() == (self.folder / LAST).resolve()
        self.best_epoch = training.get("best_epoch", -1)
        if is_main():
            self.best = restore_best(self.folder, content, self.stage.best)
            self.history.go_on(source.parent, training.get("lines"), self.step)
        self.best = from_main(self.best)
