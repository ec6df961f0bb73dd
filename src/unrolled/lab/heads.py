"""Models for other targets than the next symbol: one answer at the end, one at each step, or several after the end.

Each is recurrent layers with a linear head, for symbols or for measured values; the losses are those of an ordinary
classifier, so any torch optimiser trains them, on any data.

Letters: B batch, T time, I input size, V input symbols, K answers, N answers after the end, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, dropout, linear, pad

from unrolled.config.checks import PositiveInt, check_value
from unrolled.config.lab import check_one_hot
from unrolled.config.model import ModelConfig
from unrolled.corpus.batching import IGNORED
from unrolled.lm.arguments import predicted
from unrolled.lm.layers import recurrent_layers
from unrolled.nn import checks, fit
from unrolled.nn.reach import has_values
from unrolled.saved.vocabulary import Vocabulary


class HeadedModel(torch.nn.Module):
    """Recurrent layers and a linear head; the subclasses apply the head at different steps.

    Args:
        config: cell, sizes and layers; symbols are read one-hot, without embedding.
        inputs: the vocabulary of symbols, or the number I of measured values per step.
        answers: the classes, K names.
    """

    def __init__(self, config: ModelConfig, inputs: Vocabulary | int, answers: Sequence[str]):
        super().__init__()
        check_one_hot(config)
        self.config, self.inputs, self.answers = config, inputs, tuple(answers)
        self.rnn = recurrent_layers(config, inputs if isinstance(inputs, int) else len(inputs))
        self.head = torch.nn.Linear(config.hidden_size, len(self.answers))

    def states(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the last layer's h (T, B, H) over symbols (T, B) int64, or over measured values (T, B, I)."""
        h, _ = self.rnn(x, lengths=lengths)
        return dropout(h, self.config.dropout, self.training)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of -log softmax(logits)[target] in nats.

        Args: logits (..., K); targets (...) int64, IGNORED (-100) where there is no target.
        Raises: ValueError for targets of another shape.
        """
        targets = predicted(targets, logits, None)
        return cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED)


class Recogniser(HeadedModel):
    """One answer to a whole sequence, after its last step: is it in the language, or which class is it?

    >>> model = Recogniser(ModelConfig(hidden_size=5), Vocabulary("01"), ["no", "yes"])
    >>> model(torch.tensor([[0, 1], [1, 1], [1, 0]]), lengths=torch.tensor([3, 2])).shape  # (B, K)
    torch.Size([2, 2])
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits (B, K).

        Args: x (T, B) int64 or (T, B, I); lengths (B,) int64, each at least 1, all T by default.
        Raises: TypeError or ValueError for others.
        """
        checked(x, lengths, least=1)
        h = self.states(x, lengths)
        last = h[-1] if lengths is None else h[lengths - 1, torch.arange(h.shape[1], device=h.device)]
        return linear(last, self.head.weight, self.head.bias)


class Tagger(HeadedModel):
    """One answer after each step.

    >>> model = Tagger(ModelConfig(cell="gru", hidden_size=5), 3, ["down", "up"])
    >>> logits = model(torch.randn(7, 2, 3))
    >>> logits.shape, model.loss(logits, torch.zeros(7, 2, dtype=torch.int64)).shape  # (T, B, K)
    (torch.Size([7, 2, 2]), torch.Size([]))
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits (T, B, K); past the end of a row they are meaningless.

        Args: x (T, B) int64 or (T, B, I); lengths (B,) int64, all T by default.
        """
        return linear(self.states(x, lengths), self.head.weight, self.head.bias)


class Transducer(HeadedModel):
    """Several answers after the end of the sequence, while the model reads blanks: EOS, or zeros for measured values.

    Source: Deletang et al. 2022, section 4, whose models read empty tokens while they answer.

    >>> model = Transducer(ModelConfig(cell="rnn", hidden_size=5), Vocabulary("01"), "01")
    >>> model(torch.tensor([[0, 1], [1, 1], [1, 0]]), N=4, lengths=torch.tensor([3, 2])).shape  # (N, B, K)
    torch.Size([4, 2, 2])
    """

    def forward(self, x: Tensor, N: int, lengths: Tensor | None = None) -> Tensor:
        """Return logits (N, B, K).

        Args: x (T, B) int64 or (T, B, I); N: answers to each row, 1 or more; lengths (B,) int64, all T by default.
        Raises: TypeError or ValueError for others.
        """
        check_value("N", N, PositiveInt)
        checked(x, lengths, least=0)
        T, B = x.shape[:2]
        ends = torch.full((B,), T, device=x.device) if lengths is None else lengths
        blank = 0 if isinstance(self.inputs, int) else self.inputs.eos_id
        x = pad(x, (0,) * (2 * x.dim() - 2) + (0, N), value=blank)
        past = torch.arange(T + N, device=x.device)[:, None] >= ends
        x = torch.where(past if x.dim() == 2 else past[..., None], blank, x)
        h = self.states(x, ends + N)
        steps, rows = torch.arange(N, device=x.device)[:, None], torch.arange(B, device=x.device)
        answering = h[ends + steps, rows]  # (N, B, H)
        return linear(answering, self.head.weight, self.head.bias)


def checked(x: Tensor, lengths: Tensor | None, least: int) -> None:
    """Refuse what is no batch of sequences, and lengths that its rows cannot have.

    Raises: TypeError or ValueError saying what came and what was expected.
    """
    if x.dim() != (2 if checks.is_one_hot(x) else 3):
        raise ValueError(f"x is {checks.described(x)}, expected symbols (T, B) int64, or values (T, B, I)")
    checks.lengths_and_reset(x, False, lengths, None)
    if lengths is not None and has_values(lengths):
        fit.length_range(lengths, x.shape[0], least)
