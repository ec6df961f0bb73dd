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
