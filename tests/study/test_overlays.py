"""Maps that lie over a film: which frames they belong to, and what they show."""

from __future__ import annotations

import numpy as np

from echoviewclip.inference.explain import Explanation
from echoviewclip.study.clips import to_studies
from echoviewclip.study.overlays import make_overlay
from tests.study.builders import clip, film, groups, pixels


def test_maps_lie_over_their_frames_and_keep_their_values():
    of = film()  # its frames are 0, 19, 39 and 59 of 60
    maps = np.random.default_rng(0).random((2, 3, 5, 5)).astype(np.float32)
    overlay = make_overlay(Explanation(np.array([of.frames[0], of.frames[2], of.frames[3]]), *maps), of)
    assert (overlay.at, overlay.side, overlay.columns) == ((0, 2, 3), 5, 2)
    for sheet, expected in zip((overlay.spoke_for, overlay.spoke_against), maps, strict=True):
        shown = pixels(sheet)[..., 0].reshape(2, 5, 2, 5).swapaxes(1, 2).reshape(4, 5, 5)
        assert np.array_equal(shown[:3], (255 * expected).round()) and not shown[3].any()


def test_a_clip_has_the_maps_of_its_place_and_none_without_a_film():
    rows, of = [clip(number).answer for number in range(3)], film()
    why = Explanation(np.array(of.frames[:1]), np.ones((1, 2, 2), np.float32), None)
    (study,) = to_studies(rows, {1: of}, ["s"], groups(), (), {1: why, 2: why})
    assert [one.why is not None for one in study.clips] == [False, True, False]
    assert study.clips[1].why.at == (0,) and study.clips[1].why.spoke_against is None
