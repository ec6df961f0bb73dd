"""See inside a model: what it computed as arrays, and pictures, reports and explanations made from them."""
