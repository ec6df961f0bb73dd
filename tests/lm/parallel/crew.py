"""Several processes, as threads of one: each with its own connections, models and files, without the time of a start.

They are on one machine and share memory, unless they are said to be apart.  What the threads share beside it is torch's
random numbers and signals: dropout and SIGTERM are tested in real processes.
"""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch.distributed import HashStore

from unrolled.lm.model import SequenceModel
from unrolled.lm.parallel.meeting import meet
from unrolled.lm.training import train


def crew(size, work, timeout=20.0, coming=None, apart=False):
    """Return what work(ranks) returns or raises in each process; those that do not come return None."""
    store, met = HashStore(), []

    def one(rank):
        if coming is not None and rank not in coming:
            return None
        try:
            ranks = meet(store, rank, size, timeout)
            met.append(ranks)
            if not apart:
                ranks.gather()
            return work(ranks)
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        ended = list(pool.map(one, range(size)))
    for ranks in met:
        ranks.close()
    return ended


def trained_by(size, corpus, model, training, out=None, changed=lambda model: model, apart=False, **how):
    """Return (model, result) of each process that trains one model with the others, or what it raises."""
    models = []
    for _ in range(size):
        torch.manual_seed(training.seed)
        models.append(changed(SequenceModel(model, corpus.vocabulary, framed=not corpus.stream)))

    def work(ranks):
        own = models[ranks.share.rank]
        return own, train(own, corpus, training, out, ranks=ranks, **how)

    return crew(size, work, apart=apart)
