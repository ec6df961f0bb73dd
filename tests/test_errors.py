"""Errors of the package go from one process to another: a pool waits forever for one that cannot be unpickled."""

import pickle

import torch

from unrolled.nn.reach import Unseen
from unrolled.views.page.errors import RequestError


def test_errors_with_arguments_of_their_own_come_back_whole():
    for error in (
        Unseen.of("x", torch.zeros(3), "leave the mode"),
        RequestError(404, "no such model", {"Allow": "GET"}),
    ):
        back = pickle.loads(pickle.dumps(error))
        assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))
