"""A fingerprint in a few lines for people."""

from __future__ import annotations

import numpy as np

from echoviewclip.experiment.fingerprint import GRADED, SETS, Fingerprint


def describe(found: Fingerprint) -> list[str]:
    """What was found, a line each: sets, views, videos, grades, machine."""
    lines = [", ".join(f"{name} {size_of(found, name)}" for name in SETS if name in found.lists)]
    counts = sorted(found.views.items(), key=lambda item: item[1])
    rarest, commonest = counts[0], counts[-1]
    lines.append(
        f"{len(counts)} views ({found.label_list.name}), from {rarest[1]} training videos of {rarest[0]} "
        f"to {commonest[1]} of {commonest[0]}"
    )
    rates = found.rates[found.rates > 0]
    rate = f", {np.median(rates):.0f} frames a second" if len(rates) else ", unknown frame rate"
    kinds = ", ".join(f"{kind} {count}" for kind, count in found.kinds.items())
    lines.append(
        f"{np.median(found.frames):.0f} frames of {np.median(found.widths):.0f}×{np.median(found.heights):.0f}"
        f"{rate} (medians)" + (f"; {kinds}" if kinds else "")
    )
    if f"{GRADED}train" in found.lists:
        grades = ", ".join(f"{name} {count}" for name, count in found.grades.items())
        lines.append(
            f"quality: {found.videos[f'{GRADED}train']} graded training videos" + (f": {grades}" if grades else "")
        )
    if found.outsiders:
        lines.append(f"outsiders: {', '.join(path.name for path in found.outsiders)}")
    machine = found.machine
    devices = f"{machine.accelerators} × {machine.name}" if machine.accelerators else "no accelerator"
    return [*lines, f"machine: {devices}, {machine.memory:.0f} GB, {machine.cores} cores"]


def size_of(found: Fingerprint, name: str) -> str:
    """Videos and patients of a list: `40 videos of 10 patients`."""
    return f"{_count(found.videos[name], 'video')} of {_count(found.patients[name], 'patient')}"


def _count(number: int, what: str) -> str:
    return f"{number or 'unknown'} {what}{'' if number == 1 else 's'}"
