"""Recurrent networks from their textbook equations, fast on an ordinary CPU, and open to the eye."""

__version__ = "0.1.0"
