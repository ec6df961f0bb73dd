"""From a network to a module that can be trained, run and exported: of this package's layers or of torch's alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unrolled.nn import checks, fit
from unrolled.nn.layers import GRU, LSTM, RNN, PeepholeLSTM
from unrolled.nn.network import array_of, layers_of, says_all
from unrolled.nn.reach import has_values
from unrolled.nn.recurrent_layer import RecurrentLayer
from unrolled.nn.swap import swap
from unrolled.notation import CELLS, stored_name
from unrolled.saved.network import Head, Layer, Network

#: The state of one recurrent module, as it takes and gives it: h (L*D, B, P), or h and c (L*D, B, H).
State = Tensor | tuple[Tensor, ...]


#: The class whose layers are of this kind.
_CLASSES: dict[str, Any] = {"RNN_TANH": RNN, "RNN_RELU": RNN, "LSTM": LSTM, "GRU": GRU, "LSTM_PEEPHOLE": PeepholeLSTM}


class NetworkModule(torch.nn.Module):
    """An embedding, recurrent layers and a head, of which all but the layers may be missing.

    `rnn` holds a module for each run of layers that are alike, so most networks have one; `initial` the learned state
    before the first step of each.  All parameters are copies.

    >>> from unrolled.nn.network import network_of
    >>> module = module_of(network_of([torch.nn.Embedding(9, 4), GRU(4, 6, num_layers=2), torch.nn.Linear(6, 9)]))
    >>> y, (h_n,) = module(torch.randint(9, (5, 3)))
    >>> y.shape, h_n.shape
    (torch.Size([5, 3, 9]), torch.Size([2, 3, 6]))
    """

    def __init__(self, network: Network, layers: Literal["unrolled", "torch"] = "unrolled") -> None:
        if not isinstance(network, Network):
            raise TypeError(f"expected a Network, as network_of(module) returns it, got {type(network).__name__}")
        if layers not in ("unrolled", "torch"):
            raise ValueError(f"layers is {layers!r}, expected 'unrolled' or 'torch'")
        super().__init__()
        self.one_hot, self.text, self.origin = network.one_hot, network.text, network.origin
        self.embedding = None
        if network.embedding is not None:
            V, E = network.embedding.shape
            self.embedding = torch.nn.Embedding(V, E, _weight=_tensor(network.embedding))
        alike = [[*run] for _, run in groupby(network.layers, key=_constructor)]
        self.rnn = torch.nn.ModuleList([_module(run) for run in alike])
        self.initial = torch.nn.ParameterDict(
            {f"{k}_{which}": s for k, run in enumerate(alike) for which, s in enumerate(_initial(run))}
        )
        self.head, self.when = None, "each"
        self.softmax = None
        if network.head is not None:
            V, width = network.head.W.shape
            self.head, self.when = _linear(network.head, V, width), network.head.when
            self.softmax = torch.nn.Softmax(-1) if network.head.softmax else None
        if layers == "torch":
            _swap_to_torch(self)

    def forward(
        self, input: Tensor, states: Sequence[State] | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[State, ...]]:
        """Run the network over a batch of sequences.

        Args:
            input: (T, B, I), or (T, B) int64, symbols; without B for a single sequence.
            states: before the first step, one for each module of `rnn`; None for the learned ones, or zeros.
            lengths: (B,) int64, 1 to T; outputs past the end of a row are those of zeros.
        Returns: the output (T, B, width), or (B, width) for a head that reads a last one; the states after the last.
        Raises: ValueError or TypeError for lengths of another shape, type or range, and for another number of states.
        """
        x: Any = input
        if self.embedding is not None:
            x = self.embedding(input)
        elif self.one_hot and not isinstance(self.rnn[0], RecurrentLayer):  # ours read symbols themselves
            first = cast(torch.nn.RNNBase, self.rnn[0])
            x = torch.nn.functional.one_hot(input, first.input_size).to(cast(Tensor, first.weight_ih_l0).dtype)
        T = x.shape[0]
        B: Any = x.shape[1] if checks.rank("NetworkModule", x, lowest=2) else None
        if states is not None and len(states) != len(self.rnn):
            raise ValueError(f"got {len(states)} states, expected one for each module of rnn, {len(self.rnn)}")
        after = []
        if lengths is not None:
            checks.lengths_and_reset(x, False, lengths, None)
            if has_values(lengths):
                fit.length_range(lengths, T, least=1)
            x = pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
        for k, rnn in enumerate(self.rnn):
            x, end = rnn(x, self._initial(k, B) if states is None else states[k])
            after.append(end)
        if lengths is not None:
            x, _ = pad_packed_sequence(x, total_length=T)
        if self.when == "last":
            h: Tensor = end[0] if isinstance(end, tuple) else end
            x = torch.cat([*h[-2 if self.rnn[-1].bidirectional else -1 :]], -1)
        elif self.when == "last_output":
            x = x[-1] if lengths is None else x[lengths - 1, torch.arange(B, device=x.device)]
        if self.head is not None:
            x = self.head(x)
        return x if self.softmax is None else self.softmax(x), tuple(after)

    def network(self) -> Network:
        """Return the network that the module is, with copies of its weights.

        Raises: ValueError for a type other than float32 and float64; TypeError for a part whose call does more.
        """
        for part in (self.embedding, *self.rnn, self.head):
            says_all(part)
        head = None
        if self.head is not None:
            W, b = array_of(self.head.weight), None if self.head.bias is None else array_of(self.head.bias)
            head = Head(W, b, cast(Any, self.when), self.softmax is not None)
        layers = tuple(layer for k in range(len(self.rnn)) for layer in self._layers(k))
        embedding = None if self.embedding is None else array_of(self.embedding.weight)
        return Network(layers, embedding, self.one_hot, head, self.text, self.origin)

    def _layers(self, k: int) -> Iterator[Layer]:
        """Yield the layers of one module of `rnn`, with their learned initial states."""
        states = [array_of(self.initial[f"{k}_{which}"]) for which in range(2) if f"{k}_{which}" in self.initial]
        for number, layer in enumerate(layers_of(self.rnn[k])):
            rows = range(number * layer.D, (number + 1) * layer.D)
            yield replace(layer, initial=tuple(tuple(s[row, 0] for s in states) for row in rows) if states else None)

    def _initial(self, k: int, B: Any) -> State | None:
        states = [self.initial[f"{k}_{which}"] for which in range(2) if f"{k}_{which}" in self.initial]
        expanded = tuple(s.squeeze(1) if B is None else s.expand(-1, B, -1).contiguous() for s in states)
        return (expanded if len(expanded) > 1 else expanded[0]) if expanded else None


def module_of(network: Network) -> NetworkModule:
    """Return a network as a module of this package's layers, to train it further.

    >>> from unrolled.nn.network import network_of
    >>> module_of(network_of(LSTM(3, 5, bidirectional=True))).rnn
    ModuleList(
      (0): LSTM(3, 5, bidirectional=True)
    )
    """
    return NetworkModule(network)


def _constructor(layer: Layer) -> tuple[Any, ...]:
    """Return what layers of one module have in common."""
    return layer.kind, layer.H, layer.P, layer.is_projected, layer.D, layer.has_bias, layer.initial is None


def _module(run: list[Layer]) -> RecurrentLayer:
    """Return the recurrent module of layers that are alike."""
    first = run[0]
    cls = _CLASSES[first.kind]
    options: dict[str, Any] = {"bias": first.has_bias, "bidirectional": first.D == 2}
    options |= {"proj_size": first.P} if first.is_projected else {}
    options |= {"nonlinearity": "relu"} if first.kind == "RNN_RELU" else {}
    dtype = _tensor(first.directions[0].W_ih).dtype
    module: RecurrentLayer = cls(first.I, first.H, len(run), device="meta", dtype=dtype, **options)
    weights = {
        stored_name(name, number, bool(reverse)): _tensor(w)
        for number, layer in enumerate(run)
        for reverse, direction in enumerate(layer.directions)
        for name, w in direction._asdict().items()
        if w is not None
    }
    module.load_state_dict(weights, assign=True)
    return module


def _initial(run: list[Layer]) -> list[torch.nn.Parameter]:
    """Return the learned states before the first step of a module, each (L*D, 1, P or H); none, if there are none."""
    if run[0].initial is None:
        return []
    rows = [direction for layer in run for direction in layer.initial or ()]
    return [
        torch.nn.Parameter(torch.stack([_tensor(row[which]) for row in rows])[:, None])
        for which in range(len(CELLS[run[0].kind].states))
    ]


def _linear(head: Head, V: int, width: int) -> torch.nn.Linear:
    linear = torch.nn.Linear(width, V, bias=head.b is not None, device="meta", dtype=_tensor(head.W).dtype)
    weights = {"weight": _tensor(head.W)} | ({} if head.b is None else {"bias": _tensor(head.b)})
    linear.load_state_dict(weights, assign=True)
    return linear


def _swap_to_torch(module: NetworkModule) -> None:
    peepholes = [rnn for rnn in module.rnn if isinstance(rnn, PeepholeLSTM)]
    if peepholes:
        raise TypeError("torch.nn has no LSTM with peepholes")
    swap(module, to="torch")


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(array.copy())
