"""From a data folder to an evaluated experiment.

fingerprint (what the data and the machine are) → choices (settings that follow, each with its reason) → stage_files →
chain (stages and evaluations in order, whole or fold by fold) → page (all figures and reports on one page).
"""
