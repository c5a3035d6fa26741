"""The training loop: one for all stages, exact to resume at any optimiser step."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor
from yacs.config import CfgNode

from echoviewclip.datasets.loader import TrainingData
from echoviewclip.inference.checkpoint import Checkpoint, Origin, TrainingState
from echoviewclip.inference.precision import Precision
from echoviewclip.models.outputs import NO_TEXTS, present
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.trainers.evaluate import Evaluation, Evaluator
from echoviewclip.trainers.guard import Guard, RunningStatistics, check_finite, poisoned
from echoviewclip.trainers.inputs import Batch, Inputs, PixelInputs
from echoviewclip.trainers.meter import LossMeter
from echoviewclip.trainers.optimiser import (
    MovingAverage,
    build_optimiser,
    learning_rate,
    load_optimiser,
    optimiser_state,
)
from echoviewclip.trainers.parallel import Parallel, Replicated
from echoviewclip.trainers.picture import ProgressPicture
from echoviewclip.trainers.saving import RunFiles
from echoviewclip.trainers.shares import accumulation_steps
from echoviewclip.trainers.stages import Stage
from echoviewclip.utils.distributed import barrier, is_main, rank, share_buffers, world
from echoviewclip.utils.divided import on_main
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.progress import SHOWN, Progress
from echoviewclip.utils.seeding import generator
from echoviewclip.utils.stopping import Stop, Stopped

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
        origin: Origin,
        stop: Stop,
        inputs: Inputs | None = None,
        parallel: Parallel | None = None,
    ) -> None:
        """`origin` is what each checkpoint says of the run. `inputs` are made of `data`, in place of its clips;
        `parallel` is the model where processes share its weights."""
        self.config, self.stage, self.model, self.precision = config, stage, model, precision
        self.data, self.evaluator, self.origin = data, evaluator, origin
        self.stop, self.files = stop, RunFiles(config, stage.best)
        self.parallel = parallel or Replicated(model, precision.device)
        self.optimiser = build_optimiser(precision.master.items(), config)
        self.statistics = RunningStatistics(model)
        self.guard = Guard(config.TRAIN.MAX_BAD_STEPS, data.dataset.annotations.name, self.files.saved_until)
        self.average = None
        if config.TRAIN.EMA_DECAY:
            self.average = MovingAverage(self.parallel.still(), precision.weights(model), config.TRAIN.EMA_DECAY)
        self.inputs = inputs or PixelInputs(config, stage, data, precision.device)
        self.group = accumulation_steps(config, world())
        self.batches = data.batches  # in an epoch
        # Of a whole optimiser step, here. The last step of an epoch may have fewer, whose gradients weigh no more.
        self.clips = min(self.group * config.TRAIN.BATCH_SIZE, len(data.sampler))
        self.steps_per_epoch = math.ceil(self.batches / self.group)
        self.epoch, self.batch, self.step = 0, 0, 0  # position: epoch, batches done in it, optimiser steps done in all
        self.meter = LossMeter()
        self.picture = ProgressPicture(config, self.steps_per_epoch)
        self.texts = NO_TEXTS  # that nothing trains, as soon as the weights are there

    def fit(self) -> Evaluation:
        """Trains to the last epoch, saving after each and evaluating by EVAL_FREQ; returns the last evaluation.

        Raises Stopped, with last.pth saved, where all processes agree on it. A run that is finished already is
        evaluated again, and nothing is added to its history.
        """
        epochs = self.config.TRAIN.EPOCHS
        if self.epoch >= epochs:
            log.info(
                "the run is finished: %d epochs are trained, TRAIN.EPOCHS is %d; evaluating again", self.epoch, epochs
            )
            self.picture.draw(self.epoch, self.files.figure, last=True)  # it may have been killed before that
            return self.evaluator(self.answering, self.epoch - 1, intervals=True)
        with torch.no_grad(), self.precision.autocast():
            self.texts = self.parallel.answering(self.model).encode_texts(self.stage.parts, frozen=True)
        total = epochs * len(self.data.sampler) * world()
        with Progress("train", total, "clips", done=self._clips_done(), shown=is_main()) as progress:
            while True:
                if self.batch < self.batches:
                    self._train_epoch(progress)
                    self._save(None)  # a run that is stopped in the evaluation goes on with it
                last = self.epoch + 1 == epochs
                evaluation = self._evaluate() if last or (self.epoch + 1) % self.config.EVAL_FREQ == 0 else None
                self.epoch, self.batch = self.epoch + 1, 0
                names = self.files.names_of_epoch(self.epoch - 1, evaluation.metrics if evaluation else {})
                self._save(evaluation, also=names)
                self.picture.draw(self.epoch, self.files.figure, last)
                if last and evaluation:
                    return evaluation

    def _clips_done(self) -> int:
        """Clips that were trained on, in all processes."""
        share = len(self.data.sampler)
        return (self.epoch * share + min(self.batch * self.config.TRAIN.BATCH_SIZE, share)) * world()

    def _train_epoch(self, progress: Progress) -> None:
        self.stage.train_mode(self.model)
        for batch in self.inputs.epoch(self.epoch, skip=self.batch):
            if self.batch % self.group == 0:
                self.statistics.keep()
            last_of_group = (self.batch + 1) % self.group == 0 or self.batch + 1 == self.batches
            terms = self._gradients(batch, synchronise=last_of_group)
            self.meter.add(terms, len(batch.place))
            self.guard.saw(self.epoch, self.batch, batch.place, terms["loss"])
            self.batch += 1
            if last_of_group:
                self.meter.norm = self._update()
            reports = self.batch % self.config.PRINT_FREQ == 0 or self.batch == self.batches
            if reports:
                progress.note_line()
            progress.move(self._clips_done(), self._place, self._loss)
            if reports:
                self._report(progress)
            if last_of_group and self.batch < self.batches:
                self._save_or_stop()

    def _save_or_stop(self) -> None:
        """Between two optimiser steps: writes last.pth where it is due, and leaves where that is wanted."""
        stop, save = self.stop.agree(save=self.files.due_by_time())
        if stop or save or self.files.due_by_steps(self.step):
            self._save(None)
        if stop:
            log.warning("asked to stop: saved after step %d; TRAIN.AUTO_RESUME True goes on from there", self.step)
            raise Stopped

    def _gradients(self, batch: Batch, synchronise: bool) -> dict[str, Tensor]:
        """Adds one batch's gradients; processes exchange them only with the last batch of a group."""
        # All randomness on the device is a function of the place in the run, so that a resumed run repeats it.
        key = generator(self.config.SEED, self.epoch, self.batch, rank())
        torch.manual_seed(int(key.integers(2**63)))
        with nullcontext() if synchronise else self.parallel.no_sync():
            with self.precision.autocast():
                output = self.parallel(batch.seen, self.stage.parts, self.texts, batch.lit)
                terms = self.stage.loss(output, batch.targets)
                loss = torch.stack(list(terms.values())).sum()
            self.precision.backward(poisoned(loss) * (len(batch.place) / self.clips))
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

    @property
    def _place(self) -> str:
        """Where in the run it is, for people."""
        return f"epoch {self.epoch + 1}/{self.config.TRAIN.EPOCHS}  batch {self.batch}/{self.batches}"

    def _figures(self, terms: dict[str, float]) -> str:
        """Losses and the best figure so far, for people."""
        best = {f"best {self.files.figure}": self.files.best} if self.files.best_epoch >= 0 else {}
        return "  ".join(f"{name} {value:.4f}" for name, value in (terms | best).items() if math.isfinite(value))

    def _loss(self) -> str:
        """What the terminal shows; waits for the device."""
        return self._figures({name: value for name, value in self.meter.means().items() if name == "loss"})

    def _report(self, progress: Progress) -> None:
        self.guard.read()
        self.data.share_faults()
        terms = self.meter.means()
        rate = self.optimiser.param_groups[0]["lr"]
        log.info("%s", progress.line(f"{self._figures(terms)}  lr {rate:.2e}"), extra={SHOWN: True})
        counts = {"bad_videos": self.data.bad_videos, "bad_steps": self.guard.left_out}
        bad = {name: count for name, count in counts.items() if count}
        # Within a group, the step that the group will make.
        step = self.step + (self.batch % self.group != 0 and self.batch < self.batches)
        self.files.history.write(step, epoch=self.epoch, train={**terms, "lr": rate, **bad})
        self.meter = LossMeter()

    @property
    def answering(self) -> VideoCLIP:
        """The model that is evaluated: the moving average of the weights where there is one."""
        model = self.parallel.answering(self.average.model if self.average else self.model)
        return model if model is self.model else self.precision.cast(model)

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
        self.files.history.write(self.step, epoch=self.epoch, val=evaluation.metrics)
        return evaluation

    def _save(self, evaluation: Evaluation | None, also: Sequence[str] = ()) -> None:
        """Writes last.pth, and the same under the names `also` before it; all processes call this at the same place."""
        self.guard.read()
        self.data.share_faults()
        checkpoint = self._checkpoint(evaluation)
        check_finite(checkpoint, self.files.saved_until)
        if is_main():
            self.files.commit(checkpoint, also)
        self.files.note_saved(self.step)
        barrier()

    def _checkpoint(self, evaluation: Evaluation | None) -> Checkpoint:
        """For the main process to write; all take part in it."""
        weights = on_main(self.precision.weights(self.model))
        # A threshold and features of earlier weights would reject by a rule that is none of these weights'.
        known = evaluation is not None or not self.evaluator.calibrates
        training = TrainingState(
            epoch=self.epoch,
            batch=self.batch,
            batches=self.batches,
            step=self.step,
            optimiser=optimiser_state(self.optimiser, self.precision.of_master),
            scaler=self.precision.scaler.state_dict(),
            meter=self.meter.state(),
            figure=self.files.figure,
            best=self.files.best,
            best_epoch=self.files.best_epoch,
            lines=self.files.history.lines,
            bad_steps=(self.guard.left_out, self.guard.in_a_row),
            bad_videos=self.data.bad,
        )
        if self.average:
            training = replace(training, weights=weights, average_steps=int(self.average.steps))
            weights = on_main(self._averages())
        return Checkpoint(
            origin=self.origin,
            weights=weights,
            epoch=self.epoch - 1,
            calibration=self.evaluator.calibration if known else None,
            statistics=self.evaluator.statistics if known else None,
            metrics=evaluation.metrics if evaluation else {},
            training=training,
        )

    def _averages(self) -> dict[str, Tensor]:
        return self.average.model.state_dict() if self.average else {}

    def load(self, checkpoint: Checkpoint) -> None:
        """Continues where a checkpoint stopped; the model's weights are loaded already."""
        training = present(checkpoint.training)
        self.epoch, self.batch, self.step = training.epoch, training.batch, training.step
        if training.batches != self.batches:
            if 0 < self.batch < training.batches:
                raise UserError(
                    f"the run stopped within an epoch of {training.batches} batches, now an epoch has "
                    f"{self.batches}: keep the training list, TRAIN.BATCH_SIZE and the number of processes, "
                    "or resume a ckpt_epoch_N.pth"
                )
            self.batch = self.batches if self.batch else 0
            self.step = (self.epoch + (self.batch > 0)) * self.steps_per_epoch
        self.guard.left_out, self.guard.in_a_row = training.bad_steps
        load_optimiser(self.optimiser, training.optimiser, self.precision.of_master)
        self.precision.load_scaler(training.scaler)
        if training.weights is not None:  # the model's are their average, which the optimiser's state does not suit
            self.precision.load(self.model, training.weights)
            if self.average:
                self.average.steps.fill_(training.average_steps)
        self.meter.load(training.meter, self.precision.device)
        self.data.bad = training.bad_videos
        self.files.go_on(checkpoint, self.step)
