"""What RNN, LSTM and GRU share: all of a layer but its constructor.

A layer derives from ``torch.nn.RNNBase`` and by default has just its attributes, so checkpoints, pickles, optimisers
and code written for torch's layers work with it.  It does not derive from ``torch.nn.LSTM`` and its siblings, because
torch.compile refuses to trace those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor
from torch.fx import Proxy
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence

from unrolled.config.checks import CheckpointSteps, Index, check_checkpoint_steps, check_value
from unrolled.core.fields import Layout, Weights
from unrolled.nn import checks, dispatch, fit, modules
from unrolled.nn.layout import AS_GIVEN, Arguments, Arrangement, Rows, output_and_state
from unrolled.nn.modules import OwnNames, as_leaf, check_count, is_hooked, named, refuse_script, sharing_parameters
from unrolled.nn.network import save
from unrolled.nn.reach import batch_size, is_traced, open_batch_size
from unrolled.nn.recording import trace_of
from unrolled.nn.reference import ZEROS, LayerResult, in_type
from unrolled.nn.stack import first_input, of_layer, run_stack
from unrolled.nn.torch_operator import of_torch
from unrolled.notation import gate_parameters, has_cell_state, name_here, stored_name, textbook_names

State: TypeAlias = Tensor | tuple[Tensor, Tensor]


class RecurrentLayer(OwnNames, torch.nn.RNNBase):
    """A stack of layers over whole sequences, or step by step."""

    #: torch's layer of the same name, or the nearest one, whose error messages this layer uses.
    stock: ClassVar[type[torch.nn.RNNBase]]
    #: Whether torch has no such layer.
    beyond_torch: ClassVar[bool] = False
    #: Steps whose gates the backward pass recomputes together, "auto", or None to save all; may be set at any time.
    checkpoint_steps: CheckpointSteps = None
    #: Dropout between stacked layers; torch's own, so that a seed draws the masks that torch's layer draws.
    dropout_function: Callable[..., Tensor] = staticmethod(dropout)

    def __init__(self, *arguments: Any, checkpoint_steps: CheckpointSteps, **options: Any) -> None:
        super().__init__(*arguments, **options)
        check_checkpoint_steps(checkpoint_steps)
        if checkpoint_steps is not None:
            self.checkpoint_steps = checkpoint_steps

    def extra_repr(self) -> str:
        """Return the arguments of the constructor that are not torch's default values, as torch words them."""
        steps = self.checkpoint_steps
        return super().extra_repr() + (f", checkpoint_steps={steps!r}" if steps is not None else "")

    @property
    def kind(self) -> str:
        """The cell, as notation.py names it; torch says mode."""
        return self.mode

    def forward(
        self,
        input: Rows,
        hx: State | None = None,
        *,
        lengths: Tensor | None = None,
        reset: Rows | None = None,
        reset_state: State | None = None,
        trace: bool = False,
        embedding: Tensor | None = None,
    ) -> Any:
        """Run the layer over whole sequences.

        float32 and float64 on the CPU go to the compiled core; the half types are computed in float32 there.  Tensors
        of other devices go to torch's own operator, and to the equations in torch operations for what it lacks
        (lengths, reset, trace, one-hot input).  `explain_backend` says which path a call takes.

        Args:
            input: (T, B, I); (B, T, I) with `batch_first`; (T, I) for a single sequence; or a PackedSequence.  An
                int64 tensor without the last axis holds one-hot indices in [0, I), which are never multiplied out;
                convert integer features with input.float().
            hx: state before the first step, (L*D, B, P), without B for a single sequence; for LSTM a pair (h_0, c_0)
                of (L*D, B, P) and (L*D, B, H).  Zeros if left out.
            lengths: (B,) int64, in any order, zero allowed.  Outputs past the end of a row are zero, its final state
                is that after its last step, and the reverse direction starts there.
            reset: bool, shape of `input` without its features.  Before such a step, in the order in which a direction
                runs, the state returns to zeros, or to `reset_state`.
            reset_state: another state for a reset to return to, shaped as hx.
            trace: return a `Trace` of every gate and state as a third value.
            embedding: (V, I): read an int64 input through this embedding; indices are in [0, V).  With fewer symbols
                than positions the first layer reads them one-hot through W_ih E^T (G*H, V), otherwise as looked-up
                rows; the two round differently.
        Returns: the output, (T, B, D*P) laid out as input, and the final state, shaped as hx.
        Raises: what torch.nn raises, with its messages; ValueError, TypeError or IndexError for what torch.nn lacks.
        Source: docs/notation.md.

        >>> from unrolled.nn import LSTM
        >>> lstm = LSTM(4, 6)
        >>> y, (h_n, c_n) = lstm(torch.randn(5, 3, 4), lengths=torch.tensor([2, 5, 0]))
        >>> y.shape, y[2:, 0].abs().sum().item()
        (torch.Size([5, 3, 6]), 0.0)
        """
        if type(input) is not Tensor and isinstance(input, Proxy):
            options = {  # type: ignore[unreachable]
                "lengths": lengths,
                "reset": reset,
                "reset_state": reset_state,
                "trace": trace,
                "embedding": embedding,
            }
            return as_leaf(self, input, hx, **options)
        weights = self.weights()
        W = weights[0].W_ih
        x, states, layout, arrangement, reset_states = self._read(input, hx, lengths, reset, reset_state, W)
        if embedding is not None:
            checks.embedding(embedding, x, W, self.input_size)
            D = 2 if self.bidirectional else 1
            x, weights[:D] = first_input(x, weights[:D], embedding, layout)
        autocast = dispatch.narrowed(self.stock, x, W)
        if dispatch.goes_to_torch(x, W) and not (
            self.beyond_torch or lengths is not None or reset is not None or trace or checks.is_one_hot(x)
        ):
            y, finals = of_torch(self, x, states or self._zeros(x, layout), layout, weights)
            recorded: list[tuple[Tensor, dict[str, Tensor]]] = []
        else:
            if autocast == torch.bfloat16:
                fit.types(x, (), weights, autocast=True)
                x, states, weights, reset_states = in_type((x, states, weights, reset_states), autocast)
            y, finals, recorded = self._unroll(x, states, layout, weights, trace, reset_states)
        if autocast is not None:
            y, finals = y.to(autocast), [s.to(autocast) for s in finals]
        finals = arrangement.restored(finals)
        state = tuple(finals) if len(finals) == 2 else finals[0]
        if trace:
            return arrangement.rows(y), state, trace_of(recorded, arrangement.rows)
        return arrangement.rows(y), state

    def _read(
        self,
        input: Rows,
        hx: State | None,
        lengths: Tensor | None,
        reset: Rows | None,
        reset_state: State | None,
        W: Tensor,
    ) -> Arguments:
        """Check the arguments of a call and lay them out as the core reads them."""
        name, count = self.stock.__name__, 1 + has_cell_state(self.mode)
        states = [] if hx is None else list(checks.states(name, hx, count))
        reset_states = [] if reset_state is None else list(checks.states(name, reset_state, count, "reset_state"))
        batch_first, batch_sizes, arrangement = self.batch_first, None, AS_GIVEN
        if isinstance(reset, PackedSequence):
            fit.memory({"batch_sizes of reset": reset.batch_sizes})
            reset = checks.packed_reset(reset, input)
        if isinstance(input, PackedSequence):
            x, batch_sizes, order, _ = input
            checks.packed(x, batch_sizes, lengths)
            if order is not None and not is_traced(x):
                fit.to_be_sorted(order, states, reset_states)
            arrangement = Arrangement(packed=input)
            batch_first, T = False, len(batch_sizes)
            B = batch_size(x, False, batch_sizes, states or reset_states if order is None else [order[None]])
            if not states and is_traced(x, batch_sizes):  # so that all layers know one B
                states = [W.new_zeros(shape) for shape in self._state_shapes(open_batch_size(batch_sizes, B))]
        else:
            x = input
            batched = checks.rank(name, x, lowest=2)
            checks.state_ranks(states, batched, x)
            if not batched:
                fit.dense(x, states, [])
                axis = 0 if batch_first else 1
                arrangement = Arrangement(unbatched=axis)
                x, states = x.unsqueeze(axis), [s.unsqueeze(1) for s in states]
                lengths = lengths.unsqueeze(0) if isinstance(lengths, Tensor) else lengths
                reset = reset.unsqueeze(axis) if isinstance(reset, Tensor) else reset
            T, B = (x.shape[1], x.shape[0]) if batch_first else (x.shape[0], x.shape[1])

        autocast = dispatch.autocast_type(x) is not None
        checks.features(x, W, self.input_size, autocast)
        if states:
            checks.state_shapes(states, self._state_shapes(B))
            checks.state_types(states, x, W, autocast)
        checks.same_device(x, W)
        checks.has_steps(T)
        checks.lengths_and_reset(x, batch_first, lengths, reset)
        if reset_states:
            checks.has_reset(reset)
            shapes: list[tuple[int, ...]] = [*self._state_shapes(B)]
            if arrangement.unbatched is None:
                checks.reset_states(reset_states, shapes, W, autocast)
            else:
                checks.reset_states(reset_states, [(LD, width) for LD, _, width in shapes], W, autocast)
                reset_states = [s.unsqueeze(1) for s in reset_states]
            reset_states = arrangement.sorted(reset_states)

        if batch_first and self.dropout_between_layers() > 0:  # torch draws its dropout masks in order of time
            x, reset = x.transpose(0, 1), None if reset is None else reset.transpose(0, 1)
            batch_first, arrangement = False, arrangement._replace(transposed=True)
        layout = Layout(batch_first, lengths, batch_sizes, reset)
        return x, arrangement.sorted(states), layout, arrangement, reset_states

    def dropout_between_layers(self) -> float:
        """Probability of zeroing what one stacked layer hands to the next: 0 unless training."""
        return self.dropout if self.training and self.num_layers > 1 else 0.0

    def _unroll(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        layout: Layout,
        weights: list[Weights],
        trace: bool,
        reset_states: Sequence[Tensor],
    ) -> tuple[Tensor, list[Tensor], list[tuple[Tensor, dict[str, Tensor]]]]:
        """Return the output, the final states and, with `trace`, each layer's output and gates."""
        L, D = self.num_layers, 2 if self.bidirectional else 1
        p = self.dropout_between_layers()

        def run_layer(k: int, x: Tensor, h_0: Tensor | None, c_0: Tensor | None) -> LayerResult:
            own, reset_state = weights[k * D : (k + 1) * D], of_layer(reset_states, k, L, D) if reset_states else ZEROS
            return dispatch.run(self.mode, layout, x, h_0, c_0, own, trace, self.checkpoint_steps, reset_state)

        between = partial(self.dropout_function, p=p) if p else None
        outputs, finals, gates = run_stack(run_layer, x, states, L, D, between)
        recorded = [(y.detach().clone(), g) for y, g in zip(outputs, gates, strict=True)] if trace else []
        return outputs[-1], finals, recorded

    def _zeros(self, x: Tensor, layout: Layout) -> list[Tensor]:
        B = batch_size(x, layout.batch_first, layout.batch_sizes, [])
        return [x.new_zeros(shape) for shape in self._state_shapes(B)]

    def _state_shapes(self, B: int) -> list[tuple[int, int, int]]:
        LD = self.num_layers * (2 if self.bidirectional else 1)
        h = (LD, B, self.proj_size or self.hidden_size)
        return [h, (LD, B, self.hidden_size)] if has_cell_state(self.mode) else [h]

    __prepare_scriptable__ = refuse_script

    def save_pretrained(self, folder: str | Path, *, one_hot: bool = False, overwrite: bool = False) -> None:
        """Save the layer so that :func:`unrolled.runtime.load` can run it without torch.

        To save it together with an Embedding before it or a Linear after it, use :func:`unrolled.nn.save`.

        Args:
            folder: created if need be.
            one_hot: whether it reads symbols, as one-hot vectors of its I.
            overwrite: replace a model that is already there.
        Raises: CheckpointError if a model is there and `overwrite` is False, or the files cannot be written.

        >>> from unrolled import runtime
        >>> from unrolled.nn import GRU
        >>> gru, x = GRU(3, 5), torch.randn(7, 3)
        >>> gru.save_pretrained("saved-layer")
        >>> torch.equal(torch.from_numpy(runtime.load("saved-layer").feed(x.numpy())), gru(x)[0].detach())
        True
        """
        save(self, folder, one_hot=one_hot, overwrite=overwrite)

    def weights(self) -> list[Weights]:
        """Return the weights of every layer and direction as they are now: for L layers of D directions, L*D.

        Raises: RuntimeError, as torch's layers, if an attribute that says how many there are was changed by hand.
        """
        weights = []
        for names in self._all_weights:
            present = named(self, names)
            if not self.bias:
                present[2:2] = (None, None)
                if len(present) > 5 + bool(self.proj_size):  # it has biases
                    break
            if len(present) > 4 and not self.proj_size:
                present[4:4] = (None,)
            weights.append(Weights(*present))
        check_count(self, len(weights))
        return weights

    def step(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        reset: Tensor | None = None,
        reset_state: State | None = None,
    ) -> tuple[Tensor, State]:
        """Advance one step of time.

        Args:
            x: (B, I), or (I,) for a single sequence; or one-hot indices, int64 (B,) or ().
            state: as hx of `forward`; zeros if left out.
            reset: bool (B,) or (): the rows whose state returns to zeros before the step, or to `reset_state`.
            reset_state: another state for a reset to return to, shaped as `state`.
        Returns: the output (B, P), without B for a single sequence, and the new state.
        Raises: ValueError for a bidirectional layer, which has no next step.

        >>> from unrolled.nn import GRU
        >>> gru = GRU(4, 6)
        >>> x = torch.randn(5, 3, 4)
        >>> state = None
        >>> for x_t in x:
        ...     y_t, state = gru.step(x_t, state)
        >>> torch.allclose(y_t, gru(x)[0][-1], atol=1e-6)
        True
        """
        if self.bidirectional:
            raise ValueError(
                f"{self.stock.__name__}.step needs a layer of one direction; the reverse one starts at the end"
            )
        no_reset = reset is None and reset_state is None
        plain = no_reset and not self.dropout_between_layers() and not is_hooked(self)
        if plain and type(self).forward is RecurrentLayer.forward:
            found = dispatch.step(self.mode, x, state, self.weights(), stacked=True)
            if found is not None:
                return found  # type: ignore[no-any-return]
        batched = checks.rank(self.stock.__name__, x, lowest=1)
        fit.dense(x, [], [])
        axis = 1 if batched and self.batch_first else 0
        more: dict[str, Any] = {} if no_reset else {"reset": reset, "reset_state": reset_state}
        if reset is not None:
            checks.resets(x, reset)
            more["reset"] = reset.unsqueeze(axis)
        y, state = output_and_state(self, self(x.unsqueeze(axis), state, **more))
        return y.squeeze(axis), state

    def gate(self, name: str, layer: int = 0, reverse: bool = False) -> Tensor:
        """Return the block of one gate, a view: writing to it writes to the layer.

        Args: name as in the equations, "W_if" (H, I), "W_hf" (H, P), "b_if" (H,); "W_ih" and so on for RNN; "W_hr"
            (P, H) of a projected LSTM.  Of a textbook's names "W_xf" is W_if, and "b_f" a new tensor, b_if + b_hf.
        Warns: UserWarning for sharded weights, of which it is a copy.
        Raises: KeyError for a name that this cell lacks, IndexError for a layer, ValueError for a direction.

        >>> from unrolled.nn import LSTM
        >>> lstm = LSTM(4, 6, num_layers=2)
        >>> lstm.gate("W_if", layer=1).shape, lstm.W_ig.shape
        (torch.Size([6, 6]), torch.Size([6, 4]))
        """
        first, *others = (
            modules.block_of(of, getattr(self, of), rows) for of, rows in self._blocks(name, layer, reverse)
        )
        return sum(others, first)

    def gate_grad(self, name: str, layer: int = 0, reverse: bool = False) -> Tensor | None:
        """Return the gradient of the block of one gate, a view of the stored weight's; None if that has none.

        Args, Raises: as :meth:`gate`, of which a view has no ``grad`` of its own.

        >>> from unrolled.nn import LSTM
        >>> lstm = LSTM(4, 6)
        >>> lstm(torch.randn(5, 3, 4))[0].sum().backward()
        >>> torch.equal(lstm.gate_grad("W_hf"), lstm.weight_hh_l0.grad[6:12])
        True
        """
        # The biases of a sum have the same gradient, unless one of them is frozen.
        found = [(of, modules.gradient(self, of), rows) for of, rows in self._blocks(name, layer, reverse)]
        return next((modules.block_of(of, grad, rows) for of, grad, rows in found if grad is not None), None)

    def _blocks(self, name: str, layer: int, reverse: bool) -> list[tuple[str, slice | None]]:
        """Return the stored weights whose rows, None for all, add up to what has this name."""
        check_value("name", name, str)
        check_value("layer", layer, Index)
        if not 0 <= layer < self.num_layers:
            raise IndexError(f"layer is {layer}, expected 0 to num_layers - 1 = {self.num_layers - 1}")
        if reverse and not self.bidirectional:
            raise ValueError("reverse=True needs a bidirectional layer")
        if name == "W_hr" and self.proj_size:
            return [(stored_name("W_hr", layer, reverse), None)]
        blocks = {known: (stem, block) for known, stem, block in gate_parameters(self.mode)}
        names = textbook_names(self.mode).get(name, (name,))
        if names[0] not in blocks:
            raise KeyError(f"{self.stock.__name__} has no {name!r}; it has {', '.join(blocks)}")
        suffix, H = f"_l{layer}" + ("_reverse" if reverse else ""), self.hidden_size
        return [(stem + suffix, slice(block * H, (block + 1) * H)) for stem, block in map(blocks.__getitem__, names)]

    def __getattr__(self, name: str) -> Any:
        """Return a parameter; of a weight that has another name here, say which."""
        try:
            return super().__getattr__(name)
        except AttributeError as error:
            if name[:2] not in ("W_", "U_", "b_") or "mode" not in self.__dict__:
                raise
            why = name_here(self.mode, name) if self.bias or name[0] != "b" else "it was made with bias=False"
            raise AttributeError(f"{error}; {why}", name=name, obj=self) from None

    def to_torch(self) -> torch.nn.RNNBase:
        """Return torch's own layer, sharing this layer's Parameters.

        Raises: TypeError if torch has no such layer.

        >>> from unrolled.nn import GRU
        >>> GRU(4, 6, bidirectional=True).to_torch()
        GRU(4, 6, bidirectional=True)
        """
        if self.beyond_torch:
            raise TypeError(f"torch has no layer like {type(self).__name__}, which computes {self.mode}")
        return sharing_parameters(self, self.stock)
