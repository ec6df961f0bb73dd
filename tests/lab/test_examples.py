"""The data loader of the laboratory."""

from unrolled.lab.examples import language_examples
from unrolled.languages import Lengths, get


def test_curriculum_draws_from_the_shortest_strings():
    examples = language_examples(get("anbn"), Lengths("uniform:1-50"), 100, "softmax", [0, 1])
    least = [min(examples.batch(3, 0.0).steps) for _ in range(5)]
    assert least == least[:1] * 5
    tenth = [max(examples.batch(3, 0.1).steps) for _ in range(30)]
    whole = [max(examples.batch(3).steps) for _ in range(30)]
    assert max(tenth) < 30 < max(whole)
