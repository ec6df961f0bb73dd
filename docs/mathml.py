"""Equations as MathML, which a browser draws by itself: the built pages need neither a network nor a script."""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml


def written(latex, *, block):
    r"""Return an equation as MathML, and its number in parentheses if it has a \tag, else "".

    >>> written(r"a = b \tag{3}", block=True)[1]
    '(3)'
    """
    number = re.search(r"\\tag\{(.+?)\}", latex)
    mathml = tex2mathml(latex.replace(number[0], "") if number else latex, as_block=block)
    return mathml, f"({number[1]})" if number else ""


def inline(page, node):
    page.body.append(written(node.astext(), block=False)[0])
    raise nodes.SkipNode


def block(page, node):
    mathml, number = written(node.astext(), block=True)
    page.body.append(f'<div class="math-block"><div>{mathml}</div><span>{number}</span></div>\n')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.add_css_file("pages.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
