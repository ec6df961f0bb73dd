"""Which models and limits a server refuses."""

import pytest
import torch

from tests.views.browser.serving import serving
from unrolled.config.model import ModelConfig
from unrolled.config.server import Limits
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary


def test_model_that_is_not_finite_is_not_served():
    model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab"))
    with torch.no_grad():
        model.head.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"head\.weight holds NaN"), serving({"a": model}):
        pass
    with pytest.raises(ValueError, match="no model to serve"), serving({}):
        pass


@pytest.mark.parametrize("field", ["body_bytes", "text_symbols", "written_symbols", "requests", "threads"])
def test_limits_below_one_are_refused(field):
    with pytest.raises(ValueError, match=f"{field} is 0"):
        Limits(**{field: 0})
