from collections import Counter

from flickcast.simulate.calibration import CATEGORY_TREND, SEASON_PEAKS, SUBCATEGORY_FACTS
from flickcast.simulate.text import CATEGORIES, COMMON_WORDS, CONCEPTS, SUBCATEGORIES, TAXONOMY


def test_taxonomy_has_the_challenges_size():
    assert (len(CATEGORIES), len(SUBCATEGORIES)) == (11, 77)


def test_every_concept_is_one_word_of_one_subcategory():
    words = [word for _, word in CONCEPTS]
    assert max(Counter(words).values()) == 1
    assert all(word.isalpha() and word.islower() for word in words)
    assert {subcategory for subcategory, _ in CONCEPTS} == set(range(77))


def test_common_words_are_distinct_and_no_concepts():
    assert len(set(COMMON_WORDS)) == len(COMMON_WORDS)
    assert not set(COMMON_WORDS) & {word for _, word in CONCEPTS}


def test_facts_are_in_the_order_of_the_taxonomy():
    assert {name: list(parts) for name, parts in SUBCATEGORY_FACTS.items()} == {
        name: list(parts) for name, parts in TAXONOMY.items()
    }
    assert set(CATEGORY_TREND) <= set(CATEGORIES)
    assert set(SEASON_PEAKS) <= {name for _, name in SUBCATEGORIES}
