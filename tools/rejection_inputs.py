"""What `tools/rejection.py` compares: answers about a checkpoint's lists, and the scores that follow from them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.configured import evaluation_batches
from echoviewclip.datasets.outliers import KINDS, SyntheticOutliers
from echoviewclip.datasets.reading import read, reading_faults
from echoviewclip.datasets.sample import Sample
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.evaluation.feature_statistics import Distances, FeatureStatistics
from echoviewclip.evaluation.rejection import Residuals, neg_label
from echoviewclip.inference.checkpoint import Checkpoint, read_file
from echoviewclip.inference.collect import Answers, Collector, merge_views, zip_with
from echoviewclip.inference.precision import Precision
from echoviewclip.inference.predictor import Changes, Predictor, make_predictor
from echoviewclip.inference.restore import own_towers
from echoviewclip.inference.scoring import ood_scores
from echoviewclip.models.branch import TextBranch
from echoviewclip.models.build import class_prompts
from echoviewclip.models.outputs import ClassTexts, present
from echoviewclip.trainers.data import check_fit, kind_of_outsiders, read_list
from echoviewclip.trainers.next_step import LIST_FORMATS
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.progress import Progress
from echoviewclip.utils.seeding import generator

GROUPS = 7  # of NegLabel's grouping: eleven of the 77 names of labels/other_views.csv each


@dataclass(frozen=True)
class Lists:
    """The lists of a comparison; `outsiders` are each of a kind: near, far or ood."""

    training: Annotations
    validation: Annotations
    test: Annotations
    outsiders: list[tuple[str, Annotations]]


def load(file: str, changes: Changes) -> tuple[Checkpoint, Predictor]:
    """A checkpoint with two branches that read text, settings changed. Raises UserError for any other."""
    checkpoint = read_file(file)
    if not isinstance(checkpoint, Checkpoint):
        raise UserError(f"{file}: carries no configuration, so its lists are not known; give a checkpoint of main.py")
    if checkpoint.origin.stage != "negation":
        raise UserError(f"{file}: of stage {checkpoint.origin.stage}; give the checkpoint of a stage negation")
    if checkpoint.origin.variant != "paper":
        raise UserError(f"{file}: of MODEL.VARIANT {checkpoint.origin.variant}; give one of MODEL.VARIANT paper")
    predictor = make_predictor(checkpoint, changes=changes)
    if predictor.config.MODEL.DROP_BLACK:
        raise UserError(f"{file}: leaves black patches out, which outliers move; add --opts MODEL.DROP_BLACK False")
    return checkpoint, predictor


def read_lists(config: CfgNode, test: str) -> Lists:
    """The lists of a configuration and the list `test`, or where that is empty the data's own.

    Raises UserError where one is missing or has nothing to fit or judge by.
    """
    data = config.DATA
    if not test:
        names = [f"test{suffix}" for suffix in LIST_FORMATS]
        test = next((name for name in names if (Path(data.ROOT) / name).is_file()), "")
        if not test:
            raise UserError(f"{data.ROOT}: holds no {' or '.join(names)}; name the list of test videos (--test)")
    files = [file for file in map(str.strip, data.OOD_FILE.split(",")) if file]
    if not files:
        raise UserError("DATA.OOD_FILE is empty: name lists of outsiders, --opts DATA.OOD_FILE near.csv,far.csv")
    lists = Lists(
        read_list(config, data.TRAIN_FILE, "DATA.TRAIN_FILE"),
        read_list(config, data.VAL_FILE, "DATA.VAL_FILE"),
        read_list(config, test, "--test"),
        [(kind_of_outsiders(file), read_list(config, file, "DATA.OOD_FILE", outsiders=True)) for file in files],
    )
    check_fit(lists.training)
    for listed, use in ((lists.validation, "calibrates"), (lists.test, "judges")):
        if not (listed.labels >= 0).any():
            raise UserError(f"{listed.file}: {use} by videos with a label, and has none")
    if Path(lists.validation.file) == Path(lists.test.file):
        raise UserError(f"{lists.test.file}: cannot calibrate and judge; name another list of test videos (--test)")
    return lists


def read_kinds(root: str) -> dict[str, str]:
    """Path → what an outsider shows, from the phantom's `annotations.csv` in `root`; empty where there is none."""
    file = Path(root) / "annotations.csv"
    if not file.is_file():
        return {}
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            return {row["path"]: row["view"] for row in csv.DictReader(stream)}
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise UserError(f"{file}: cannot be read as a table with the columns path and view ({error})") from None


