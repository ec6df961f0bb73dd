"""Recurrent networks from their textbook equations, fast on an ordinary CPU, and easy to look inside."""

__version__ = "0.1.0"
