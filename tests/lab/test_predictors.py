"""Torch models as predictors: chunks, rows and other models change no bit."""

import numpy as np
import pytest
import torch

from unrolled.lab.golden import golden
from unrolled.lab.predictors import ModelPredictor, first_failing_sizes, margins
from unrolled.languages import Lengths, evaluate, first_failing, get, judge, judging, scan
from unrolled.languages.judging import Marked
from unrolled.lm import ModelConfig, SequenceModel


def untrained(language, H, seed=0):
    torch.manual_seed(seed)
    return SequenceModel(ModelConfig(hidden_size=H), language.vocabulary)


def test_models_measured_together_are_right_where_each_is_alone():
    language = get("anbncn")
    models = [golden("anbncn", "lstm"), *(untrained(language, 3, seed) for seed in range(2))] * 9
    sizes = [1, 2, 3, 70, 333]
    together = margins(models, language, sizes, "sets")
    alone = [scan(ModelPredictor(model), language, sizes, strings=10) > 0 for model in models]
    assert ((together > 0) == np.array(alone)).all()


def test_first_failing_sizes_are_those_of_each_model_alone():
    language = get("dyck-1")
    models = [golden("dyck-1"), *(untrained(language, 1, seed) for seed in range(5))]
    alone = [first_failing(ModelPredictor(model), language, 70, strings=10).n for model in models]
    assert first_failing_sizes(models, language, 70, "sets") == alone
    assert alone[0] is None


def test_untrained_model_is_wrong_by_every_criterion():
    language = get("anbn")
    predictor = ModelPredictor(untrained(language, 3, 1))
    for criterion in ("sets", "argmax", "khot"):
        assert first_failing(predictor, language, 50, criterion).n in (1, 2)


class RowByRow(ModelPredictor):
    """One whose head is applied to one row at a time: torch's sums depend on how many it is given."""

    def advance(self, ids, state):
        with torch.inference_mode():
            y, state = self.model.rnn(torch.from_numpy(ids), state)
            W, b = (w.detach().numpy() for w in (self.model.W_hy, self.model.b_y))
        return np.array([[(W * row).sum(1) + b for row in step] for step in y.numpy()]), state


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 18])
def test_chunks_change_no_bit(monkeypatch, chunk):
    language = get("anbncn")
    predictor = RowByRow(untrained(language, 5))
    marked = [Marked(language.probes(np.random.default_rng(0), n)[0], language.vocabulary) for n in (1, 3, 9)]
    whole = judge(predictor, marked, ["sets", "argmax"], measured=True)
    monkeypatch.setattr(judging, "CHUNK", chunk)
    parts = judge(predictor, marked, ["sets", "argmax"], measured=True)
    assert all(np.array_equal(whole.margins[r], parts.margins[r]) for r in whole.margins)
    assert np.allclose(whole.nats, parts.nats, rtol=1e-12)  # sums of another order
    assert np.array_equal(whole.hits, parts.hits)


def test_other_rows_of_a_batch_change_no_bit():
    language = get("dyck-1")
    predictor = ModelPredictor(untrained(language, 5))
    runs = [runs for n in (2, 5, 11) for runs in language.probes(np.random.default_rng(n), n, 3)]
    marked = [Marked(run, language.vocabulary) for run in runs]
    together = judge(predictor, marked, measured=True)
    alone = [judge(predictor, [one], measured=True) for one in marked]
    margins = [one.margins["sets"][0] for one in alone]
    assert np.allclose(together.nats, [one.nats[0] for one in alone], rtol=1e-12)
    exact = [(m, a) for m, a in zip(together.margins["sets"], margins, strict=True) if m > 0]
    assert all(m == a for m, a in exact)


def test_evaluation_of_drawn_strings_depends_on_the_seed_alone():
    predictor, language, lengths = ModelPredictor(golden("dyck-1")), get("dyck-1"), Lengths("uniform:1-9")
    found = [evaluate(predictor, language, lengths, strings=40, seed=seed) for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]
    assert not found[0].exhaustive
    assert found[0].exact == 1
