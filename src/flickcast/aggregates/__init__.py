"""What is known of users, tags, classes, places and times: mergeable states, and their sum as of each post."""

from flickcast.aggregates.entities import ENTITIES, Entity, targets
from flickcast.aggregates.states import as_of, label_states, merge, post_states

# Part of what a stored state is made from: raise it when a state of the same rows would come out otherwise.
VERSION = 2

__all__ = ["ENTITIES", "VERSION", "Entity", "as_of", "label_states", "merge", "post_states", "targets"]
