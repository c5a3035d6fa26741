"""Which files lie in the data folder once links are followed, and which only seem to."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

from echoviewclip.utils.urls import is_url


class Boundary:
    """The border of a folder. Each folder is looked into once: a list of a million videos costs no million calls."""

    def __init__(self, root: str | Path) -> None:
        self._is_remote = is_url(str(root))
        self.root = str(root).rstrip("/") if self._is_remote else os.path.realpath(root)
        self._within = os.path.join(self.root, "")
        self._links: dict[str, dict[str, str] | None] = {}

    def holds(self, path: str) -> bool:
        """Whether a file, or a folder with the images directly in it, lies inside; links on a disk are followed."""
        if self._is_remote or is_url(path):
            return self._is_remote and path.startswith(self._within) and ".." not in unquote(path).split("/")
        folder, _, name = path.rstrip("/").rpartition("/")
        if folder not in self._links:
            self._links[folder] = self._look_into(folder or "/")
        found = self._links[folder]
        return found is not None and (name not in found or self._holds_all_of(found[name]))

    def _look_into(self, folder: str) -> dict[str, str] | None:
        """Links and folders in a folder, name to path; None where it lies outside itself."""
        if not self._is_inside(folder):
            return None
        try:
            with os.scandir(folder) as entries:
                return {entry.name: entry.path for entry in entries if entry.is_symlink() or entry.is_dir()}
        except OSError:  # not there, or an archive
            return {}

    def _holds_all_of(self, path: str) -> bool:
        if not self._is_inside(path):
            return False
        try:
            with os.scandir(path) as entries:
                return all(self._is_inside(entry.path) for entry in entries if entry.is_symlink())
        except OSError:  # a file
            return True

    def _is_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self.root or real.startswith(self._within)
