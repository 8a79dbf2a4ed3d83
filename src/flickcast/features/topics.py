"""What a post is about besides its tags: the topics that feature groups count posts and labels of."""

# Of each topic, the words that columns and meanings use.
TOPICS = {
    "category": "its category",
    "subcategory": "its subcategory",
    "concept": "its concept",
    "place": "its cell of one degree",
    "calendar": "its weekday and hour, UTC",
}
# Those whose running counts are columns. A coarse class grows with every day's posts, so that its count would tell the
# order of the posts, as everyone's would; shares and labels do not.
COUNTED = ("concept", "place")
