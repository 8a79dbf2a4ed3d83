"""Pictures that decode, and reasons for those that do not: every kind of file that calls itself a picture."""

import random
import subprocess
import sys
import warnings
from pathlib import Path

import picture_files
import pytest
from picture_files import BROKEN, MOST_MEMORY, PICTURES, cut, judged, made, photo, several

from flickcast.pictures import Picture, decode, size


@pytest.mark.parametrize("kind", PICTURES)
def test_every_kind_of_picture_becomes_rgb(kind: str) -> None:
    _, size, mode = PICTURES[kind]
    picture = decode(made(kind))
    assert isinstance(picture, Picture), picture
    assert (picture.rgb.mode, picture.rgb.size, picture.mode) == ("RGB", size, mode)


@pytest.mark.parametrize("kind", PICTURES)
def test_the_size_in_the_header_is_that_of_the_picture(kind: str) -> None:
    assert size(made(kind)) == PICTURES[kind][1]


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_picture_tells_a_size_or_the_reason_why_none(kind: str) -> None:
    found = size(made(kind))
    assert found == decode(made(kind)) if isinstance(found, str) else min(found) >= 1


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "MPO"])
def test_of_several_frames_the_first_one_counts(format: str) -> None:
    picture = decode(several(format))
    assert isinstance(picture, Picture)
    red, green, blue = picture.rgb.getpixel((30, 20))
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_picture_gives_a_reason_that_is_the_same_each_time(kind: str) -> None:
    content = made(kind)
    reason = decode(content)
    assert isinstance(reason, str)
    assert len(reason) > 15
    assert "0x" not in reason
    assert "\n" not in reason
    assert decode(content) == reason


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_a_file_cut_anywhere_is_refused(format: str) -> None:
    assert {judged(content) for content in cut(format)} == {"reason"}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_spoiled_bytes_never_raise_or_hang(format: str) -> None:
    whole, dice = photo(format), random.Random(format)
    for _ in range(125):
        content = bytearray(whole)
        for _ in range(dice.randint(1, 20)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        assert judged(bytes(content)) in ("picture", "reason")


# In a process of its own, since a process remembers its peak only: the peak above that of one ordinary picture.
MEMORY_OF_A_KIND = """
import resource, sys
import picture_files as kinds

content = sys.stdin.buffer.read()
kinds.decode(kinds.photo())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kinds.judged(content)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
HEAVY = ["a bomb of scans", "a png with a bomb of text", "a header of 65,500 x 65,500", "a fits bomb"]
HEAVY += [kind for kind in PICTURES if kind.startswith(("the largest", "a header", "huge"))]


@pytest.mark.parametrize("kind", HEAVY)
def test_no_kind_of_picture_takes_more_time_or_memory_than_a_stage_can_spare(kind: str) -> None:
    command = [sys.executable, "-c", MEMORY_OF_A_KIND]
    done = subprocess.run(
        command, cwd=Path(picture_files.__file__).parent, input=made(kind), check=True, stdout=subprocess.PIPE
    )
    assert int(done.stdout) * 1024 < MOST_MEMORY


@pytest.mark.parametrize("kind", ["png with a transparent palette", "broken exif", "the largest png"])
def test_what_pillow_warns_of_is_not_said_on_the_side(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert judged(made(kind)) == "picture"
