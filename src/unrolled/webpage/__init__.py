"""The web page that shows a text network: its files, what it is told of a network, and how it becomes one file.

`static` is what `unrolled serve` serves; `alone` takes the server's place where the page is one file.
"""
