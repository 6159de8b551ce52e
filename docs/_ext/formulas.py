"""Typeset the formulas of pages and docstrings, which are written in Unicode: √ᾱ_t x_0 + √(1−ᾱ_t) ε becomes MathML.

    mathml("√ᾱ_t x_0")                    # <math>…</math>
    list(formulas("it is x_t at last"))   # ["it is ", Formula("x_t", "<math>…</math>"), " at last"]

So a formula is written once, legible in an editor, and set as a formula on the site. MathML is what browsers show by themselves:
no script, no fonts, nothing fetched, and it takes the colour of the text, light or dark. Code is left alone, as are headings.

What counts as a formula: the longest run that can be parsed as one and holds something that prose does not, such as x_t, x̂, ε, √ or 2ⁿ.
"""
import re
import unicodedata
from html import escape
from typing import NamedTuple

ACCENTS = {"\u0302": "ˆ", "\u0303": "˜", "\u0304": "¯", "\u0305": "¯"}  # hat, tilde, macron, overline
SUBSCRIPTS = {chr(0x2080 + digit): str(digit) for digit in range(10)} | {"ₜ": "t", "₋": "−", "₊": "+"}
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿᵀˣ½", "0123456789−+nTx½"))
WORDS = "log exp sin cos tanh min max softmax sigmoid SNR Uniform U-Net".split()

SUB = rf"_\{{[^{{}}]+\}}|_(?:skip|out|in|[A-Za-zα-ωΑ-Ω]|\d+)(?![A-Za-z0-9_])|[{''.join(SUBSCRIPTS)}]+"
SUP = rf"\^(?:\{{[^{{}}]+\}}|[-−]?\w+)|[{''.join(SUPERSCRIPTS)}]+"
TOKEN = re.compile(rf"""
    (?P<space>\s+)
  | (?P<number>(?:\d+(?:\.\d+)?|(?<![\w)])\.\d+)(?P<power>{SUP})?(?![A-Za-z0-9_]))
  | (?P<function>{'|'.join(map(re.escape, WORDS))})(?P<of>{SUB})?(?![\w-])
  | (?P<letter>[A-Za-zα-ωΑ-Ω∇∂])(?P<accent>[{''.join(ACCENTS)}])?(?P<sub>{SUB})?(?P<sup>{SUP})?(?:(?![\w-])|(?<=[∇∂]))
  | (?P<word>\w[\w\u0300-\u036f-]*)
  | (?P<operator>\.\.|[-=+−·×/<>≤≥~←→≈∈±|,])
  | (?P<open>[(\[{{])
  | (?P<close>[)\]}}])(?P<after>{SUP})?
  | (?P<norm>‖)(?P<squared>{SUP})?
  | (?P<root>√)
  | (?P<other>.)
""", re.VERBOSE | re.DOTALL)


KINDS = "space", "number", "function", "letter", "word", "operator", "open", "close", "norm", "root", "other"


class Formula(NamedTuple):
    text: str
    mathml: str


class _NoFormula(Exception):
    pass


def formulas(text):
    """The pieces of a text in order: strings, and a Formula where there is one."""
    tokens, i, prose = _tokens(text), 0, ""
    while i < len(tokens):
        try:
            parser = _Parser(tokens, i)
            set_, end = parser.sum(), parser.i
        except _NoFormula:
            parser = None
        if parser and parser.strong:
            if prose:
                yield prose
            source = "".join(t.group() for t in tokens[i:end])
            yield Formula(source, f"<math>{set_}</math>")
            prose, i = "", end
        else:
            prose, i = prose + tokens[i].group(), i + 1
    if prose:
        yield prose


def mathml(text):
    """The whole text as one formula. Raises ValueError if it cannot be parsed as one."""
    found = list(formulas(text))
    if len(found) != 1 or isinstance(found[0], str):
        raise ValueError(f"mathml: expected a formula, got {text!r}")
    return found[0].mathml


def _tokens(text):
    return list(TOKEN.finditer(unicodedata.normalize("NFD", text)))


