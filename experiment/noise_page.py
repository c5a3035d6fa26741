"""The page of suspected labels: frames, both labels, and buttons whose decisions it gives back as a table."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from echoviewclip.evaluation.pages import page_environment
from echoviewclip.evaluation.worst import shown_name
from echoviewclip.experiment.corrections import COLUMNS, KEEP, REMOVE, TAKE
from echoviewclip.experiment.noise import Judged
from echoviewclip.experiment.page import TEMPLATES
from echoviewclip.utils.files import write_text

PICTURES, HEIGHT = 5, 144  # frames of a video, and their height in pixels


def write_noise_page(file: Path, judged: Judged, suspects: Sequence[tuple[int, int]]) -> None:
    """Writes the page; videos that cannot be read have no picture."""
    cards = []
    for i, other in suspects:
        own, p, name = int(judged.videos.labels[i]), judged.probabilities[i], judged.videos.name(i)
        cards.append(
            {
                "path": name,
                "name": shown_name(name),
                "label": judged.views[own],
                "suggested": judged.views[other],
                "p_label": f"{p[own]:.4f}",
                "p_suggested": f"{p[other]:.4f}",
                "picture": _strip(judged.videos.path(i), judged.config.DATA.DECODER),
            }
        )
    page = (
        page_environment(TEMPLATES)
        .get_template("noise.html")
        .render(
            cards=cards,
            rows={"columns": COLUMNS, "cards": [{k: v for k, v in card.items() if k != "picture"} for card in cards]},
            views=judged.views,
            total=len(judged.videos),
            how=judged.how,
            decisions={"keep": KEEP, "take": TAKE, "remove": REMOVE},
        )
    )
    write_text(file, page)


def _strip(path: str, decoder: str) -> str:
    """Frames spread over the video, side by side, as the address of a JPEG; empty where it cannot be read."""
    try:
        with open_video(path, decoder) as video:
            chosen = np.unique(np.linspace(0, len(video) - 1, PICTURES).round().astype(int))
            shown = video.frames(chosen.tolist()).permute(0, 2, 3, 1).numpy()
    except VideoError:
        return ""
    width = max(1, round(HEIGHT * shown.shape[2] / shown.shape[1]))
    strip = Image.new("RGB", (width * len(shown), HEIGHT))
    for place, frame in enumerate(shown):
        strip.paste(Image.fromarray(frame).resize((width, HEIGHT)), (place * width, 0))
    data = io.BytesIO()
    strip.save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
