"""The configuration: its keys (schema.py), their reading from yaml and `--opts`, and the keys that have no effect.

The keys are those of the published EchoViewCLIP (and so of ViFi-CLIP and X-CLIP) plus a few of our own;
docs/config.md lists them all. Reading is strict: an unknown key, a value of the wrong type or a setting that
contradicts another is a `UserError`.
"""

from echoviewclip.utils.config.effects import without_effect
from echoviewclip.utils.config.reading import (
    changed_settings,
    config_from_text,
    evaluated_checkpoint,
    given_keys,
    load_config,
    unknown_option,
)
from echoviewclip.utils.config.schema import default_config

__all__ = [
    "changed_settings",
    "config_from_text",
    "default_config",
    "evaluated_checkpoint",
    "given_keys",
    "load_config",
    "unknown_option",
    "without_effect",
]
