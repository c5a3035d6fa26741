"""Trainings that are killed, and settings under which a training is repeated only if all randomness is."""

from __future__ import annotations

from echoviewclip.trainers import loop

RANDOM = {
    "AUG__MIXUP": 0.8,
    "AUG__CUTMIX": 1.0,
    "AUG__FLIP": 0.5,
    "AUG__COLOR_JITTER": 0.5,
    "AUG__GRAY_SCALE": 0.5,
    "AUG__ERASING": 0.5,
    "AUG__BACKGROUND_SWAP": 0.5,
    "MODEL__DROP_PATH_RATE": 0.3,
}


class Interrupted(Exception):
    """A run that was killed."""


def killed_after(monkeypatch, step: int):
    """Kills the training before it saves itself a first time after this optimiser step, so with one more in its log."""
    save = loop.Trainer._save

    def save_or_die(self, *arguments, **named):
        if self.step > step:
            raise Interrupted
        save(self, *arguments, **named)

    monkeypatch.setattr(loop.Trainer, "_save", save_or_die)
