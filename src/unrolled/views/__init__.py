"""See inside a model: what it computed as arrays, and pictures, reports and explanations made from them.

A new view: its arrays in a file here, a plot in a plots_*.py, its maker in commands/pictures.py.
"""
