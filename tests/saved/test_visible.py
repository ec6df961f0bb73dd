"""Invisible characters are shown by visible ones."""

import io

from rich.console import Console

from unrolled.saved.visible import drawn, is_screen, shown


def test_drawn_text_holds_nothing_that_a_terminal_obeys_but_tabs_and_line_ends():
    unchanged = {k for k in range(0x3000) if drawn(chr(k)) == chr(k)}
    assert unchanged.isdisjoint({*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F)} - {9, 10})
    assert drawn("a\tb\n\u00e9 \u200d \u4e2d") == "a\tb\n\u00e9 \u200d \u4e2d"


def test_shown_text_stays_on_one_line_and_can_be_read():
    assert shown("a\nb\tc\x1b[31m \u202e") == "a⏎b␉c␛[31m \\u202e"
    assert shown("\ue000\u4e2d") == "�\u4e2d"


def test_colours_that_the_environment_asks_for_make_no_screen(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    pipe = Console(file=io.StringIO())
    assert pipe.is_terminal
    assert not is_screen(pipe)
