"""Typeset formulas, written in Unicode: √ᾱ_t x_0 + √(1−ᾱ_t) ε becomes MathML in the finished page.

Docstrings must be legible in an editor, so their formulas are Unicode in any case. Dollar maths on
the pages would be a second way to write the same formula, so this one serves both.

    mathml("√ᾱ_t x_0")                    # <math>…</math>
    list(formulas("it is x_t at last"))   # ["it is ", Formula("x_t", "<math>…</math>"), " at last"]

Browsers show MathML by themselves: no script, no fonts, nothing fetched, and it takes the colour of
the text, light or dark. Code and headings are left alone.

A formula is the longest run that can be parsed as one and holds something that prose does not, such
as x_t, x̂, ε, √ or 2ⁿ.
"""

import re
import unicodedata
from html import escape
from typing import NamedTuple

# hat, tilde, macron, overline
ACCENTS = {"\u0302": "ˆ", "\u0303": "˜", "\u0304": "¯", "\u0305": "¯"}
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₜ", "0123456789+−t"))
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿᵀˣ½", "0123456789−+nTx½"))

SUB = (
    r"_\{[^{}]+\}|_(?:skip|out|in|[A-Za-zα-ωΑ-Ω]|\d+)(?![A-Za-z0-9_])"
    rf"|[{''.join(SUBSCRIPTS)}]+"
)
SUP = rf"\^(?:\{{[^{{}}]+\}}|[-−]?\w+)|[{''.join(SUPERSCRIPTS)}]+"
NAMES = "log|exp|sin|cos|tanh|min|max|softmax|sigmoid|SNR|Uniform|U-Net"
TOKEN = re.compile(
    rf"""
    (?P<space>\s+)
  | (?P<number>(?P<digits>\d+(?:\.\d+)?|(?<![\w)])\.\d+)(?P<power>{SUP})?(?![A-Za-z0-9_]))
  | (?P<function>(?P<name>{NAMES})(?P<of>{SUB})?(?![\w-]))
  | (?P<letter>(?P<base>[A-Za-zα-ωΑ-Ω∇∂])(?P<accent>[{"".join(ACCENTS)}])?
        (?P<sub>{SUB})?(?P<sup>{SUP})?(?:(?![\w-])|(?<=[∇∂])))
  | (?P<word>\w[\w\u0300-\u036f-]*)
  | (?P<operator>\.\.|[-=+−·×/<>≤≥~←→≈∈±|,])
  | (?P<open>[(\[{{])
  | (?P<close>(?P<bracket>[)\]}}])(?P<after>{SUP})?)
  | (?P<norm>‖(?P<squared>{SUP})?)
  | (?P<root>√)
  | (?P<other>.)
""",
    re.VERBOSE | re.DOTALL,
)
OPERANDS = ("number", "function", "letter", "root", "open", "norm", "operator")


class Formula(NamedTuple):
    text: str
    mathml: str


class _NoFormula(Exception):
    pass


def formulas(text):
    """The pieces of a text in order: strings, and a Formula where there is one."""
    tokens, i, prose = _tokens(text), 0, ""
    while i < len(tokens):
        formula, end = _formula_at(tokens, i)
        if formula is None:
            prose, i = prose + tokens[i].group(), i + 1
            continue
        if prose:
            yield prose
        yield formula
        prose, i = "", end
    if prose:
        yield prose


def _formula_at(tokens, i):
    """The Formula that begins at token i, and the number of the token after it, or (None, i)."""
    parser = _Parser(tokens, i)
    try:
        content = parser.sum()
    except _NoFormula:
        return None, i
    if not parser.strong:
        return None, i
    source = "".join(token.group() for token in tokens[i : parser.i])
    return Formula(source, f"<math>{content}</math>"), parser.i


def mathml(text):
    """The whole text as one formula. Raises ValueError if it cannot be parsed as one."""
    found = list(formulas(text))
    if len(found) != 1 or isinstance(found[0], str):
        raise ValueError(f"mathml: expected a formula, got {text!r}")
    return found[0].mathml


def _tokens(text):
    return list(TOKEN.finditer(unicodedata.normalize("NFD", text)))


