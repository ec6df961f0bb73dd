"""Forecasting how long an experiment takes is itself quick."""

import pytest

from unrolled.config.lab import LabConfig
from unrolled.lab import forecast
from unrolled.languages import get


@pytest.mark.parametrize(("long", "timed"), [(0.0, [1]), (1e9, [1, forecast.STEPS])])
def test_forecast_of_slow_steps_times_one(monkeypatch, long, timed):
    done, train = [], forecast.train

    def counting(models, examples, config):
        done.append(config.steps)
        train(models, examples, config)

    monkeypatch.setattr(forecast, "train", counting)
    monkeypatch.setattr(forecast, "LONG", long)
    forecast.forecast(get("anbn"), LabConfig(seeds=1, steps=100, lengths="uniform:1-5"), limit=9)
    assert done == timed
