"""The echo phantom: videos that look and move like echocardiograms, whose labels are true by construction.

Data flows one way: cycle → anatomy → planes (which cut) → bmode, doppler (what it looks like) → quality (what went
wrong) → render (one video) → machine (the screen around it) → study (patients, splits, files). `docs/phantom.md` explains it.
"""

from datasets.phantom.study import generate
from datasets.phantom.views import view_names

__all__ = ["generate", "view_names"]