class _Parser:
    """Recursive descent: operands with operators between; two side by side are a product.

    `strong`: it has met something that prose does not have. `last_strong`: in the last operand.
    Each kind of operand has a method of its name, which takes its first token.
    """

    def __init__(self, tokens, i, inside=False):
        self.tokens, self.i, self.inside = tokens, i, inside
        self.strong = self.last_strong = False

    def kind(self):
        return self.tokens[self.i].lastgroup if self.i < len(self.tokens) else None

    def sum(self):
        parts = [self.operand()]
        while self.kind():
            start, space = self.i, False
            if self.kind() == "space" and self.tokens[self.i].group() in (" ", "\n"):
                space, self.i = True, self.i + 1
            try:
                parts += self.joined(space)
            except _NoFormula:
                self.i = start
                break
        return "".join(parts)

    def joined(self, space):
        """What follows an operand: an operator and another operand, or one beside it."""
        if not self.kind():
            raise _NoFormula
        token, kind = self.tokens[self.i], self.kind()
        if kind == "operator" and (self.inside or token.group() not in "|,-"):
            self.i += 1
            if self.kind() == "space":
                self.i += 1
            return [_operator(token.group()), self.operand()]
        if kind == "operator":  # a sign does not begin a factor
            raise _NoFormula
        strong, last_strong = self.strong, self.last_strong
        after_function = self.tokens[self.i - 1 - space].lastgroup == "function"  # sin ω
        applied = token.group() == "(" and not space  # q(x)
        operand = self.operand()
        # Prose, too, puts a letter beside a formula: in "a x_0" the a is none of it.
        letter = kind == "letter" and token.group() not in "aAI"
        product = self.last_strong and not space or last_strong and (self.last_strong or letter)
        if not (self.inside or applied or product or after_function and kind == "letter"):
            self.strong, self.last_strong = strong, last_strong
            raise _NoFormula
        return [operand] if applied else ['<mspace width="0.17em"></mspace>', operand]

    def operand(self):
        kind = self.kind()
        if kind not in OPERANDS:
            raise _NoFormula
        token, self.i, self.last_strong = self.tokens[self.i], self.i + 1, False
        return getattr(self, kind)(token)

    def number(self, token):
        return self.scripted(f"<mn>{token['digits']}</mn>", None, token["power"])

    def function(self, token):
        return self.scripted(f"<mi>{token['name']}</mi>", token["of"], None)

    def letter(self, token):
        letter = token["base"]
        base = f"<mo>{letter}</mo>" if letter in "∇∂Σ" else f"<mi>{letter}</mi>"
        if token["accent"]:
            # Marked as an accent it would touch the letter in fonts not made for mathematics.
            accent = _fixed(ACCENTS[token["accent"]])
            base = f"<mover>{base}{accent}</mover>"
        out = self.scripted(base, token["sub"], token["sup"])
        if not letter.isascii() or token["accent"]:
            self.mark()
        return out

    def root(self, token):
        bare = self.kind() == "open"  # the root covers what the brackets held together
        inner = self.operand()
        if bare:
            inner = inner.removeprefix(f"<mrow>{_fixed('(')}").removesuffix(f"{_fixed(')')}</mrow>")
        self.mark()
        return f"<msqrt>{inner}</msqrt>"

    def open(self, token):
        inner, close = self.group("close")
        base = f"<mrow>{_fixed(token.group())}{inner}{_fixed(close['bracket'])}</mrow>"
        return self.scripted(base, None, close["after"])

    def norm(self, token):
        if token["squared"]:  # a norm that closes before it opens
            raise _NoFormula
        inner, close = self.group("norm")
        self.mark()
        return self.scripted(
            f"<mrow>{_fixed('‖')}{inner}{_fixed('‖')}</mrow>", None, close["squared"]
        )

    def operator(self, token):
        if token.group() != "−":
            raise _NoFormula
        return _operator("−") + self.operand()

    def group(self, end):
        """What stands between a bracket and the one that closes it, and that one."""
        inner = _Parser(self.tokens, self.i, inside=True)
        out = inner.sum()
        if inner.kind() != end:
            raise _NoFormula
        close, self.i = self.tokens[inner.i], inner.i + 1
        self.strong, self.last_strong = self.strong or inner.strong, inner.strong
        return out, close

    def scripted(self, base, sub, sup):
        if sub or sup:
            self.mark()
        sub, sup = (script and f"<mrow>{_script(script)}</mrow>" for script in (sub, sup))
        if sub and sup:
            return f"<msubsup>{base}{sub}{sup}</msubsup>"
        if sub:
            return f"<msub>{base}{sub}</msub>"
        return f"<msup>{base}{sup}</msup>" if sup else base

    def mark(self):
        self.strong = self.last_strong = True


def _operator(mark):
    return f"<mo>{escape({'|': '∣', '-': '−', '~': '∼'}.get(mark, mark))}</mo>"


def _fixed(mark):
    """A bracket or an accent that does not grow with what it encloses."""
    return f'<mo stretchy="false">{mark}</mo>'


def _script(script):
    """The inside of a subscript or superscript: _t, _{t−1}, ₀, ², ^-x."""
    text = "".join((SUBSCRIPTS | SUPERSCRIPTS).get(c, c) for c in script.lstrip("_^").strip("{}"))
    parser = _Parser(_tokens(text), 0, inside=True)
    try:
        out = parser.sum()
    except _NoFormula:
        out = ""
    complete = out and parser.i == len(parser.tokens)
    return out if complete else f"<mi>{escape(text)}</mi>"


# ---- the Sphinx extension ------------------------------------------------------------------------


def set_formulas(app, doctree):
    """In all text but code and headings, put MathML for what is a formula."""
    from docutils import nodes
    from sphinx.addnodes import desc_signature

    def untouched(node):
        code = (nodes.literal, nodes.literal_block, nodes.doctest_block, desc_signature)
        other = (nodes.title, nodes.raw, nodes.comment, nodes.math, nodes.system_message)
        return node and (isinstance(node, code + other) or untouched(node.parent))

    def node(piece):
        if isinstance(piece, str):
            return nodes.Text(piece)
        return nodes.raw(piece.text, piece.mathml, format="html")

    for text in list(doctree.findall(nodes.Text)):
        pieces = [] if untouched(text.parent) else list(formulas(text.astext()))
        if any(isinstance(piece, Formula) for piece in pieces):
            text.parent.replace(text, [node(piece) for piece in pieces])


def setup(app):
    app.connect("doctree-read", set_formulas)
    return {"parallel_read_safe": True}
