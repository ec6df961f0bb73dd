"""How new symbols are chosen: the options, checked on creation.  No numpy here: `unrolled --help` reads this module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from unrolled.config.checks import Count, PositiveInt, Seed, check_fields
from unrolled.config.options import idle_of, option


@dataclass(frozen=True)
class GenerationConfig:
    """How new symbols are chosen.

    Attributes:
        max_length: Most symbols to write after the prompt; EOS counts as one.
        strategy: How to choose the next symbol: at random (sample), the most likely (greedy), or by a search for the
            most likely text (beam).
        temperature: Divides the logits; below 1 is safer, above 1 is wilder.
        top_k: Draw only from the k likeliest symbols; 0 means all.
        top_p: Draw only from the likeliest symbols that together reach this probability; 1 means all.
        min_p: Draw only from symbols at least this share as likely as the likeliest; 0 means all.
        beam_width: Texts that the beam strategy keeps.
        seed: Seed of the draws; text number b of a batch depends only on (seed, b).
        stop: End a text just before this would appear; if empty, never.
        allow_unk: Allow UNK in the text; it stands for no particular symbol.
    """

    max_length: PositiveInt = 200
    strategy: Literal["sample", "greedy", "beam"] = "sample"
    temperature: Annotated[float, Meta(ge=1e-6, le=1e6)] = 1.0
    top_k: Count = 0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0.0
    beam_width: PositiveInt = 4
    seed: Seed = 0
    stop: str = ""
    allow_unk: bool = False

    def __post_init__(self) -> None:
        if self.temperature == 0:
            greedy = option("strategy", "greedy")
            raise ValueError(f"{option('temperature')} is 0; to take the likeliest symbol each time, use {greedy}")
        check_fields(self)

    def without_effect(self) -> dict[str, str]:
        """Return the options that are set and do nothing beside the strategy, each with why.

        >>> GenerationConfig(strategy="greedy", top_k=3).without_effect()
        {'top_k': 'greedy draws nothing'}
        """
        idle: dict[str, str] = {}
        if self.strategy != "sample":
            idle = dict.fromkeys(("temperature", "top_k", "top_p", "min_p", "seed"), f"{self.strategy} draws nothing")
        if self.strategy != "beam":
            idle["beam_width"] = f"only {option('strategy', 'beam')} keeps several texts"
        return idle_of(self, idle)
