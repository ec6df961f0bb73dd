"""The compiled core as an operation of autograd, of torch.func and of torch.compile."""
