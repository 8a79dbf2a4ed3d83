"""What reaches the terminal: the user's text, never as an order to it."""

import io
import sys

import pytest

from flickcast.console import say, track

NASTY = "[/red]\x1b[31m:smile:\u202e"  # rich's markup, a terminal's, an emoji's name, text from right to left


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal (not in a fixture: pytest takes stderr over again when the test begins)."""
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    return stderr


def test_a_message_quotes_user_text_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = terminal(monkeypatch)
    say(f"no such label: {NASTY}")
    assert stderr.getvalue() == "no such label: [/red][31m:smile:\n"


def test_a_bar_names_what_is_being_done_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = terminal(monkeypatch)
    assert list(track([NASTY], "users", 1)) == [NASTY]
    assert "users [/red][31m:smile:" in stderr.getvalue()
    assert "\x1b[31m:" not in stderr.getvalue()
    assert "\u202e" not in stderr.getvalue()
