"""TensorBoard: event files in the run's own folder."""

from __future__ import annotations

from torch.utils.tensorboard import SummaryWriter

from echoviewclip.trainers.trackers.tracker import Line, Run


class TensorBoard:
    """A run in `OUTPUT/tensorboard`; what it repeats after a kill takes the place of what it wrote before."""

    place = ""

    def __init__(self, run: Run) -> None:
        self.lines = run.kept if run.same else 0
        self._folder, self._first_step = run.folder / "tensorboard", run.first_step if run.same else 0
        self._writer: SummaryWriter | None = None  # which makes a file at once

    def tell(self, line: Line) -> None:
        """Appends the numbers to the event file."""
        if self._writer is None:
            self._writer = SummaryWriter(str(self._folder), purge_step=self._first_step)
        for name, value in line.values.items():
            self._writer.add_scalar(name, value, line.step)
        self._writer.flush()

    def close(self, finished: bool) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()
