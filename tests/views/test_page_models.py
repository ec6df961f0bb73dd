"""Which models and limits a server refuses."""

import json

import pytest
import torch

from tests.views.browser.serving import serving
from unrolled.config.model import ModelConfig
from unrolled.config.server import Limits
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary
from unrolled.views.page.models import load


def test_model_that_is_not_finite_is_not_served():
    model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab"))
    with torch.no_grad():
        model.head.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"head\.weight holds NaN"), serving({"a": model}):
        pass
    with pytest.raises(ValueError, match="no model to serve"), serving({}):
        pass


@pytest.mark.parametrize("name", ["", "..", "runs/lstm", "b\udce9"])
def test_name_that_no_address_can_hold_is_refused(name):
    """Its page was there, and nothing on it."""
    model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab"))
    with pytest.raises(ValueError, match="which cannot be part of a URL"), serving({name: model}):
        pass


def test_folder_whose_name_is_not_utf8_is_served(tmp_path):
    folder = tmp_path / "b\udce9"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab")).save_pretrained(folder)
    with serving(load([folder])) as server:
        status, _, answer = server.get("/api/models")
        assert (status, json.loads(answer)["models"][0]["name"]) == (200, r"b\xe9")
        assert server.ask(r"b%5cxe9", "view", text="a")[0] == 200


@pytest.mark.parametrize("field", ["body_bytes", "text_symbols", "written_symbols", "requests", "threads"])
def test_limits_below_one_are_refused(field):
    with pytest.raises(ValueError, match=f"{field} is 0"):
        Limits(**{field: 0})
