"""What a template may cost: which filters it has, how large a value may become, and how much work one rendering may do.

The library limits what is written and how often a loop runs. Between these, a chain of filters can still fill the memory or
hold Python's lock for seconds. So every filter call is priced before it runs, and every loop by the source that it repeats.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from liquid import BoundTemplate, RenderContext
from liquid.builtin.expressions import LoopExpression
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.exceptions import LiquidError, LiquidTypeError, ResourceLimitError
from liquid.token import Token

FILTERS: Final = (
    "abs", "append", "at_least", "at_most", "capitalize", "ceil", "date", "default", "divided_by", "downcase", "escape",
    "first", "floor", "join", "last", "lstrip", "minus", "modulo", "newline_to_br", "plural", "plus", "prepend", "remove",
    "remove_first", "remove_last", "replace", "replace_first", "replace_last", "reverse", "round", "rstrip", "size", "slice",
    "sort", "split", "strip", "strip_newlines", "times", "truncate", "truncatewords", "uniq", "upcase", "url_encode",
)  # fmt: skip
MOST_CHARACTERS: Final = 20_000  # of one value: the longest message
MOST_DATE: Final = 100  # characters of a date, and of its format: both go to parsers that are slow with long texts
LARGEST_NUMBER: Final = 10**18
BUDGET: Final = 400_000  # characters that filters and loops may handle in one rendering
CALL: Final = 20  # what a call costs by itself, in the same unit
SLOW: Final = {"date": 2_000, "uniq": 1_000}  # what these cost, beside
DEEPEST: Final = 100  # parts of an expression inside each other
MOST_EXPRESSION: Final = 2_000  # characters from a brace to its end
MOST_RAW: Final = 20  # blocks that the lexer looks through to the end of the source
_BLANKS = re.compile(r"\s{101}")
_RAW = re.compile(r"-?\s*(?:raw|doc)\b")


class TooMuchWork(ResourceLimitError):
    """The rendering would cost more than a template may."""

    def __init__(self, what: str) -> None:
        super().__init__(what, token=None)


class LimitedContext(RenderContext):
    """One rendering, with what is left of its budget."""

    left = BUDGET

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """The filter of that name, with a price."""
        function = super().filter(name, token)

        def priced(*values: object, **named: object) -> object:
            given = (*values, *named.values())
            sizes = sum(map(_size, given))
            self._pay(CALL + SLOW.get(name, 0) + sizes)
            self._pay(_checked(name, _growth(name, values)))
            if name == "date" and sizes > MOST_DATE:
                raise TooMuchWork(f"a date has more than {MOST_DATE} characters")
            try:
                result = function(*values, **named)
            except (ArithmeticError, ValueError, LookupError, AttributeError) as error:  # the library lets them through
                raise LiquidTypeError(f"{name}: {error}", token=token) from None
            self._pay(_checked(name, _size(result)))
            return result

        return priced

    @contextmanager
    def loop(self, namespace: Any, forloop: Any) -> Iterator[RenderContext]:
        """A loop: each of its turns costs as much as the whole source is long, and it is paid before the first."""
        nodes = self.template.nodes
        self._pay(forloop.length * (len(nodes[0].token.source) if nodes else 0))
        with super().loop(namespace, forloop) as context:
            yield context

    def _pay(self, price: int) -> None:
        self.left -= price
        if self.left < 0:
            raise TooMuchWork("its filters and loops do too much work")


class LimitedTemplate(BoundTemplate):
    """A template whose renderings have a budget."""

    context_class = LimitedContext


def check_source(source: str) -> None:
    """Refuse a source that the library's lexer would need seconds for: it looks for the end of every brace again and again.

    :raises LiquidError: the source has unclosed or very long expressions.
    """
    end, raw = 0, 0
    while (start := min((at for at in (source.find("{{", end), source.find("{%", end)) if at >= 0), default=-1)) >= 0:
        close = "}}" if source[start + 1] == "{" else "%}"
        end = source.find(close, start, start + MOST_EXPRESSION)
        inside = source[start + 2 : end]
        line = source.count("\n", 0, start) + 1
        if end < 0 or "{{" in inside or "{%" in inside:
            raise LiquidError(f"line {line}: expected '{close}' within {MOST_EXPRESSION} characters", token=None)
        if _BLANKS.search(inside):
            raise LiquidError(f"line {line}: an expression has more than 100 blanks in a row", token=None)
        raw += bool(_RAW.match(inside))
        if raw > MOST_RAW:
            raise LiquidError(f"line {line}: a text has more than {MOST_RAW} raw or doc blocks", token=None)
        end += 2


def check_expressions(template: BoundTemplate) -> None:
    """Refuse ranges outside of loops, which count them, and expressions that would end Python's stack.

    :raises LiquidError: the template has such an expression.
    """
    context = RenderContext(template)
    nodes = list(template.nodes)
    for node in nodes:  # the list grows during the loop
        nodes += node.children(context)
        inside = [(expression, 0, False) for expression in node.expressions()]
        for expression, depth, of_loop in inside:
            if isinstance(expression, RangeLiteral) and not of_loop:
                raise LiquidError("a range is for a loop only: {% for n in (1..3) %}", token=node.token)
            if depth > DEEPEST:
                raise LiquidError(f"an expression is nested more than {DEEPEST} deep", token=node.token)
            loop = isinstance(expression, LoopExpression)
            inside += [(child, depth + 1, loop) for child in expression.children()]


def _size(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list | tuple):
        return sum(1 + _size(part) for part in value)
    if isinstance(value, dict):
        return sum(1 + _size(key) + _size(part) for key, part in value.items())
    if isinstance(value, range):
        return len(value)
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise TooMuchWork("a number has more than 18 digits")
    return 1


def _checked(name: str, size: int) -> int:
    if size > MOST_CHARACTERS:
        raise TooMuchWork(f"{name} makes a value of more than {MOST_CHARACTERS} characters")
    return size


def _growth(name: str, values: Sequence[object]) -> int:
    """The size of the result of those filters that multiply, before they run."""
    if name == "replace" and len(values) > 1:
        text, old, new = (str(value) for value in (*values[:2], values[2] if len(values) > 2 else ""))
        return len(text) + text.count(old) * max(0, len(new) - len(old))
    if name == "join" and isinstance(values[0], list | tuple):
        return _size(values[0]) + len(values[0]) * _size(values[1] if len(values) > 1 else " ")
    return 0
