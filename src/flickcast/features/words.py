"""Feature group `words`: how much title, tags and description say, and how they are written."""

import polars as pl

from flickcast.features.feature import DING, HVLA, HYPERFUSION, Feature

TEXTS = {"title": "the title", "tags": "the tags, one after another", "description": "the description"}
# The commonest English function words: a text without them is a list of things, not a sentence.
FUNCTION_WORDS = (
    *("the", "a", "an", "and", "or", "but", "of", "at", "by", "for", "with", "from", "to", "in", "on", "as", "is"),
    *("are", "was", "were", "be", "been", "it", "its", "this", "that", "these", "those", "i", "me", "my", "we", "our"),
    *("you", "your", "he", "she", "they", "his", "her", "their", "not", "no", "so", "if", "there", "here", "have"),
    *("has", "had", "do", "does", "did", "will", "would", "can", "could", "just", "more", "all", "some", "up", "out"),
)
WORD = r"[\p{L}\p{M}\p{N}']+"
LINK = r"https?://|www\."
# What is counted in a text: column, pattern, meaning.
SHARES = {
    "capitals_share": (r"\p{Lu}", "capital letters of"),
    "digits_share": (r"\p{Nd}", "digits of"),
    "non_ascii_share": (r"[^\x00-\x7F]", "characters beyond English ones of"),
}
COUNTS = {
    "marks": (r"[!?]", "! and ? in"),
    "hashtags": (r"#\w", "hashtags in"),
    "mentions": (r"@\w", "@names in"),
    "emoji": (r"\p{Emoji_Presentation}", "emoji in"),
    "links": (LINK, "links in"),
}


def _about(text: str) -> dict[str, Feature]:
    of = TEXTS[text]
    return {
        f"{text}_chars": Feature(f"length of {of}", "characters", DING),
        f"{text}_words": Feature(f"words of {of}", "words", HYPERFUSION),
        f"{text}_word_chars": Feature(f"mean length of the words of {of}", "characters", HYPERFUSION),
        f"{text}_type_token_ratio": Feature(f"different words over words of {of}", "ratio", HYPERFUSION),
        f"{text}_function_words_share": Feature(f"English function words of {of}", "share of words", HYPERFUSION),
        **{
            f"{text}_{name}": Feature(f"{what} {of}", "share of characters", HYPERFUSION)
            for name, (_, what) in SHARES.items()
        },
        **{f"{text}_{name}": Feature(f"{what} {of}", "number", HYPERFUSION) for name, (_, what) in COUNTS.items()},
    }


ABOUT = {
    "language": Feature("of the text, where the source says it", kind="category"),
    "tag_count": Feature("tags", "tags", DING),
    "tag_chars": Feature("mean length of the tags", "characters", HYPERFUSION),
    "machine_tags": Feature("tags such as camera:make=…", "tags"),
    "tags_in_title_share": Feature("tags that are words of the title too", "share of tags", HVLA),
    **{name: feature for text in TEXTS for name, feature in _about(text).items()},
}


def words(posts: pl.DataFrame) -> pl.DataFrame:
    """Lengths, counts and patterns of title, tags and description; null where the post has none."""
    tags = pl.col("tags")
    texts = posts.select("post_id", "language", "tags", "title", "description", tags_text=tags.list.join(" "))
    columns = texts.select(
        "post_id",
        "language",
        tag_count=tags.list.len(),
        tag_chars=tags.list.eval(pl.element().str.len_chars()).list.mean(),
        machine_tags=tags.list.eval(pl.element().str.contains(":", literal=True)).list.sum(),
        tags_in_title_share=_share_in(tags, pl.col("title")),
    )
    return columns.hstack(
        [
            column
            for text, name in zip(TEXTS, ("title", "tags_text", "description"), strict=True)
            for column in _patterns(text, texts.select(text=name))
        ]
    )


def _patterns(text: str, values: pl.DataFrame) -> list[pl.Series]:
    """The columns of one text; its words are cut out once."""
    value, words = pl.col("text"), pl.col("words")
    chars, number = value.str.len_chars(), words.list.len()
    columns = values.with_columns(words=_words(value)).select(
        chars=chars,
        words=number,
        word_chars=words.list.eval(pl.element().str.len_chars()).list.mean(),
        type_token_ratio=words.list.n_unique() / number,
        function_words_share=words.list.eval(pl.element().is_in(FUNCTION_WORDS)).list.sum() / number,
        **{name: value.str.count_matches(pattern) / chars for name, (pattern, _) in SHARES.items()},
        **{name: value.str.count_matches(pattern) for name, (pattern, _) in COUNTS.items()},
    )
    return columns.select(pl.all().name.prefix(f"{text}_")).get_columns()


def _words(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().str.extract_all(WORD)


def _share_in(tags: pl.Expr, text: pl.Expr) -> pl.Expr:
    """Which share of the different tags a text has among its words, capitals aside."""
    lowered = tags.list.eval(pl.element().str.to_lowercase())
    return lowered.list.set_intersection(_words(text)).list.len() / lowered.list.n_unique()
