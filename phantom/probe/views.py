"""The 38 views, and the heart views that are not among them: which plane, which mode, where the gate stands.

The order and the names of the 38 are those of `labels/ultracls.csv`; a test holds them together.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

LABELS = Path(__file__).parents[2] / "labels" / "ultracls.csv"


@dataclass(frozen=True)
class View:
    """How one view is acquired.

    `mode` is bmode, colour, tissue_colour, pw, cw, tdi, mmode, lvo, mce, flash, dual or far. `at` names the landmark of
    the Doppler gate, the colour box or the M-mode beam, `flow` the velocity curve (`Patient.velocity`), `scale` the
    velocities in m/s at the bottom and the top of the strip, `size` the colour box's half height in cm.
    """

    plane: str
    mode: str = "bmode"
    at: str = ""
    flow: str = ""
    scale: tuple[float, float] = (0.0, 0.0)
    size: float = 0.0

    @property
    def beside(self) -> str:
        """The flow that a wide gate or a long beam meets as well."""
        return BESIDE[self.flow]


BESIDE = {
    "mitral": "outflow", "tricuspid": "tricuspid regurgitation", "aortic": "mitral", "outflow": "tricuspid",
    "pulmonary": "pulmonary regurgitation", "tricuspid regurgitation": "tricuspid",
    "pulmonary regurgitation": "pulmonary", "mitral annulus": "tricuspid annulus",
    "tricuspid annulus": "mitral annulus", "hepatic vein": "tricuspid",
}  # fmt: skip

VIEWS: dict[str, View] = {
    "Apical 4C 2D": View("apical_four"),
    "Apical 2C 2D": View("apical_two"),
    "Apical 3C 2D": View("apical_three"),
    "Parasternal Mitral Valve Short Axis": View("short_mitral"),
    "Parasternal Papillary Muscle Short Axis 2D": View("short_papillary"),
    "Parasternal Apical Short Axis 2D": View("short_apical"),
    "Apical 5C AV CW": View("apical_five", "cw", "aortic", "aortic", (-2.4, 0.8)),
    "Subxiphoid IVC 2D": View("vena_cava"),
    "Parasternal Long Axis 2D": View("long_axis"),
    "Parasternal Long Axis of the Pulmonary Artery": View("pulmonary_long"),
    "Parasternal Short Axis Tricuspid PW": View("short_tricuspid", "pw", "tricuspid tips", "tricuspid", (-0.4, 0.9)),
    "Apical 4C Color": View("apical_four", "colour", "mitral", size=3.6),
    "Apical 4C MV Annulus TDI PW": View("apical_four", "tdi", "septal annulus", "mitral annulus", (-0.2, 0.2)),
    "Parasternal Long Axis Color": View("long_axis", "colour", "aortic", size=2.9),
    "Apical 4C MV PW": View("apical_four", "pw", "mitral tips", "mitral", (-0.4, 1.2)),
    "Parasternal Short Axis Tricuspid Color": View("short_tricuspid", "colour", "tricuspid", size=2.6),
    "Parasternal Long Axis M-mode": View("long_axis", "mmode", "mitral tips"),
    "Apical 4C Right Ventricular Focus": View("right_focus"),
    "Parasternal Right Ventricular Outflow Tract Color": View("outflow", "colour", "pulmonary", size=2.4),
    "Parasternal Right Ventricular Outflow Tract RVOT PW": View("outflow", "pw", "outflow", "outflow", (-1.2, 0.4)),
    "Parasternal Right Ventricular Outflow Tract PA PW": View(
        "outflow", "pw", "pulmonary artery", "pulmonary", (-1.2, 0.4)
    ),
    "Apical 4C TV Annulus TDI PW": View("right_focus", "tdi", "tricuspid annulus", "tricuspid annulus", (-0.2, 0.2)),
    "Apical 4C TAPSE": View("right_focus", "mmode", "tricuspid annulus"),
    "Parasternal Right Ventricular Inflow Tract Color": View("right_inflow", "colour", "tricuspid", size=2.8),
    "Parasternal Right Ventricular Inflow Tract 2D": View("right_inflow"),
    "Parasternal Short Axis Tricuspid Regurgitation CW": View(
        "short_tricuspid", "cw", "tricuspid", "tricuspid regurgitation", (-4.0, 1.3)
    ),
    "Subxiphoid IVC M-mode": View("vena_cava", "mmode", "cava"),
    "Suprasternal Notch": View("suprasternal"),
    "Parasternal Right Ventricular Outflow Tract PR CW": View(
        "outflow", "cw", "pulmonary", "pulmonary regurgitation", (-1.6, 2.4)
    ),
    "A4C LVO": View("apical_four", "lvo"),
    "A3C LVO": View("apical_three", "lvo"),
    "A4C MCE": View("apical_four", "mce"),
    "A3C MCE": View("apical_three", "mce"),
    "A2C MCE": View("apical_two", "mce"),
    "A2C LVO": View("apical_two", "lvo"),
    "A4C MCE Flash": View("apical_four", "flash"),
    "A2C MCE Flash": View("apical_two", "flash"),
    "A3C MCE Flash": View("apical_three", "flash"),
}

NEAR: dict[str, View] = {
    "subcostal four-chamber": View("subcostal_four"),
    "subcostal short axis": View("subcostal_short"),
    "right parasternal aorta": View("right_parasternal"),
    "apical two-chamber colour": View("apical_two", "colour", "mitral", size=3.6),
    "apical tissue Doppler colour": View("apical_four", "tissue_colour", "mid", size=9.0),
    "hepatic vein PW": View("vena_cava", "pw", "cava", "hepatic vein", (-0.8, 0.8)),
    "two planes side by side": View("apical_four", "dual"),
    "suprasternal colour": View("suprasternal", "colour", "arch", size=3.0),
}


def view_names() -> list[str]:
    """The names of the 38 views, by label."""
    with LABELS.open(newline="", encoding="utf-8") as lines:
        return [row["name"] for row in csv.DictReader(lines)]
