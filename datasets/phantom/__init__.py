"""The echo phantom: videos that look and move like echocardiograms, whose labels are true by construction.

Data flows one way: cycle → anatomy (the heart) → patient, planes, views, quality → shot (a recording as set up) →
bmode, doppler → render (a sector), strips (a beam over time) → recording (with the machine's screen) → study (patients,
splits, files). `docs/phantom.md` explains it.
"""

from datasets.phantom.study import generate
from datasets.phantom.views import view_names

__all__ = ["generate", "view_names"]
