"""What the tests of a corpus share."""

WHOLE = {"validation": 0, "test": 0}


def decoded(corpus, part):
    return [corpus.vocabulary.decode(ids) for ids in part]
