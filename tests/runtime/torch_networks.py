"""What a network computes, by torch's own layers in float64; a peephole LSTM, which torch lacks, by our equations."""

import numpy as np
import torch

import unrolled.nn
from unrolled.notation import stored_name

LAYERS = {
    "LSTM": torch.nn.LSTM,
    "GRU": torch.nn.GRU,
    "RNN_TANH": torch.nn.RNN,
    "RNN_RELU": torch.nn.RNN,
    "LSTM_PEEPHOLE": unrolled.nn.PeepholeLSTM,
}


def of_layer(layer):
    """The layer of torch with the weights of ours."""
    options = {"bias": layer.has_bias, "bidirectional": layer.D == 2, "dtype": torch.float64}
    if layer.is_projected:
        options["proj_size"] = layer.P
    if layer.kind == "RNN_RELU":
        options["nonlinearity"] = "relu"
    made = LAYERS[layer.kind](layer.I, layer.H, **options)
    weights = {
        stored_name(name, 0, bool(reverse)): torch.from_numpy(w.astype(np.float64))
        for reverse, direction in enumerate(layer.directions)
        for name, w in direction._asdict().items()
        if w is not None
    }
    made.load_state_dict(weights)
    return made


def outputs(network, x, lengths=None):
    """What the network gives for x (T, B, I), or symbols (T, B): (T, B, width), or (B, width) after the last step."""
    ends = [len(x)] * x.shape[1] if lengths is None else lengths
    rows = [_of_row(network, x[:n, b]) for b, n in enumerate(ends)]
    if network.head is not None and network.head.when != "each":
        return np.stack(rows)
    return [row.numpy() if isinstance(row, torch.Tensor) else row for row in rows]


@torch.no_grad()
def _of_row(network, x):
    y = torch.from_numpy(x)
    if network.embedding is not None:
        y = torch.from_numpy(network.embedding)[y]
    elif network.one_hot:
        y = torch.nn.functional.one_hot(y, network.I)
    y = y.double()
    for layer in network.layers:
        hx = None
        if layer.initial is not None:
            states = [np.stack(of_directions).astype(np.float64) for of_directions in zip(*layer.initial, strict=True)]
            hx = tuple(map(torch.from_numpy, states)) if len(states) == 2 else torch.from_numpy(states[0])
        y, after = of_layer(layer)(y, hx)
        h_n = after[0] if isinstance(after, tuple) else after
    if network.head is not None:
        if network.head.when == "last":
            y = h_n.flatten()  # of both directions
        elif network.head.when == "last_output":
            y = y[-1] if len(y) else torch.zeros(network.layers[-1].width).double()
        y = y @ torch.from_numpy(network.head.W).double().T
        y = y if network.head.b is None else y + torch.from_numpy(network.head.b)
        y = y.softmax(-1) if network.head.softmax else y
    return y.numpy()
