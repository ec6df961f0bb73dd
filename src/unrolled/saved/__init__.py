"""What is saved of a model: tokenizers and vocabulary, atomic files, the model's folder; no torch."""
