"""From files to numbered, split and batched symbols, and the baselines a model is measured against; no torch."""
