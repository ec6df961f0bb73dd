"""How autograd, torch.func and torch.compile each learn of the compiled core."""
