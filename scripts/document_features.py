"""Write docs/features.md from the feature groups: `python scripts/document_features.py`."""

from pathlib import Path

from flickcast.features import GROUPS
from flickcast.features.feature import Feature

TARGET = Path(__file__).parents[1] / "docs" / "features.md"
HEAD = """# Features

Written by `scripts/document_features.py` from `src/flickcast/features/`. The model matrix has one row per post:
{numbers} numbers (float32) and {categories} categories in {groups} groups. `features.groups` in params.yaml names those
that are made; columns that a source has no values for are left out, and the run says which groups are.
`data/features/manifest.json` says of each column that is there its group, kind, clock, inputs, meaning, unit and
source. What is fitted (reductions of words, vectors and users, target encodings, neighbours) is made in `train` from
the training rows, and is no part of the matrix.

## Two clocks

`features.clock` in params.yaml chooses.

- `point_in_time`, the default: a feature of a post is made from what had happened and was known before the post
  appeared. A post is known from the later of `posted_at` and `first_seen_at`, a label from the latest of these and
  `matured_at`. What became known at the very same moment does not count, the post itself among it. Statistics of all
  entities but users count from the midnight (UTC) that follows.
- `transductive`, the challenge's protocol: all posts count as known from the start, the test posts included, and a
  user's latest snapshot for all its posts. Labels never count before they were known: groups that read them obey
  `point_in_time` whatever is chosen.

What `transductive` counts, group by group. `words`, `time_place`, `categories`, `picture_text` and `picture_statistics`
say the same by both clocks: they read the post alone. `people` has the latest snapshot and the time zones of all users.
Totals are of all posts, the post itself and later ones among them: in `user_behaviour` `log_earlier_posts`, the
`earlier_` columns of tags, titles, descriptions and places and what is `above_usual` of them; in `trends` the shares
and numbers of posts ever known, the age of the newest tag and `unseen_tag_share`, which is 0. Sequences keep the order
of posting and hold only the posts that appeared before: the other columns of `user_behaviour` (rates, intervals,
batches, first year), `user_tags` and `user_cadence`. Posts of the last days (`log_posts_<n>_days`, `activity_`, week,
month and rise of `trends`) are those that appeared in these days, of all entities but users from the midnight that
followed. `user_popularity`, `user_recent_popularity` and `known_popularity` read labels.

## Labels among the features

`user_popularity`, `user_recent_popularity` and `known_popularity` count labels that were known before the post
appeared; its own never is. `known_popularity` smooths means as a target encoding does, but by time, not by folds:
earlier labels of the post's own user, and so of its own fold, are inside, as they are on the night a post is predicted.
So the figures of `train` are those for users whom its learners never met, but whose earlier labels the features know.
The encodings that `train` fits itself see no label of their own fold.

## What is made anew

What follows a post never changes its features by `point_in_time`: a night adds the rows of its own posts. A past that
turns out otherwise (a post corrected or forgotten) may be part of the history of any later post: the states of its
period are made anew, and the matrix from that period on. Of a post that is found again the first version counts.

## Inputs

A group is a pure function of some of these frames, made by `src/flickcast/stages/inputs.py`.

- `posts`: those whose features are wanted, all columns of the table `posts`.
- `users`: the snapshots of who posted them.
- `time_zones`: of every user, the first snapshot that tells the time zone; by `transductive` the latest.
- `history`: all posts of these users, each with the moments at which it (`known_at`) and its label (`label_known_at`)
  became known.
- `<entity>_states`: what was known of each post's user, tags, classes, place, hour, or of everyone, before it appeared:
  the columns of the table `aggregates/<entity>`, without sketches, and `posts_<n>_days`. No row for a post that has no
  such entity, several for one with several tags.
- `cosines`: how alike picture and text are, by the pair of encoders.
- `picture_statistics`: numbers that encoders of `embed.others` measured on the picture (`statistics-picture`,
  `nima-picture`, `iipa-picture`).

## A new group

One file in `src/flickcast/features/` with a function that returns one row per post, and `ABOUT`, which says of each
column what it means; one line in `GROUPS` of `features/__init__.py`; its name in `features.groups`. A group that reads
labels says so there (`reads_labels`), so that judging a model computes it again without the test labels. Every group
passes `tests/contracts/test_feature_groups.py`.
"""


def page() -> str:
    """The whole page, one section per group."""
    kinds = [feature.kind for group in GROUPS.values() for feature in group.about.values()]
    facts = {"numbers": kinds.count("number"), "categories": kinds.count("category"), "groups": len(GROUPS)}
    return HEAD.format(**facts) + "".join(map(section, GROUPS))


def section(name: str) -> str:
    """One group: what it reads, which clock it obeys, its columns."""
    group = GROUPS[name]
    inputs = ", ".join(f"`{one}`" for one in group.reads)
    clock = "`point_in_time` whatever is chosen: it reads labels" if group.reads_labels else "as chosen"
    rows = "".join(row(column, feature) for column, feature in group.about.items())
    return (
        f"\n## {name}\n\n{sentence(group.columns)} Reads {inputs}. Clock: {clock}.\n\n"
        f"| column | meaning | unit | source | kind |\n| --- | --- | --- | --- | --- |\n{rows}"
    )


def sentence(function: object) -> str:
    """The first paragraph of a group's docstring, in one line."""
    return " ".join((function.__doc__ or "").split("\n\n")[0].split())


def row(column: str, feature: Feature) -> str:
    """One column."""
    return f"| `{column}` | {feature.meaning} | {feature.unit} | {feature.source} | {feature.kind} |\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
