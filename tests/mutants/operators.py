"""What a mutant is: the source of a module with one small fault, such as < in place of <=, or a statement that is gone."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
DELETED = ast.Expr | ast.AugAssign | ast.If | ast.For | ast.Continue | ast.Break
TYPES = {"annotation", "returns", "decorator_list", "format_spec"}  # fields of a node that hold no behaviour


class Mutant(NamedTuple):
    """A module with one fault."""

    name: str  # function, and the changed line
    before: str  # the line as it is in the code, in the spelling of `ast.unparse`
    source: str


def mutants(source: str, only: tuple[str, ...] | None = None) -> Iterator[Mutant]:
    """Every mutant of a module.

    :param only: functions and classes (a method as Class.method), with all that is in them; null: the whole module.
    """
    tree = ast.parse(source)
    for scope, statement, parent, field, index, other in _changes(tree, "", tree):
        if only is not None and not any(scope == name or scope.startswith(f"{name}.") for name in only):
            continue
        before = _line(statement)
        held = getattr(parent, field)
        if index is None:
            setattr(parent, field, other)
        else:
            setattr(parent, field, [*held[:index], other, *held[index + 1 :]])
        after = (
            f"delete {before}"
            if isinstance(other, ast.Pass)
            else _line(other if isinstance(other, ast.stmt) else statement)
        )
        yield Mutant(f"{scope or 'module'}: {after}", before, ast.unparse(ast.fix_missing_locations(tree)))
        setattr(parent, field, held)


_Change = tuple[str, ast.AST, ast.AST, str, int | None, ast.AST]


def _changes(node: ast.AST, scope: str, statement: ast.AST) -> Iterator[_Change]:
    """Scope, statement, and what to put where: a field of a node, with an index if it is a list."""
    for field, value in ast.iter_fields(node):
        if field in TYPES or _says_only_types(node, field):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or _is_docstring(child):
                continue
            inner = scope
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inner = f"{scope}.{child.name}".lstrip(".")
            within = child if isinstance(child, ast.stmt) else statement
            for other in _variants(node, field, child):
                yield inner, within, node, field, index, other
            yield from _changes(child, inner, within)


def _says_only_types(node: ast.AST, field: str) -> bool:
    literal = isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal"
    return literal and field == "slice"


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _variants(parent: ast.AST, field: str, node: ast.AST) -> Iterator[ast.AST]:
    other = OPERATORS.get(type(node))
    if other is not None:
        yield other()
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.Constant) and not isinstance(parent, ast.JoinedStr):
        yield from map(ast.Constant, _values(node.value))
    if isinstance(node, ast.Name) and node.id in NAMES:
        yield ast.Name(NAMES[node.id], node.ctx)
    is_condition = field in ("test", "ifs") or isinstance(parent, ast.BoolOp)
    if is_condition and not isinstance(node, ast.Compare | ast.UnaryOp | ast.BoolOp | ast.Constant | ast.boolop):
        yield ast.UnaryOp(ast.Not(), node)
    if isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) not in ("None", "False"):
        yield ast.Return(ast.Constant(None))
    sets_a_part = isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name | ast.Tuple)
    if isinstance(node, DELETED) or sets_a_part:
        yield ast.Pass()


def _values(value: object) -> Iterator[object]:
    """Other constants: the neighbours of a number, another word. A sentence is for people, and stays."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value - 1)
    elif isinstance(value, str) and value and " " not in value:
        yield value + "_"
    elif isinstance(value, bytes):
        yield value + b"_"


def _line(statement: ast.AST) -> str:
    """A statement's first line that is not a decorator."""
    return next(line for line in ast.unparse(statement).splitlines() if not line.startswith("@"))
