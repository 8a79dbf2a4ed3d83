"""An encoder's name: its model, and what of a post it reads. One model of texts reads several things."""

from typing import get_args

from flickcast.embeddings.protocol import Kind

# Any encoder of texts, `<model>-text`, also reads each of these alone (HVLA 2024, FAME 2025 section 3.1).
PARTS = ("title", "tags", "caption")
_KINDS: dict[str, tuple[Kind, ...]] = {
    "picture": ("picture",),
    "both": get_args(Kind),
    **dict.fromkeys(("text", *PARTS), ("text",)),
}


def kinds(name: str) -> tuple[Kind, ...]:
    """What an encoder reads.

    >>> kinds("vilt-both"), kinds("glove-tags")
    (('picture', 'text'), ('text',))
    """
    return _KINDS[name.rpartition("-")[2]]


def part_of(name: str) -> str | None:
    """Which of a post's words it reads alone; None where it reads title and tags together, or no words.

    >>> part_of("glove-tags"), part_of("glove-text"), part_of("tags")
    ('tags', None, None)
    """
    model, _, end = name.rpartition("-")
    return end if model and end in PARTS else None


def of_texts(name: str) -> str:
    """The encoder of texts that reads a part under this name; any other name as it is.

    >>> of_texts("sentence-caption"), of_texts("vilt-both")
    ('sentence-text', 'vilt-both')
    """
    part = part_of(name)
    return name.removesuffix(f"-{part}") + "-text" if part else name


def of_parts(name: str) -> list[str]:
    """The names under which an encoder of texts reads each part; none for any other.

    >>> of_parts("glove-text")
    ['glove-title', 'glove-tags', 'glove-caption']
    """
    model, _, end = name.rpartition("-")
    return [f"{model}-{part}" for part in PARTS] if model and end == "text" else []
