"""Vectors of pictures and texts: which encoders there are, and the step that runs one over posts."""
