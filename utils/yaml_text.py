"""Yaml that someone else may have written: read in bounds, refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from echoviewclip.utils.errors import UserError, shortened

MAX_BYTES = 1 << 20  # a configuration has a few kilobytes


class _Loader(yaml.SafeLoader):
    """Without aliases of what holds more than plain values: nine levels of nine of them would be gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        alias = self.peek_event() if self.check_event(yaml.AliasEvent) else None
        node = super().compose_node(parent, index)
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        if alias and (
            isinstance(node, yaml.MappingNode) or any(isinstance(part, yaml.CollectionNode) for part in parts)
        ):
            raise yaml.composer.ComposerError(None, None, "an alias (*) of keys or of nested lists", alias.start_mark)
        return node


def read_yaml_file(file: Path) -> Any:
    """What a yaml file says. Raises UserError."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UserError(f"{file}: more than 1 MB; not a configuration")
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{file}: not valid yaml: not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    return read_yaml(text, str(file))


def read_yaml(text: str, where: str) -> Any:
    """What a yaml text says. Raises UserError that begins with `where`."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        reason = "nested too deeply"
    except yaml.YAMLError as error:
        reason = shortened(" ".join(str(error).split()), 300)
    except Exception as error:  # of a value that is not what its form or its tag says, such as 2020-99-99
        reason = f"a value that cannot be read ({type(error).__name__})"
    raise UserError(f"{where}: not valid yaml: {reason}")
