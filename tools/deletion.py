"""Whether the explained places count: python tools/deletion.py STUDY… --resume CKPT [--share S] [--draws N]

Paints a share of each video's pictures black, counted of what is not black already, and answers again: the places that
most spoke for the view that was named, random ones (by the same map, shifted at random, so of the same shapes), and
those that least spoke for it. The view's probability has to fall most for the first. See docs/study.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

if not __package__:  # started as a file
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from echoviewclip.datasets.intake.asked import find_videos
from echoviewclip.datasets.sample import Sample
from echoviewclip.datasets.transforms import DeviceTransform, lit_pixels
from echoviewclip.inference.collect import Answers
from echoviewclip.inference.echo_model import EchoModel
from echoviewclip.inference.explain import explain_clip, explainable
from echoviewclip.models.outputs import ClassTexts, present
from echoviewclip.utils.errors import UserError, exit_code

KINDS = ("marked", "random", "least marked")
BLACK = 16  # the largest grey of a pixel that is none of the image


@dataclass(frozen=True)
class Falls:
    """By how much the probability of the named view falls where a share of the picture is black.

    Attributes:
        before: float64 [N], the probability in each video.
        after: float64 [N] for each of KINDS.
    """

    before: np.ndarray
    after: dict[str, np.ndarray]

    def fall(self, kind: str) -> np.ndarray:
        """float64 [N], positive where the probability falls."""
        return self.before - self.after[kind]


class Deletion:
    """Measures each video that passes (an `inference.collect.Watch`), its first clip."""

    def __init__(self, model: EchoModel, share: float = 0.1, draws: int = 8) -> None:
        """`share` of the picture is painted, the random one `draws` times. Raises UserError (`explainable`)."""
        self.model, self.share, self.draws = explainable(model.predictor.model), share, draws
        self.temperature = model.predictor.calibration.temperature
        self._drops_black = model.predictor.config.MODEL.DROP_BLACK
        self._normalise = DeviceTransform(train=False)
        self._texts: ClassTexts | None = None
        self._found: list[list[float]] = []

    def __call__(self, batch: Sample, video: Tensor, answers: Answers[np.ndarray]) -> None:
        """Takes a batch in."""
        if self._texts is None:
            self._texts = self.model.encode_texts(("positive",))
        for row in np.flatnonzero(~answers.failed):
            clip = video[row, 0]
            probabilities = self._probabilities(clip.unsqueeze(0))[0]
            view = int(probabilities.argmax())
            lit = None if batch.lit is None else batch.lit[row, 0].numpy()
            marked, _ = explain_clip(self.model, self._normalise(clip.unsqueeze(0)).squeeze(0), view, self._texts, lit)
            together = torch.from_numpy(marked).to(clip.device).mean(dim=0)
            noise = np.random.default_rng(int(answers.place[row]))
            shifts = noise.integers(0, len(together), (self.draws, 2)).tolist()
            fields = [[together], [together.roll(shift, (0, 1)) for shift in shifts], [-together]]
            black = [self._probabilities(torch.stack([self.painted(clip, one) for one in kind])) for kind in fields]
            self._found.append([float(probabilities[view]), *(float(found[:, view].mean()) for found in black)])

    def _probabilities(self, clips: Tensor) -> Tensor:
        """Of the views [B, K], in clips uint8 [B, T, 3, S, S]."""
        lit = lit_pixels(clips).cpu().numpy() if self._drops_black else None
        output = self.model(self._normalise(clips), ("positive",), present(self._texts), lit)
        return (present(present(output.positive).logits) / self.temperature).softmax(dim=-1)

    def painted(self, clip: Tensor, field: Tensor) -> Tensor:
        """A clip uint8 [T, 3, S, S] whose pictures are black where `field` [rows, columns] is largest."""
        size = clip.shape[-2:]
        wide = F.interpolate(field[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        # Of equal places those that lie together: single black pixels disturb a network more than a black place does.
        soft = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0)).to(wide.device)
        wide = wide + 1e-3 * F.interpolate(soft, size, mode="bicubic", align_corners=False)[0, 0]
        image = F.max_pool2d(clip.amax((0, 1))[None].float(), 5, 1, 2)[0] > BLACK
        wide = wide.masked_fill(~image, -torch.inf).flatten()
        where = torch.zeros_like(wide, dtype=torch.bool)
        where[wide.topk(round(self.share * int(image.sum()))).indices] = True
        return clip.masked_fill(where.view(size), 0)

    def result(self) -> Falls:
        """Of all videos that passed."""
        before, *after = np.array(self._found).reshape(-1, 1 + len(KINDS)).T
        return Falls(before, dict(zip(KINDS, after, strict=True)))


def measure(model: EchoModel, paths: Sequence[str], share: float = 0.1, draws: int = 8) -> Falls:
    """Falls of the videos of `paths`. Raises UserError, also where fewer than two of them can be read."""
    deletion = Deletion(model, share, draws)
    model.predict_files(find_videos(paths), watch=deletion)
    falls = deletion.result()
    if len(falls.before) < 2:
        raise UserError(f"{', '.join(paths)}: {len(falls.before)} videos could be read; a mean needs two at least")
    return falls


def main() -> int:
    """Parses the command line, measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", metavar="STUDY", help="videos, or folders of them")
    parser.add_argument("--resume", required=True, metavar="CKPT", help="a checkpoint that names views")
    parser.add_argument("--share", type=float, default=0.1, help="of the picture that is painted black (default: 0.1)")
    parser.add_argument("--draws", type=int, default=8, help="random places of each video (default: 8)")
    a = parser.parse_args()
    if not 0 < a.share < 1:
        raise UserError(f"--share must be between 0 and 1, found {a.share:g}")
    if a.draws < 1:
        raise UserError(f"--draws must be at least 1, found {a.draws}")
    falls = measure(EchoModel.load(a.resume), a.paths, a.share, a.draws)
    print(f"{len(falls.before)} videos, mean probability of the named view {falls.before.mean():.3f}")
    print(f"{a.share:.0%} black     falls by, mean ± standard error    standard deviation")
    for kind in KINDS:
        fall = falls.fall(kind)
        spread = fall.std(ddof=1)
        print(f"{kind:14s} {fall.mean():.3f} ± {spread / np.sqrt(len(fall)):.3f} {spread:28.3f}")
    more = falls.fall("marked") - falls.fall("random")
    print(f"marked more than random by {more.mean():.3f} ± {more.std(ddof=1) / np.sqrt(len(more)):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
