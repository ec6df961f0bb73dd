"""The compiled core as numpy code meets it: single steps and the choice of symbols."""
