"""The echo phantom: videos that look and move like echocardiograms, whose labels are true by construction.

Data flows one way: cycle → anatomy (the heart) → patient, planes, views, quality → shot (a recording as set up) → cut
with vessels, chambers and valves → scene (what lies where at a moment) → bmode, doppler, colour → render (a sector),
strips (a beam over time) → recording (with the machine's screen) → study (patients, splits, files). Pictures of it all
are made by sheet and figures. What differs between laboratories, machines and operators is in variety: a patient has a
look, a shot a setting. `docs/phantom.md` explains it.
"""

from echoviewclip.phantom.probe.views import view_names
from echoviewclip.phantom.study.study import generate

__all__ = ["generate", "view_names"]
