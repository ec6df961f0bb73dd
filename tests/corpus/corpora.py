"""What the tests of a corpus share."""

WHOLE = {"validation": 0, "test": 0}
TEXT = "".join(f"line {k % 7} Käse, so löng lives\r\n" * (k % 3) + "\n" for k in range(400))


def decoded(corpus, part):
    return [corpus.vocabulary.decode(ids) for ids in part]


def written(folder, files):
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())
    return folder
