"""Networks of torch behind the protocol of learners: one file per family, and what they share in `network.py`."""
