"""Whether a text is a LightGBM model whose numbers stay within its own bounds: LightGBM itself does not look."""

from itertools import pairwise

TREE, END = "\nTree=", "\nend of trees"


def check_text(content: bytes) -> None:
    """ValueError or KeyError where a tree points at a leaf, a column or a set of categories that is not there."""
    head, *trees = content.decode().partition(END)[0].split(TREE)
    facts = _fields(head)
    columns = int(facts["max_feature_idx"]) + 1
    sizes = list(map(int, facts["tree_sizes"].split()))
    if len(facts["feature_names"].split()) != columns or len(facts["feature_infos"].split()) != columns:
        raise ValueError("as many names as columns")
    if (facts["num_class"], facts["num_tree_per_iteration"]) != ("1", "1") or len(sizes) != len(trees):
        raise ValueError("as many trees as sizes")
    for number, tree in enumerate(trees):
        if int(tree.partition("\n")[0]) != number:
            raise ValueError("trees in their order")
        _check_tree(_fields(tree), columns)


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _check_tree(tree: dict[str, str], columns: int) -> None:
    leaves, sets = int(tree["num_leaves"]), int(tree["num_cat"])
    if tree["is_linear"] != "0" or leaves < 1 or len(tree["leaf_value"].split()) != leaves:
        raise ValueError("a value for each leaf")
    if leaves == 1:
        return
    inner = leaves - 1
    names = ("split_feature", "decision_type", "left_child", "right_child")
    features, kinds, left, right = ([int(value) for value in tree[name].split()] for name in names)
    thresholds = tree["threshold"].split()
    if {len(features), len(kinds), len(left), len(right), len(thresholds)} != {inner}:
        raise ValueError("a decision for each inner node")
    if sorted([*left, *right]) != [*range(-leaves, 0), *range(1, inner)]:
        raise ValueError("a tree, all of whose nodes have one way to them")
    if min(features) < 0 or max(features) >= columns:
        raise ValueError("columns that are there")
    chosen = [float(threshold) for threshold, kind in zip(thresholds, kinds, strict=True) if kind & 1]
    if chosen and not (min(chosen) >= 0 and max(chosen) < sets):
        raise ValueError("sets of categories that are there")
    if sets:
        _check_sets([int(place) for place in tree["cat_boundaries"].split()], sets, len(tree["cat_threshold"].split()))


def _check_sets(bounds: list[int], sets: int, words: int) -> None:
    ascend = all(before <= after for before, after in pairwise(bounds))
    if len(bounds) != sets + 1 or (bounds[0], bounds[-1]) != (0, words) or not ascend:
        raise ValueError("sets of categories within their words")
