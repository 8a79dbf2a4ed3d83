"""Where posts come from: each source hands over a `records.Batch`."""

from collections.abc import Callable
from pathlib import Path

from flickcast.records import Batch
from flickcast.sources import smpd_image, smpd_video

FILE_SOURCES: dict[str, Callable[[Path], Batch]] = {
    "smpd-image": smpd_image.read,
    "smpd-video": smpd_video.read,
}
