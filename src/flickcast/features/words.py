"""Feature group `words`: how much a post says, and in which language."""

import polars as pl

from flickcast.features.feature import DING, HYPERFUSION, Feature

HTTP = r"https?://|www\."


ABOUT = {
    "language": Feature("of the text, where the source says it", kind="category"),
    "title_chars": Feature("length of the title", "characters", DING),
    "title_words": Feature("words of the title", "words", HYPERFUSION),
    "title_word_chars": Feature("mean length of its words", "characters", HYPERFUSION),
    "title_digits": Feature("digits in the title", "characters"),
    "title_capitals": Feature("capital letters in the title", "characters"),
    "title_marks": Feature("!, ?, # and @ in the title", "characters"),
    "title_links": Feature("links in the title", "links"),
    "tag_count": Feature("tags", "tags", DING),
    "tag_chars": Feature("mean length of the tags", "characters", HYPERFUSION),
    "machine_tags": Feature("tags such as camera:make=…", "tags"),
    "description_chars": Feature("length of the description", "characters"),
    "description_words": Feature("words of the description", "words"),
    "description_links": Feature("links in the description", "links"),
}


def words(posts: pl.DataFrame) -> pl.DataFrame:
    """Lengths and counts of title, tags and description; null where the post has none."""
    title, tags = pl.col("title"), pl.col("tags")
    title_words = title.str.count_matches(r"\S+")
    return posts.select(
        "post_id",
        "language",
        title_chars=title.str.len_chars(),
        title_words=title_words,
        title_word_chars=title.str.count_matches(r"\S") / title_words,
        title_digits=title.str.count_matches(r"\d"),
        title_capitals=title.str.count_matches(r"\p{Lu}"),
        title_marks=title.str.count_matches(r"[!?#@]"),
        title_links=title.str.count_matches(HTTP),
        tag_count=tags.list.len(),
        tag_chars=tags.list.eval(pl.element().str.len_chars()).list.mean(),
        machine_tags=tags.list.eval(pl.element().str.contains(":", literal=True)).list.sum(),
        description_chars=pl.col("description").str.len_chars(),
        description_words=pl.col("description").str.count_matches(r"\S+"),
        description_links=pl.col("description").str.count_matches(HTTP),
    )
