"""torch.export: a program of torch's own operators, for any T and B, that a process with torch alone loads and runs.

torch unrolls its own layers while it exports them, over as many steps as its example has.  So a network of this
package's layers is exported, each one node, and the nodes become those of torch's operators: aten.lstm, aten.gru ...
Source: https://docs.pytorch.org/docs/stable/export.html; docs/deploy/torch.md.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from unrolled.formats.network_of import FormatError, Source, network_from
from unrolled.notation import CELLS
from unrolled.saved.atomic_files import write_file

#: Bounds of T and B that a program checks.
LARGEST = 2**31 - 1


def to_pt2(source: Source, path: str | Path) -> None:
    """Write a network as a `.pt2` file, for `torch.export.load(path).module()`.

    The program takes the input (T, B, I) or symbols (T, B), and gives the output and the states after the last step.

    Args: a Network, the folder of a saved model, or a module; the path of the file.
    Raises: FormatError for peepholes; CheckpointError if the file cannot be written.

    >>> import torch
    >>> from unrolled import nn
    >>> to_pt2([nn.LSTM(3, 5), torch.nn.Linear(5, 2)], "lstm.pt2")
    >>> y, states = torch.export.load("lstm.pt2").module()(torch.zeros(7, 2, 3))
    >>> y.shape
    torch.Size([7, 2, 2])
    """
    import torch
    from torch.export import Dim

    from unrolled.nn.network_module import NetworkModule

    network = network_from(source)
    if any(layer.kind == "LSTM_PEEPHOLE" for layer in network.layers):
        raise FormatError("torch cannot hold peepholes: torch.nn has no such layer")
    example = torch.zeros(3, 2, dtype=torch.int64, device="cpu")
    if not network.reads_symbols:
        example = torch.zeros(3, 2, network.I, dtype=getattr(torch, str(network.dtype)), device="cpu")
    sizes = {0: Dim("T", min=1, max=LARGEST), 1: Dim("B", min=1, max=LARGEST)}
    module = NetworkModule(network).eval().requires_grad_(False)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):  # whatever the caller's modes are
        program = torch.export.export(module, (example,), dynamic_shapes=(sizes,), strict=False)
    _to_aten(program.graph_module, network.I if network.one_hot else 0)
    file = io.BytesIO()
    torch.export.save(program, file)
    write_file(path, file.getvalue())


def _to_aten(graph_module: Any, symbols: int) -> None:
    """Put torch's operators in the place of this package's; `symbols` is V where the first layer reads symbols."""
    import torch

    graph, ours = graph_module.graph, torch.ops.unrolled
    for node in [*graph.nodes]:
        if node.target == ours.cat.default:
            node.target = torch.ops.aten.cat.default
        elif node.target == ours.layer.default:
            with graph.inserting_before(node):
                _replace(graph, node, symbols)
    graph.lint()
    graph_module.recompile()


def _replace(graph: Any, node: Any, symbols: int) -> None:
    import torch

    aten = torch.ops.aten
    kind, batch_first, _, _, _, x, h_0, c_0, _, _, present, weights, _, _ = node.args
    D = len(present) // 6
    P = weights[1].meta["val"].shape[1]
    value = x.meta["val"]

    def call(target: Any, *args: Any, **options: Any) -> Any:
        made = graph.call_function(target, args, options)
        with value.fake_mode:
            given = torch.utils._pytree.tree_map_only(torch.fx.Node, lambda each: each.meta["val"], (args, options))
            made.meta["val"] = target(*given[0], **given[1])
        return made

    if not value.is_floating_point():
        x = call(aten._to_copy.default, call(aten.one_hot.default, x, symbols), dtype=weights[0].meta["val"].dtype)
    states = [h_0] if len(CELLS[kind].states) == 1 else [h_0, c_0]
    if h_0 is None:
        B = call(aten.sym_size.int, x, 1)
        H = weights[0].meta["val"].shape[0] // len(CELLS[kind].gates)
        states = [call(aten.new_zeros.default, x, [D, B, width]) for width in (P, H)[: len(states)]]
    op = {"LSTM": aten.lstm, "GRU": aten.gru, "RNN_TANH": aten.rnn_tanh, "RNN_RELU": aten.rnn_relu}[kind].input
    hx = states if kind == "LSTM" else states[0]
    made = graph.call_function(op, (x, hx, list(weights), bool(present[2]), 1, 0.0, False, D == 2, batch_first))
    made.meta["val"] = tuple(node.meta["val"][: 1 + len(states)])
    node.replace_all_uses_with(made)
    graph.erase_node(node)
    for user in [*made.users]:  # what the operator here gives beside these nobody reads
        if user.args[1] >= 1 + len(states):
            graph.erase_node(user)
