"""The softmax of a large vocabulary on a sample: a batch compares its targets with some symbols, not with all V.

The candidates of a batch are its own targets and symbols that are drawn by how often training has them.  Each logit is
less the log of the probability with which its symbol is a candidate, so that what is learned are the logits of the
softmax over all V: the model is the same, and is measured, generates and is saved as ever.

N targets of a batch, H hidden, V vocabulary, C candidates.
Source: Jean, Cho, Memisevic and Bengio 2015, ACL, section 3, with all targets of a batch as candidates of each.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from unrolled.corpus.batching import IGNORED
from unrolled.corpus.splitting import Sequences, counts
from unrolled.nn import fused

#: A symbol that occurs n times is drawn as often as n**POWER says: rare ones more often than they occur.
POWER = 0.75
#: Symbols of the training data that are counted, from its beginning.
COUNTED = 1 << 24


class SampledSoftmax:
    """Runs the head of a model in training on candidates.

    Args:
        often: (V,) how often each symbol occurs in training; once more is counted, so that each is drawn now and then.
        samples: symbols that are drawn for each batch, with replacement, by torch's random numbers.

    >>> softmax = SampledSoftmax(torch.tensor([900.0, 90.0, 9.0, 0.0]), samples=2)
    >>> candidates, places = softmax.candidates(torch.tensor([3, 0, IGNORED]))
    >>> candidates[places[:2]], int(places[2]) == IGNORED
    (tensor([3, 0]), True)
    """

    def __init__(self, often: Tensor, samples: int):
        often = often.double() + 1
        drawn = often**POWER
        self.samples = samples
        self.cumulative = (drawn / drawn.sum()).cumsum(0)  # (V,)
        self.log_undrawn = torch.log1p(-drawn / drawn.sum())  # (V,) log-probability that one draw is another symbol
        self.log_other = torch.log1p(-often / often.sum())  # (V,) and one target

    @classmethod
    def of(cls, train: Sequences, V: int, samples: int) -> SampledSoftmax:
        """Return the sampled softmax for training data."""
        return cls(torch.from_numpy(counts(train.ids[:COUNTED], V)), samples)

    def __call__(
        self, x: Tensor, W: Tensor, b: Tensor, targets: Tensor, dW: Tensor, db: Tensor
    ) -> tuple[float, Tensor]:
        """Run the head once in training; arguments and result are those of :func:`unrolled.nn.fused.head`."""
        chosen, places = self.candidates(targets)
        dW_chosen, db_chosen = dW.new_zeros(len(chosen), dW.shape[1]), db.new_zeros(len(chosen))
        b_chosen = (b[chosen] - self.log_probabilities(chosen, targets)).to(b.dtype)
        nats, dx = fused.head(x, W[chosen], b_chosen, places, dW_chosen, db_chosen)
        dW.index_add_(0, chosen, dW_chosen)
        db.index_add_(0, chosen, db_chosen)
        return nats, dx

    def loss(self, x: Tensor, W: Tensor, b: Tensor, targets: Tensor) -> Tensor:
        """Return the sum over targets of the loss in nats, for autograd.

        Args: x (N, H); W (V, H); b (V); targets (N,), IGNORED where there is none.
        """
        chosen, places = self.candidates(targets)
        b_chosen = (b[chosen] - self.log_probabilities(chosen, targets)).to(b.dtype)
        return cross_entropy(linear(x, W[chosen], b_chosen), places, reduction="sum", ignore_index=IGNORED)

    def candidates(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the candidates of a batch, (C,) distinct, and the place of each target among them, (N,)."""
        wanted = targets >= 0
        u = torch.rand(self.samples, dtype=self.cumulative.dtype, device=self.cumulative.device)
        drawn = torch.searchsorted(self.cumulative, u)
        drawn.clamp_(max=len(self.cumulative) - 1)  # the last sum may be less than 1 by a rounding
        chosen, found = torch.unique(torch.cat([targets[wanted], drawn]), return_inverse=True)
        places = targets.clone()
        places[wanted] = found[: len(found) - self.samples]
        return chosen, places

    def log_probabilities(self, chosen: Tensor, targets: Tensor) -> Tensor:
        """Return the log-probability with which each of these symbols is a candidate beside a target, (C,)."""
        others = int((targets >= 0).sum()) - 1
        absent = self.samples * self.log_undrawn[chosen] + others * self.log_other[chosen]
        return torch.log(-torch.expm1(absent))
