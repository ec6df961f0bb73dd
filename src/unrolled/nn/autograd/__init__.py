"""The compiled core as an operation of autograd, of torch.func and of torch's dispatcher."""

from unrolled.nn.autograd import registered as registered  # nothing else imports what it tells torch
