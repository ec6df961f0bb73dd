"""What is saved of a model: tokenizers and vocabulary, atomic files, the model's folder; no torch.

Other formats, in or out, are files beside model.py, which says what a saved model holds.
"""
