"""Heads for other targets than the next symbol."""

import pytest
import torch

from unrolled.config.model import ModelConfig
from unrolled.lab.heads import Recogniser, Tagger, Transducer
from unrolled.saved.vocabulary import Vocabulary


@pytest.mark.parametrize("inputs", [Vocabulary("ab"), 3])
def test_heads_ignore_what_follows_the_end_of_a_row(inputs):
    torch.manual_seed(0)
    x = torch.randint(2, (6, 2)) if isinstance(inputs, Vocabulary) else torch.randn(6, 2, 3)
    lengths = torch.tensor([6, 4])
    config = ModelConfig(hidden_size=5, num_layers=2)
    for kind, options in ((Recogniser, {}), (Tagger, {}), (Transducer, {"N": 3})):
        model = kind(config, inputs, ["x", "y"]).eval()
        both = model(x, **options, lengths=lengths)
        alone = model(x[:4, 1:], **options)
        got = both[:4, 1:] if kind is Tagger else both[..., 1:, :]
        assert torch.equal(got, alone)


def test_heads_refuse_what_they_cannot_do():
    with pytest.raises(ValueError, match="embedding_size is 4"):
        Recogniser(ModelConfig(hidden_size=4, embedding_size=4), Vocabulary("ab"), "xy")


def test_loss_refuses_targets_of_another_shape():
    model = Tagger(ModelConfig(hidden_size=4), 3, "xy")
    logits = model(torch.randn(6, 2, 3))
    assert model.loss(logits, torch.zeros(6, 2, dtype=torch.int64)).isfinite()
    for shape in ((2, 6), (12,), (6, 2, 1)):
        with pytest.raises(ValueError, match=r"targets must be .*\(6, 2\), like the ids, got .*tensor of shape"):
            model.loss(logits, torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize(
    ("lengths", "least", "said"),
    [
        (torch.tensor([-1, 6]), 0, r"lengths\[0\] is -1, expected {} to T = 6"),
        (torch.tensor([6, 7]), 0, r"lengths\[1\] is 7, expected {} to T = 6"),
        (torch.tensor([0, 6]), 1, r"lengths\[0\] is 0, expected {} to T = 6"),
        (torch.tensor([6]), 0, r"lengths must have shape \(2,\)"),
    ],
)
def test_heads_refuse_lengths_that_no_row_has(lengths, least, said):
    x = torch.randint(2, (6, 2))
    for kind, options, from_ in ((Recogniser, {}, 1), (Transducer, {"N": 3}, 0)):
        model = kind(ModelConfig(hidden_size=5), Vocabulary("ab"), ["x", "y"])
        if from_ >= least:
            with pytest.raises(ValueError, match=said.format(from_)):
                model(x, **options, lengths=lengths)


def test_transducer_refuses_what_is_no_number_of_answers_and_no_batch():
    model = Transducer(ModelConfig(hidden_size=5), Vocabulary("ab"), ["x", "y"])
    for N in (-1, 0, 1.5):
        with pytest.raises(ValueError, match=f"N is {N}; it must be a whole number from 1"):
            model(torch.randint(2, (6, 2)), N=N)
    with pytest.raises(ValueError, match=r"x is .*, expected symbols \(T, B\) int64, or values \(T, B, I\)"):
        model(torch.randint(2, (6,)), N=2)
