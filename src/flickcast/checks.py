"""What a check says: whether something is good enough, and why."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckResult:
    """One check's verdict; what then happens follows from a list of these."""

    name: str
    success: bool
    notes: str = ""
