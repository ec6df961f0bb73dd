"""What runs are made of: frozen dataclasses that check their ranges on creation; no numpy and no torch.

The command line, a TOML file and Python all build these classes, so each rule stands here once.
"""
