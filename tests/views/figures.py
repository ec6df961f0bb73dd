"""What the tests of plots read back from a figure, and symbols that could break its text."""

HOSTILE = ["<script>", "$x_1^2$", "\n", " ", "\u0000", "中"]


def texts(figure):
    return [each.get_text() for axes in figure.axes for each in axes.texts]


def drawn(axes):
    return {line.get_label(): line.get_ydata() for line in axes.lines if not line.get_label().startswith("_")}
