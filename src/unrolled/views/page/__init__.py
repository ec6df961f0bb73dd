"""The web page of `unrolled serve`: what a network does while you type, and the JSON behind it."""
