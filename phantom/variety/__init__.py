"""Variety: what differs between real laboratories, machines, operators and patients, drawn for each study.

`look` is drawn once a study (patient and machine), `setting` once a recording; both are drawn from their own random
numbers and never from the view or the quality, so that nothing in them tells the class. `docs/phantom.md` has the
ranges and their reasons.
"""
