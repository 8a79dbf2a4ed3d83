"""flickcast: which new posts will become popular, learnt again every night."""

__version__ = "0.1.0"
