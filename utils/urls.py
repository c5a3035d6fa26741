"""Paths that are URLs: told from local ones, joined, and shown without what they may hold of credentials.

A URL may carry a password (`sftp://user:password@host/`) or a signature (`https://host/a.avi?X-Amz-Signature=…`). What
is shown, logged or written is `shown(path)`, which has neither; only what opens a file has the whole.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+(?:::[a-zA-Z][a-zA-Z0-9+.-]+)*://")
_USER = re.compile(r"(?<=://)[^/\s]*@")
_QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\"]+")
_SIGNATURE = re.compile(  # parameters by which S3, Google, Azure and CloudFront let someone in for a while
    r"(?:X-(?:Amz|Goog)-[^=]*|AWSAccessKeyId|GoogleAccessId|Key-Pair-Id|Policy|Expires|Signature|sig|se|st|sp|sv|sr|skoid"
    r"|sktid|skt|ske|sks|skv|spr|token|access_token)=",
    re.IGNORECASE,
)
_ESCAPED = ("http://", "https://")  # URLs in which a file name is written with escapes


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL, as fsspec understands it: `s3://bucket/a.avi`, `https://…`."""
    return isinstance(path, str) and _URL.match(path) is not None


def join(folder: str, name: str) -> str:
    """`os.path.join`, also for a folder that is a URL; a `name` that is a URL itself stays as it is."""
    if "://" not in folder and "://" not in name:  # nearly always
        return os.path.join(folder, name)
    if is_url(name) or not is_url(folder):
        return name if is_url(name) else os.path.join(folder, name)
    escaped = quote(name, safe="/:@!$&'()*+,;=~") if folder.startswith(_ESCAPED) else name
    return f"{folder.rstrip('/')}/{escaped}"


def shown(path: str) -> str:
    """A path as everyone may see it: of a URL without user, password and what follows a `?`; else as it is."""
    return _USER.sub("", path).partition("?")[0] if is_url(path) else path


def identity(url: str) -> str:
    """What tells a file from others: the URL without user, password and signature, which change."""
    address, _, query = _USER.sub("", url).partition("?")
    parts = [part for part in query.split("&") if part and not _SIGNATURE.match(part)]
    return "?".join([address, "&".join(parts)] if parts else [address])


def has_secrets(path: str) -> bool:
    """Whether a path is a URL of which not all may be shown."""
    return shown(path) != path


def without_secrets(text: str) -> str:
    """A text with what may not be shown of the URLs in it left out."""
    return _QUERY.sub(r"\1", _USER.sub("", text)) if "://" in text else text


def protocol(url: str) -> str:
    """`s3` of `s3://…`; of a chain (`zip::https://…`) the whole."""
    return url.partition("://")[0]
