"""The tags of a page, for tests of what programs and screen readers find in it."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = ("meta", "br", "img", "input", "line", "path", "rect", "circle", "image")


class Tags(HTMLParser):
    """All tags with their attributes; checks that what is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def having(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of all tags that have this one."""
        return [attributes for _, attributes in self.found if name in attributes]