class _Parser:
    """Recursive descent: a sum is operands with operators between; operands side by side are a product. `strong`: something not found in prose was met."""

    def __init__(self, tokens, i, inside=False):
        self.tokens, self.i, self.inside, self.strong, self.last_strong = tokens, i, inside, False, False

    def peek(self):
        return self.tokens[self.i] if self.i < len(self.tokens) else None

    def kind(self):
        return self.i < len(self.tokens) and next(kind for kind in KINDS if self.peek()[kind] is not None)

    def sum(self):
        parts = [self.operand()]
        while self.kind():
            start, space = self.i, 0
            if self.kind() == "space" and self.peek().group() in (" ", "\n"):
                space, self.i = 1, self.i + 1
            try:
                parts += self.joined(space)
            except _NoFormula:
                self.i = start
                break
        return "".join(parts)

    def joined(self, space):
        """What follows an operand: an operator and another, or another beside it."""
        token, kind = self.peek(), self.kind()
        if kind == "operator" and (self.inside or token.group() not in "|,-"):
            self.i += 1
            if self.kind() == "space":
                self.i += 1
            return [_operator(token.group()), self.operand()]
        if kind not in ("letter", "root", "norm", "open", "number", "function"):
            self.fail()
        named = self.tokens[self.i - 1 - space]["function"]  # sin ω
        applied, before = kind == "open" and token.group() == "(" and not space, (self.strong, self.last_strong)
        operand = self.operand()
        # prose, too, puts a letter beside a formula: in "a x_0" the a is none of it
        if not (self.inside or applied or self.last_strong and (before[1] or not space) or before[1] and kind == "letter" and token.group() not in "aAI"
                or named and kind == "letter"):
            self.strong, self.last_strong = before
            self.fail()
        return [operand] if applied else ['<mspace width="0.17em"></mspace>', operand]

    def operand(self):
        token, kind = self.peek(), self.kind()
        self.i += 1
        self.last_strong = False
        if kind == "number":
            return self.scripted(f"<mn>{token['number'][:len(token['number']) - len(token['power'] or '')]}</mn>", None, token["power"])
        if kind == "function":
            return self.scripted(f"<mi>{token['function']}</mi>", token["of"], None)
        if kind == "letter":
            letter = token["letter"]
            base = f"<mo>{letter}</mo>" if letter in "∇∂Σ" else f"<mi>{letter}</mi>"
            if token["accent"]:
                base = f'<mover>{base}<mo stretchy="false">{ACCENTS[token["accent"]]}</mo></mover>'  # marked as an accent it would touch the letter in fonts not made for mathematics
            out = self.scripted(base, token["sub"], token["sup"])
            if not letter.isascii() or token["accent"]:
                self.strong = self.last_strong = True
            return out
        if kind == "root":
            if not self.kind():
                self.fail()
            bare = self.kind() == "open"
            inner = self.operand()
            if bare:
                inner = inner.removeprefix('<mrow><mo stretchy="false">(</mo>').removesuffix('<mo stretchy="false">)</mo></mrow>')
            self.strong = self.last_strong = True
            return f"<msqrt>{inner}</msqrt>"
        if kind == "open":
            inner, close = self.group("close")
            fences = [f'<mo stretchy="false">{mark}</mo>' for mark in (token.group(), close["close"])]
            return self.scripted(f"<mrow>{fences[0]}{inner}{fences[1]}</mrow>", None, close["after"])
        if kind == "norm" and not token["squared"]:
            inner, close = self.group("norm")
            self.strong = self.last_strong = True
            return self.scripted(f'<mrow><mo stretchy="false">‖</mo>{inner}<mo stretchy="false">‖</mo></mrow>', None, close["squared"])
        if kind == "operator" and token.group() == "−":
            return _operator("−") + self.operand()
        self.fail()

    def group(self, end):
        """What stands between a bracket and the one that closes it, and that one."""
        inner = _Parser(self.tokens, self.i, inside=True)
        out, close = inner.sum(), inner.peek()
        if inner.kind() != end:
            self.fail()
        self.i, strong = inner.i + 1, inner.strong
        self.strong, self.last_strong = self.strong or strong, strong
        return out, close

    def scripted(self, base, sub, sup):
        if sub or sup:
            self.strong = self.last_strong = True
        sub, sup = (script and f"<mrow>{_script(script)}</mrow>" for script in (sub, sup))
        if sub and sup:
            return f"<msubsup>{base}{sub}{sup}</msubsup>"
        return f"<msub>{base}{sub}</msub>" if sub else f"<msup>{base}{sup}</msup>" if sup else base

    def fail(self):
        raise _NoFormula


def _operator(mark):
    return f"<mo>{escape({'|': '∣', '-': '−', '~': '∼'}.get(mark, mark))}</mo>"


def _script(script):
    """The inside of a subscript or superscript: _t, _{t−1}, ₀, ², ^-x."""
    text = "".join((SUBSCRIPTS | SUPERSCRIPTS).get(c, c) for c in script.lstrip("_^").strip("{}"))
    try:
        parser = _Parser(tokens := _tokens(text), 0, inside=True)
        out = parser.sum()
        if parser.i == len(tokens):
            return out
    except _NoFormula:
        pass
    return f"<mi>{escape(text)}</mi>"


# ---- the Sphinx extension ------------------------------------------------------------------------


def set_formulas(app, doctree):
    """In all text but code and headings, put MathML for what is a formula."""
    from docutils import nodes
    from sphinx import addnodes

    untouched = (nodes.literal, nodes.literal_block, nodes.doctest_block, nodes.title, nodes.raw, nodes.comment, nodes.math, addnodes.desc_signature, nodes.system_message)
    for text in list(doctree.findall(nodes.Text)):
        parent = text.parent
        while parent and not isinstance(parent, untouched):
            parent = parent.parent
        pieces = [] if parent else list(formulas(text.astext()))
        if any(isinstance(piece, Formula) for piece in pieces):
            text.parent.replace(text, [nodes.Text(piece) if isinstance(piece, str) else nodes.raw(piece.text, piece.mathml, format="html") for piece in pieces])


def setup(app):
    app.connect("doctree-read", set_formulas)
    return {"parallel_read_safe": True}
