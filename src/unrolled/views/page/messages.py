"""What goes over the wire: every request and every answer, once, for decoding, encoding and the OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from unrolled.config.generation import GenerationConfig

Count = Annotated[int, Meta(ge=0)]
#: The most units that are drawn as lines at a time: as many as there are colours that can be told apart.
UNITS = 6


class Problem(Struct, frozen=True):
    """Why a request was not done."""

    error: Annotated[str, Meta(description="What is wrong and what to do, in one sentence.")]


class ArrayCard(Struct, frozen=True):
    """One gate or state that can be looked at."""

    name: Annotated[str, Meta(description="Its letter in the equations.")]
    title: str
    low: Annotated[float | None, Meta(description="The least it can be; null if nothing bounds it.")]
    high: Annotated[float | None, Meta(description="The most it can be; null if nothing bounds it.")]


class ModelCard(Struct, frozen=True):
    """What one model is."""

    name: str
    kind: Annotated[str, Meta(description="Of cell: RNN_TANH, RNN_RELU, LSTM or GRU.")]
    L: Annotated[int, Meta(description="Layers.", ge=1)]
    H: Annotated[int, Meta(description="Hidden units of each layer.", ge=1)]
    V: Annotated[int, Meta(description="Symbols, EOS and UNK among them.", ge=2)]
    parameters: Annotated[int, Meta(description="Learned numbers.", ge=1)]
    symbols: Annotated[str, Meta(description="What one symbol is: characters, words, bytes or symbols.")]
    framed: Annotated[bool, Meta(description="Whether it learned sequences that end with EOS.")]
    arrays: list[ArrayCard]


class ServerLimits(Struct, frozen=True):
    """How much the server takes on."""

    body_bytes: Annotated[int, Meta(description="Largest request, in bytes.")]
    text_symbols: Annotated[int, Meta(description="Longest text to look into or to go on from, in symbols.")]
    written_symbols: Annotated[int, Meta(description="Most symbols of one generation.")]
    writing_seconds: Annotated[float, Meta(description="Longest time of one generation, in seconds.")]
    units: Annotated[int, Meta(description="Most units whose values one request may ask for.")]


class Models(Struct, frozen=True):
    """Every model of this server, in the order they were named, and its limits."""

    models: list[ModelCard]
    limits: ServerLimits


class ViewRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A text to look into."""

    text: str
    layer: Annotated[Count, Meta(description="From 0.")] = 0
    array: Annotated[str, Meta(description="The gate or state to show, one of the model's arrays.")] = "h"
    units: Annotated[list[Count], Meta(description="Units to give the values of, from 0.", max_length=UNITS)] = []


class Heat(Struct, frozen=True):
    """An array (T, H) in 256 steps."""

    T: Annotated[int, Meta(description="Symbols read.", ge=0)]
    H: Annotated[int, Meta(description="Units.", ge=1)]
    low: Annotated[float, Meta(description="What byte 0 stands for; of an array without bounds, or anything below.")]
    high: Annotated[float, Meta(description="What byte 255 stands for; of an array without bounds, or anything above.")]
    data: Annotated[str, Meta(description="Base64 of T * H bytes; the H units of the first symbol come first.")]


class Line(Struct, frozen=True):
    """One unit over time."""

    unit: Count
    values: Annotated[list[float], Meta(description="After each symbol, T of them.")]


class Next(Struct, frozen=True):
    """What may come next before the first symbol and after each: T + 1 rows, the likeliest symbol first."""

    symbols: list[list[str]]
    probabilities: list[list[float]]


class View(Struct, frozen=True):
    """What a model does while it reads a text of T symbols."""

    symbols: Annotated[list[str], Meta(description="As they are shown; joined, the text.")]
    unknown: Annotated[list[int], Meta(description="Which of them were read as UNK, from 0.")]
    bits: Annotated[list[float], Meta(description="-log2 p of each symbol given those before it.")]
    next: Next
    heat: Heat
    lines: list[Line]
    seconds: Annotated[float, Meta(description="Time spent in the model.", ge=0)]


class GradientRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A text at whose last step, T, gradients start."""

    text: str
    of: Annotated[
        Literal["symbols", "loss", "state"],
        Meta(
            description="symbols: of the likeliest next symbol's logit by each symbol read.  loss: of the likeliest "
            "next symbol's loss by each state.  state: of the last state by each state before, by exact Jacobians."
        ),
    ] = "symbols"
    layer: Annotated[Count, Meta(description="From 0; symbols enter the model below all layers.")] = 0


class Gradient(Struct, frozen=True):
    """The size of one gradient against the lag."""

    by: Annotated[Literal["x", "h", "c"], Meta(description="The symbol read, the hidden state or the cell state.")]
    norms: Annotated[list[float], Meta(description="At lag T - t = 0, 1, ...; of a matrix its largest singular value.")]


class Gradients(Struct, frozen=True):
    """How far back the end of a text depends on its past; no gradient for a text without symbols."""

    gradients: list[Gradient]
    cut: Annotated[bool, Meta(description="Whether there are larger lags, which would have taken too long.")]
    singular: Annotated[
        dict[str, float],
        Meta(description="With of = state: the largest singular value of each gate's block of W_hh."),
    ]
    seconds: Annotated[float, Meta(description="Time spent in the model.", ge=0)]


class GenerateRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A text to go on from, and how symbols are chosen."""

    prompt: str = ""
    symbols_per_second: Annotated[float, Meta(description="How fast to write; 0 is as fast as possible.", ge=0)] = 0
    max_length: Annotated[int, Meta(description="Most symbols to write.", ge=1)] = GenerationConfig.max_length
    strategy: Literal["sample", "greedy"] = "sample"
    temperature: Annotated[float, Meta(gt=0)] = GenerationConfig.temperature
    top_k: Annotated[Count, Meta(description="0 is all.")] = GenerationConfig.top_k
    top_p: Annotated[float, Meta(description="1 is all.", gt=0, le=1)] = GenerationConfig.top_p
    min_p: Annotated[float, Meta(description="0 is all.", ge=0, le=1)] = GenerationConfig.min_p
    seed: Count = GenerationConfig.seed
    allow_unk: bool = GenerationConfig.allow_unk

    def options(self) -> GenerationConfig:
        """Return how symbols are chosen, as the runtime takes it.

        Raises: ValueError naming the option that is out of its range.
        """
        names = set(self.__struct_fields__) & set(GenerationConfig.__dataclass_fields__)
        return GenerationConfig(**{name: getattr(self, name) for name in names})


class Piece(Struct, frozen=True):
    """Event `piece`: text that was just written."""

    text: str


class End(Struct, frozen=True):
    """Event `end`: nothing more will come."""

    reason: Annotated[Literal["EOS", "length", "time"], Meta(description="What ended it.")]
    symbols: Annotated[int, Meta(description="Symbols written, EOS not counted.", ge=0)]
    seconds: Annotated[float, Meta(description="From the request to the end.", ge=0)]
