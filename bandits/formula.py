"""A reward as a formula over reported metrics, such as ``clicks + 0.2 * dwell - 3 * unsubscribes``.

Numbers, names of metrics, ``+``, ``-``, ``*`` and parentheses; nothing else, and nothing is evaluated as a program. A name is a
letter or ``_``, then letters, digits, ``_`` and ``.``; a name with other characters stands in double quotes. The name
``reward`` is the reward as it would be without a formula.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

LONGEST: Final = 500  # characters
DEEPEST: Final = 20  # parentheses and signs inside each other
LARGEST: Final = 1e12  # a number beyond it is none
REWARD: Final = "reward"
_TOKEN: Final = re.compile(
    r'\s*(?:(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_.]*)|"(?P<quoted>[^"]{1,100})"'
    r"|(?P<sign>[-+*()]))"
)
_OPERATORS: Final[dict[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


class FormulaError(ValueError):
    """A text that is no formula."""

    def __init__(self, code: str, position: int) -> None:
        super().__init__(f"{code} at {position}")
        self.code = (
            code  # formula_empty, formula_too_long, formula_sign, formula_ends, formula_value, formula_number, ...
        )
        self.position = position  # of the character, from 1


class _Token(NamedTuple):
    kind: str  # number, name, sign, end
    text: str
    position: int  # from 1


Node = float | str | tuple[str, "Node", "Node"]


class Formula(NamedTuple):
    """A parsed formula."""

    root: Node
    names: tuple[str, ...]  # of the metrics, each once, in the order of the text

    def value(self, metrics: Mapping[str, float]) -> float:
        """Evaluate with the sum of each metric; one that is missing is 0. NaN if the numbers are too large."""
        return _value(self.root, metrics)


@lru_cache(maxsize=256)
def parse(text: str) -> Formula:
    """Parse a formula.

    :raises FormulaError: it is none; the error has the position.
    """
    if len(text) > LONGEST:
        raise FormulaError("formula_too_long", LONGEST + 1)
    tokens = _tokens(text)
    if tokens[0].kind == "end":
        raise FormulaError("formula_empty", 1)
    parser = _Parser(tokens)
    root = parser.sum(0)
    end = parser.next()
    if end.kind != "end":
        raise FormulaError("formula_sign", end.position)
    names = dict.fromkeys(token.text for token in tokens if token.kind == "name")
    return Formula(root, tuple(names))


def clipped(value: float, default: float, low: float, high: float) -> float:
    """A formula's value within the bounds of the reward; the default where it is not a number."""
    return min(max(default if math.isnan(value) else value, low), high)


def _tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise FormulaError("formula_character", at + 1 + len(text[at:]) - len(text[at:].lstrip()))
        kind = match.lastgroup or ""
        value = match[kind]
        if kind == "number" and not float(value) <= LARGEST:
            raise FormulaError("formula_number", match.start(kind) + 1)
        tokens.append(_Token("name" if kind == "quoted" else kind, value, match.start(kind) + 1))
        at = match.end()
    return [*tokens, _Token("end", "", len(text) + 1)]


class _Parser:
    """Reads tokens by recursive descent: a sum of products of values."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def next(self) -> _Token:
        """The token that comes next."""
        return self._tokens[self._at]

    def sum(self, depth: int) -> Node:
        """Read products, added and subtracted from left to right."""
        left = self._product(depth)
        while self.next().text in ("+", "-") and self.next().kind == "sign":
            sign = self._take().text
            left = (sign, left, self._product(depth))
        return left

    def _product(self, depth: int) -> Node:
        left = self._factor(depth)
        while self.next().text == "*" and self.next().kind == "sign":
            self._take()
            left = ("*", left, self._factor(depth))
        return left

    def _factor(self, depth: int) -> Node:
        token = self._take()
        if depth > DEEPEST:
            raise FormulaError("formula_too_deep", token.position)
        if token.kind == "number":
            return float(token.text)
        if token.kind == "name":
            return token.text
        if token.text == "-" and token.kind == "sign":
            return ("-", 0.0, self._factor(depth + 1))
        if token.text == "(" and token.kind == "sign":
            inner = self.sum(depth + 1)
            closing = self._take()
            if closing.text != ")":
                raise FormulaError("formula_parenthesis", closing.position)
            return inner
        raise FormulaError("formula_ends" if token.kind == "end" else "formula_value", token.position)

    def _take(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token


def _value(node: Node, metrics: Mapping[str, float]) -> float:
    if isinstance(node, float):
        return node
    if isinstance(node, str):
        return float(metrics.get(node, 0.0))
    sign, left, right = node
    return _OPERATORS[sign](_value(left, metrics), _value(right, metrics))
