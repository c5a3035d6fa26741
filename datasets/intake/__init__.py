"""The steps of `datasets.intake.prepare`.

Data flows one way: find (the files) → names (of the prepared videos) → convert (one source: pictures, encode) → records
→ journal (what is done) → tables (manifest, names, lists). What decides the pixels is a `preparation`, which the folder
notes; `pictures` gives the same pixels in memory.
"""
