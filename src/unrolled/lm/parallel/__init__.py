"""Training in several processes that torchrun has started: one model, of every batch a part for each.

`joining` and `meeting` find the others, `watch` knows who of them lives, `ranks` has what they do together, `exchange`
sums their gradients, and `comparison` says in what they differ.  What a process does that is alone is in
unrolled.corpus.sharing.
"""
