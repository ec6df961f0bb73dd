"""Other formats, a file each: what a network becomes in one, and what comes back from it."""
