"""Layers, cells and models under torch's DistributedDataParallel and fully_shard: run under torchrun, as a module.

Each process has half of the rows; after three steps of a plain optimiser the weights must be those of one process with
all rows.  Prints "the same", or fails.
"""

import copy
import sys
import warnings

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from unrolled import nn
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary

T, B, I, H = 6, 4, 5, 7


def last(result):
    """The output of a layer: the first of a tuple."""
    return result[0] if isinstance(result, tuple) else result


class Loss(torch.nn.Module):
    """A module and a loss of its output, summed over the rows that it is given and divided by all."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        y = last(self.module(x))
        return (y * torch.linspace(-1, 1, y.shape[-1], dtype=y.dtype)).sum() / B


def cases():
    """Every class, and what it reads; the rows are axis 1."""
    torch.manual_seed(0)
    x, steps = torch.randn(T, B, I), torch.randn(1, B, I)[0]
    for cls in (nn.RNN, nn.LSTM, nn.GRU):
        yield cls.__name__, cls(I, H, num_layers=2, bidirectional=True), x, 1
    yield "projected LSTM", nn.LSTM(I, H, proj_size=3), x, 1
    yield "PeepholeLSTM", nn.PeepholeLSTM(I, H), x, 1
    for cls in (nn.RNNCell, nn.LSTMCell, nn.GRUCell):
        yield cls.__name__, cls(I, H), steps, 0
    ids = torch.randint(0, 4, (T, B))
    for cell in ("rnn", "lstm", "gru"):
        for tied in (False, True):
            config = ModelConfig(cell, hidden_size=H, num_layers=2, embedding_size=H if tied else 3, tied=tied)
            yield f"model of {cell}, tied {tied}", SequenceModel(config, Vocabulary("ab")), ids, 1


def steps(module, x):
    rule = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        rule.zero_grad()
        module(x).backward()
        rule.step()


def weights(module):
    found = {name.replace("module.", ""): p for name, p in module.named_parameters()}
    return {name: p.full_tensor() if isinstance(p, DTensor) else p for name, p in found.items()}


def main():
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh("cpu", (size,))
    for name, module, x, axis in cases():
        whole = Loss(copy.deepcopy(module))
        steps(whole, x)
        own = x.chunk(size, axis)[rank].contiguous() * 1
        wrapped = {
            "DistributedDataParallel": lambda made: DistributedDataParallel(made),
            "fully_shard": lambda made: fully_shard(made, mesh=mesh),
        }
        for kind, wrap in wrapped.items():
            made = wrap(Loss(copy.deepcopy(module)))
            steps(Scaled(made, size), own)
            found = weights(made)
            for key, wanted in weights(whole).items():
                said = f"{kind} {name} {key}: "
                torch.testing.assert_close(found[key], wanted, atol=1e-5, rtol=1e-4, msg=said.__add__)
    sharded_weights_are_initialised(mesh)
    sys.stdout.write("the same\n")  # one write: print makes two without a buffer, and lines of processes mix
    dist.destroy_process_group()
    return 0


def sharded_weights_are_initialised(mesh):
    """`init_` of sharded weights gives those of the first process, and a gate says that it is a copy."""
    for cls in (nn.LSTM, nn.GRU, nn.RNN, nn.PeepholeLSTM, nn.LSTMCell, nn.GRUCell):
        for recurrent in ("orthogonal", "identity", "glorot"):
            with torch.device("meta"):
                made = cls(I, H)
            fully_shard(made, mesh=mesh)
            made.to_empty(device="cpu")
            for w in made.parameters():
                torch.nn.init.constant_(w, 7.0)
            torch.manual_seed(dist.get_rank())
            nn.init_(made, recurrent)
            torch.manual_seed(0)
            wanted = weights(initialised(cls, recurrent))
            for key, found in weights(made).items():
                assert torch.equal(found, wanted[key]), (cls.__name__, recurrent, key)
    layer = fully_shard(nn.LSTM(I, H), mesh=mesh)
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        assert layer.b_if.shape == (H,)
    assert any("is a copy, for its weight is sharded" in str(each.message) for each in noted)
    pieces = FullyShardedDataParallel(nn.LSTM(I, H), device_id=torch.device("cpu"), use_orig_params=True).module
    of_root = fully_shard(torch.nn.Sequential(nn.LSTM(I, H)), mesh=mesh)[0]
    for sharded in (layer, of_root, pieces):
        for call in (nn.Stepper, nn.network_of):
            refused(call, sharded)
        assert "a registered operator" in str(nn.explain_backend(of_root, torch.zeros(T, B, I)))
    refused(nn.init_, pieces)
    refused(lambda module: module.gate("W_hf"), pieces)


def initialised(cls, recurrent):
    """A layer whose weights are drawn from the random stream as it is."""
    with torch.random.fork_rng():
        made = cls(I, H)
    return nn.init_(made, recurrent)


def refused(call, module):
    with pytest.raises(ValueError, match="sharded, so that each process holds a part of it"):
        call(module)


class Scaled(torch.nn.Module):
    """Both wrappers average over processes what is a sum here."""

    def __init__(self, module, size):
        super().__init__()
        self.module, self.size = module, size

    def forward(self, x):
        return self.module(x) * self.size


if __name__ == "__main__":
    sys.exit(main())