@torch.no_grad()
def texts_of(checkpoint: Checkpoint, predictor: Predictor, names: Sequence[str]) -> ClassTexts:
    """Other names than the views in the prompts of both branches, read by their towers, float32 [M, D] each.

    The words come from the token table that the checkpoint was trained with. Raises UserError where it is not at hand.
    """
    model, found = predictor.model, []
    table = own_towers(checkpoint).token_embedding
    for branch, negative in ((model.positive_text, False), (model.negative_text, True)):
        assert isinstance(branch, TextBranch)
        prompts = class_prompts(predictor.config, names, table, negative)
        prompts.context = branch.prompts.context
        found.append(TextBranch(prompts, branch.tower)())
    return ClassTexts(*found)


class Asker:
    """Asks a model about lists: videos that can be read, with all that it sees in them."""

    def __init__(self, predictor: Predictor, device: torch.device) -> None:
        self.config, self.model = predictor.config, predictor.model.to(device).eval()
        self.precision = Precision(self.config.TRAIN.OPT_LEVEL, self.model, device, trains=False)
        self.transform = DeviceTransform(train=False)

    def ask(
        self, annotations: Annotations, title: str, places: np.ndarray | None = None, made: MadeOutliers | None = None
    ) -> Answers[np.ndarray]:
        """About the videos at `places` of a list, all by default; outliers are made of them where `made` is given.

        Raises UserError where none can be read.
        """
        loader = evaluation_batches(self.config, annotations, places=None if places is None else places.tolist())
        videos, size = len(annotations) if places is None else len(places), self.config.DATA.INPUT_SIZE
        batch_size = self.config.TRAIN.BATCH_SIZE
        collector = Collector(self.model, self.transform, self.precision, size, batch_size, features=True, watch=made)
        with reading_faults(), Progress(title, videos) as progress:
            answers, _, _ = collector.collect(read(loader), videos, progress)
        seen = ~answers.failed & np.isfinite(present(answers.intermediates)).all(axis=1)
        if not seen.any():
            raise UserError(f"{annotations.file}: no video can be read; tools/check_data.py says why")
        return zip_with(lambda values: values[seen], answers)


class MadeOutliers:
    """Makes half as many outliers of the labelled videos that pass (an `inference.collect.Watch`), and asks of them."""

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self.kinds = [kind for kind in asker.config.AUG.OUTLIERS if kind in KINDS] or list(KINDS)
        self._make = SyntheticOutliers(self.kinds)
        with torch.no_grad(), asker.precision.autocast():
            self._texts = asker.model.encode_texts(asker.model.parts)
        self._found: list[Answers[np.ndarray]] = []

    def __call__(self, batch: Sample, video: Tensor, answers: Answers[np.ndarray]) -> None:
        """Takes a batch in; a video's clips are all changed alike."""
        model, views = self.asker.model, video.shape[1]
        good = (~batch.failed & (batch.label >= 0)).cpu()
        clips = self.asker.transform(video[good.to(video.device)].flatten(0, 1)).unflatten(0, (-1, views))
        draws = generator(self.asker.config.SEED, int(batch.place[0]))
        none = clips.new_zeros(len(clips), 1)
        made = self._make(clips, none, batch.label.cpu()[good].numpy(), draws)[0][len(clips) :]
        if len(made):
            answered = merge_views(model(made.flatten(0, 1), model.parts, self._texts), views)
            parts = (zip_with(lambda values: values.cpu().numpy(), part) for part in answered)
            of_no_list = np.full(len(made), -1), np.zeros(len(made), bool), np.full((len(made), 1), -1)
            self._found.append(Answers(*of_no_list, *parts))

    def answers(self) -> Answers[np.ndarray]:
        """About all of them. Raises UserError where there were none."""
        if not self._found:
            raise UserError("too few labelled videos in a batch to make outliers of them; raise TRAIN.BATCH_SIZE")
        return zip_with(lambda *parts: np.concatenate(parts), *self._found)


