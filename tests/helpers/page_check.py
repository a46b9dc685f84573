"""What every HTML page must be: well formed and self-contained."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.errors, self.tags, self.words = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.errors.append(f"{tag} at {self.getpos()}")

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return "".join(self.words)


def checked(text):
    """Well-formed, self-contained, and every id unique and every reference met."""
    page = Page(text)
    assert page.errors == [] and page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in page.tags:
        assert tag not in ("script", "link", "iframe", "object")
        assert "src" not in attrs
        reference = attrs.get("href", "#")
        assert reference.startswith(("#", "data:image/png;base64,"))
        if len(reference) > 1 and reference.startswith("#"):
            assert reference[1:] in ids
    assert "http" not in text and "@import" not in text
    assert all(target in ids for target in re.findall(r"url\(#([^)]+)\)", text))
    return page
