"""The folders of this project under one import name, as a clone and installed: `from echoviewclip.models import …`.

Beside this file stand links to them. Their own names, `datasets` and `clip` among them, belong to other distributions.
"""

__version__ = "0.1.0"