class Judge:
    """Every score of a video, from what the model answers about it.

    Attributes:
        depths: which columns of the intermediate features are which block's.
    """

    def __init__(
        self, predictor: Predictor, others: ClassTexts, training: Answers[np.ndarray], labels: np.ndarray
    ) -> None:
        """Fitted on answers about training videos and their labels int64 [N]; the deployed statistics as they are."""
        self.scale = float(predictor.model.logit_scale.detach().float().exp())
        self.others = [present(text).float().cpu().numpy() for text in others]
        self.depths = _depths(predictor)
        seen, features = present(training.intermediates), present(present(training.positive).features)
        self.fitted = predictor.fitted or FeatureStatistics.fit(seen, labels)
        self.of_depth = {block: FeatureStatistics.fit(seen[:, part], labels) for block, part in self.depths.items()}
        self.residuals = {"": Residuals.fit(seen), " of f_pos": Residuals.fit(features)}

    def scores(self, answers: Answers[np.ndarray]) -> dict[str, np.ndarray]:
        """float64 [N] by name, higher = in distribution."""
        seen = present(answers.intermediates)
        found = ood_scores(answers._replace(distances=Distances(**self.fitted.scores(seen))))
        found |= self.text_scores(answers)
        features = {"": seen, " of f_pos": present(present(answers.positive).features)}
        for of, residuals in self.residuals.items():
            found |= {f"{name}{of}": values for name, values in residuals.scores(features[of]).items()}
        depths = {
            f"relative_mahalanobis at block {block}": self.of_depth[block].scores(seen[:, part])["relative_mahalanobis"]
            for block, part in self.depths.items()
        }
        return found | depths | {"relative_mahalanobis summed over blocks": np.sum(list(depths.values()), axis=0)}

    def text_scores(self, answers: Answers[np.ndarray]) -> dict[str, np.ndarray]:
        """NegLabel in both wordings, with and without its groups.

        A negative text is least like the video of the class that it denies, so its logits count with the other sign.
        """
        found = {}
        sides = (("neglabel shows", answers.positive, 1), ("neglabel does not show", answers.negative, -1))
        for (name, side, sign), texts in zip(sides, self.others, strict=True):
            views = sign * present(present(side).logits)
            others = sign * self.scale * present(present(side).features) @ texts.T
            found[name] = neg_label(views, others)
            if len(texts) >= GROUPS:
                found[f"{name}, grouped"] = neg_label(views, others, GROUPS)
        return found


@torch.no_grad()
def _depths(predictor: Predictor) -> dict[int, slice]:
    """Which columns of the intermediate features are which block's, counted from 1."""
    model, size = predictor.model.eval(), predictor.config.DATA.INPUT_SIZE
    blank = torch.ones(1, 1, 3, size, size, device=next(model.parameters()).device)
    parts = model(blank, ("positive",)).intermediates
    ends = np.cumsum([0, *(part.shape[1] for part in parts.values())]).tolist()
    return {block: slice(*around) for block, around in zip(parts, pairwise(ends), strict=True)}


def groups_of(lists: Lists, places: Sequence[np.ndarray], kinds: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Which outsiders, those at `places` of each list, are of which kind: bool [M] by the name of a list's kind, near
    first, then by what they show (`read_kinds`)."""
    of_list = np.concatenate([[kind] * len(at) for (kind, _), at in zip(lists.outsiders, places, strict=True)])
    names = [listed.name(i) for (_, listed), at in zip(lists.outsiders, places, strict=True) for i in at]
    shown = np.array([kinds.get(name, "") for name in names])
    found = {kind: of_list == kind for kind in dict.fromkeys(of_list.tolist()) if kind != "ood"}
    for kind in dict.fromkeys(of_list.tolist()):
        found |= {name: shown == name for name in sorted(set(shown[of_list == kind])) if name}
    return found
