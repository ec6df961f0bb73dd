"""What is kept on disk of a model: its vocabulary, its weights, its configuration; no torch."""
