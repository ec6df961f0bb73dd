"""Learn symbol sequences, say how well, and write new ones."""
