"""Hyperparameters of the laboratory that are refused."""

import pytest

from unrolled.config.lab import LabConfig


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"choose_up_to": 101}, "a size from 51 to 100"),
        ({"choose_up_to": 50}, "beyond the longest of training"),
        ({"cell_noise": 0.1, "cell": "gru"}, "must be 0, for gru has no cell state"),
        ({"curriculum": 1.5}, "curriculum is 1.5"),
        ({"average": -0.1}, "average is -0.1"),
    ],
)
def test_impossible_hyperparameters_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        LabConfig(**options)
