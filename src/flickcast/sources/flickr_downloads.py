"""The pictures of a night: all are fetched before the first is handed over, so that stand-ins show themselves."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from flickcast.console import track
from flickcast.sources.journal import Session
from flickcast.sources.pictures import NoPictureError, Pictures, Wanted

# One file for the posts of so many users is no photo, but what stands in for photos that are gone (flickr_api.md §7);
# one user may well post the same file again and again.
SHARED_BY_USERS = 3


@dataclass(frozen=True)
class Download:
    """A picture to get: whose, where, and how large the service says that it is."""

    post_id: str
    user_id: str
    url: str
    size: tuple[int, int] | None

    def __str__(self) -> str:
        return self.post_id


def downloaded(session: Session, wanted: Sequence[Download]) -> Pictures:
    """The pictures, which lie in the session's journal now; those that could not be had are rejected when asked for."""
    failed: dict[str, NoPictureError] = {}
    users: defaultdict[str, set[str]] = defaultdict(set)
    files: dict[str, str] = {}
    for one in track(wanted, "pictures", len(wanted)):
        try:
            content = session.fetch(one.url, one.size)
        except NoPictureError as error:
            failed[one.post_id] = error
            continue
        files[one.post_id] = hashlib.sha256(content).hexdigest()
        users[files[one.post_id]].add(one.user_id)

    def fetch(one: Download, url: str) -> bytes:
        if one.post_id in failed:
            raise failed[one.post_id]
        content = session.fetch(url, one.size)
        if len(users[files[one.post_id]]) >= SHARED_BY_USERS:
            raise NoPictureError("stands in for pictures that are gone: several users' posts have the same", content)
        return content

    return Pictures([Wanted(one.post_id, one.url, partial(fetch, one)) for one in wanted])
