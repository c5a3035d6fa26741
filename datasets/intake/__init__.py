"""The steps of `datasets.prepare`.

Data flows one way: find (the files) → names (of the prepared videos) → convert (one source, with encode) → records →
journal (what is done) → tables (manifest, names, lists).
"""
