"""How fast this machine trains, measured in a second, and the recipe that follows from it."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import Any

import torch

from unrolled.config.checks import Precision, bytes_of
from unrolled.config.model import ModelConfig
from unrolled.config.training import ENDS, TrainingConfig
from unrolled.core import has_bfloat16_units
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sharing import Alone
from unrolled.corpus.splitting import beginning
from unrolled.lm.gradients import gradient_function
from unrolled.lm.loader import BatchLoader
from unrolled.lm.memory import Largest, fitted, parameters
from unrolled.lm.model import SequenceModel
from unrolled.lm.optimisers import Optimiser
from unrolled.lm.parallel.joining import join
from unrolled.lm.recipe import NOMINAL, Choice, Facts, Recipe, Speed, choose, samples_for
from unrolled.lm.sampled_softmax import SampledSoftmax
from unrolled.words import counted

#: Hidden sizes that are timed, the steps of each after the first, and the seconds after which no further one is begun.
SMALL, LARGE, STEPS, SECONDS = 64, 384, 9, 0.5
#: Share of the seconds of bfloat16 below which float32 is taken, so that noise alone does not choose.
CLEARLY = 0.95
#: The batches that are timed, and the symbols of them all; longer sequences than LONGEST are timed as a stream.
BATCHES = TrainingConfig(batch_size=16, bptt=64, max_steps=1)
TIMED, LONGEST = BATCHES.batch_size * BATCHES.bptt * (STEPS + 1), 1024


def recipe_for(
    corpus: Corpus, *, begun: bool = False, memory: str | None = None, ranks: Alone | None = None, **given: Any
) -> Recipe:
    """Return the recipe for training on a corpus on this machine.

    A run of given steps or epochs is planned without a look at the clock, so that the same call plans the same run.

    Args:
        corpus: the data.
        begun: whether a trained model learns it.
        memory: what this process may take at most, such as "2GB"; None for what is free.
        ranks: the processes that will share the run, all of which call this; by default those of torchrun.
        given: fields of ModelConfig and TrainingConfig, which keep their values; max_minutes is the time to train in.

    Raises: TypeError if there is no such field; ValueError if one is out of its range.

    >>> corpus = Corpus.from_text("To be, or not to be, that is the question. " * 50)
    >>> recipe = recipe_for(corpus, max_epochs=3, cell="gru")
    >>> recipe.model.cell, recipe.training.max_epochs, recipe.training.schedule
    ('gru', 3, 'cosine')
    """
    ranks = ranks or join()
    timed = given.get("max_minutes") or not any(given.get(end) for end in ENDS)
    precision = given.get("precision")
    samples = given.get("softmax_samples", samples_for(len(corpus.vocabulary)))
    if timed:
        speed = measured_speed(corpus, precision, samples)
    else:
        speed = NOMINAL._replace(precision=precision or likely_precision())
    speed = Speed(*ranks.told(speed)).of_several(ranks.size)
    recipe = choose(Facts.of(corpus, begun, ranks.size), speed, given)
    return recipe if "checkpoint_steps" in given else _that_fits(recipe, corpus, memory, ranks)


def _that_fits(recipe: Recipe, corpus: Corpus, memory: str | None, ranks: Alone) -> Recipe:
    """Return the recipe for a model that recomputes its gates if training it would not fit into memory otherwise."""
    largest = Largest.of(corpus.train, corpus.stream, recipe.training).shared(ranks.size)
    limit = None if memory is None else bytes_of("memory", memory)
    model = fitted(recipe.model, len(corpus.vocabulary), recipe.training, largest, limit)
    model = replace(model, checkpoint_steps=ranks.told(model.checkpoint_steps))
    if model == recipe.model:
        return recipe
    reason = f"the gates of {counted(largest.symbols, 'symbol')} would not fit into memory"
    choice = Choice("checkpoint_steps", model.checkpoint_steps, reason)
    return replace(recipe, model=model, choices=(*recipe.choices, choice))


def measured_speed(corpus: Corpus, precision: Precision | None = None, samples: int = 0) -> Speed:
    """Train an LSTM of two sizes for a moment on the corpus's beginning; return what a symbol and a parameter take.

    Each batch draws so many samples for its softmax, 0 for none.  Without a type it is the faster one, which units for
    bfloat16 do not always make bfloat16.  Torch's random numbers stay as they were.
    """
    configs = [ModelConfig(hidden_size=H, embedding_size=32, dropout=0.1) for H in (SMALL, LARGE)]
    V = len(corpus.vocabulary)
    with torch.random.fork_rng(devices=[]):
        if precision is None and (precision := likely_precision()) == "bfloat16":
            wide, narrow = (_seconds_a_symbol(configs[1], corpus, each, samples) for each in ("float32", "bfloat16"))
            precision = "float32" if wide < CLEARLY * narrow else "bfloat16"
        small, large = (_seconds_a_symbol(config, corpus, precision, samples) for config in configs)
    P_small, P_large = (parameters(config, V) for config in configs)
    parameter = max(large - small, large / 10) / (P_large - P_small)
    return Speed(max(small - parameter * P_small, small / 10), parameter, precision)


def likely_precision() -> Precision:
    """Return the type in which this processor most likely trains fastest."""
    return "bfloat16" if has_bfloat16_units() else "float32"


def _seconds_a_symbol(config: ModelConfig, corpus: Corpus, precision: Precision, samples: int) -> float:
    model = SequenceModel(config, corpus.vocabulary, framed=not corpus.stream).train()
    part = beginning(corpus.train, TIMED)
    sampled = SampledSoftmax.of(part, len(corpus.vocabulary), samples) if samples else None
    optimiser, add_gradients = Optimiser(model, BATCHES), gradient_function(model, precision, sampled)
    stream = corpus.stream or int(part.lengths.max()) > LONGEST
    loader = BatchLoader(part, stream, BATCHES.batch_size, BATCHES.bptt, seed=0)
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) <= STEPS and (len(taken) < 2 or time.perf_counter() - began < SECONDS):
        batch, before = loader.next(), time.perf_counter()
        add_gradients(model, batch, None)
        optimiser.step(batch.N, optimiser.gradient_norm(batch.N), 1e-9)
        taken.append((time.perf_counter() - before) / batch.N)
    return statistics.median(taken[1:])
