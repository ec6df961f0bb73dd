"""The configurations: frozen dataclasses that check every field on creation; no numpy and no torch.

The command line, a TOML file and Python all build these classes, so each rule is written once.
"""
