"""Conditions on an event's data: JMESPath expressions, read once, and evaluated within a budget.

The expressions are a tenant's, and are evaluated where every event waits for its turn. So nothing about them is left
to good will: an expression's text and depth are bounded when it is stored, and each evaluation spends from a budget
of steps, one for every node visited and every element, or 64 characters, that a node copies or compares. JMESPath
has no regular expressions, no variables and no recursion; what it can do is copy a list again and again, and that is
counted before it is done.

Source: the JMESPath specification, https://jmespath.org/specification.html.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import msgspec
from jmespath.exceptions import (
    EmptyExpressionError,
    IncompleteExpressionError,
    JMESPathError,
    LexerError,
    ParseError,
)
from jmespath.functions import Functions
from jmespath.parser import Parser
from jmespath.visitor import TreeInterpreter

_STRING_CHARACTERS_PER_STEP = 64
_SHOWN_CHARACTERS = 40
_TAKES_EXPRESSION = {"map": 0, "sort_by": 1, "min_by": 1, "max_by": 1}
"""The functions with an expression among their arguments, and where it stands."""
_COMPARES_DEEPLY = frozenset({"contains", "to_string"})
"""The functions whose work grows with what lies below their arguments, not with the arguments' own length."""
_EQUALITY = frozenset({"eq", "ne"})
_SORTS = frozenset({"sort", "sort_by"})
_NOT_JMESPATH = "is not a JMESPath expression"
_NOT_ON_THESE = "the expression cannot be evaluated on these data"


# What is stored was judged when it came in, and has no number beyond a double. float(), since msgspec's own way takes
# 14 us for a number at the edge of one.
_read = msgspec.json.Decoder(float_hook=float).decode


class ConditionFailed(Exception):
    """An expression has no value for these data, or none within its budget.

    Attributes:
        reason: safe to show to whoever may read the destination.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """An expression that was read.

    Attributes:
        tree: what the interpreter walks; None when the expression is at fault.
        depth: levels of the tree.
        fault: what is wrong with the expression, and at which character; None when nothing is.
    """

    expression: str
    tree: Any
    depth: int = 0
    fault: str | None = None


@lru_cache(maxsize=4096)
def read_condition(expression: str) -> Condition:
    """Return an expression as it is evaluated, or with what is wrong with it."""
    try:
        with warnings.catch_warnings():
            # A literal that is no JSON, which the library would take as text; the specification has given that up.
            warnings.simplefilter("error", PendingDeprecationWarning)
            tree: Any = Parser().parse(expression).parsed
        return Condition(expression=expression, tree=tree, depth=_checked_depth(tree, expression))
    except RecursionError:
        fault = "is nested too deeply"
    except PendingDeprecationWarning:
        fault = "holds a literal between backticks that is not JSON; texts stand between single quotes"
    except (JMESPathError, ValueError) as error:
        fault = _fault(error, expression)
    return Condition(expression=expression, tree=None, fault=fault)


class Evaluation:
    """Evaluates the conditions that one event meets; its data are decoded when the first one asks.

    Args:
        data: one JSON document.
        steps_max: what one condition may spend.
        event_steps_max: what all of them together may spend.
    """

    def __init__(self, data: bytes, *, steps_max: int, event_steps_max: int) -> None:
        self._data = data
        self._value: Any = None
        self._decoded = False
        self._steps_max = steps_max
        self._event_steps_max = self._left = event_steps_max
        self._interpreter = _BoundedInterpreter()

    @property
    def spent(self) -> int:
        """The steps that were taken so far."""
        return self._event_steps_max - self._left

    def holds(self, condition: Condition) -> bool:
        """Return whether the data meet a condition: its value is not false, null, "", [] or {}; 0 is a match.

        Raises:
            ConditionFailed: the expression cannot be evaluated on these data, or the budget is spent.
        """
        if condition.fault is not None:
            raise ConditionFailed(f"the expression {condition.fault}")
        interpreter = self._interpreter
        interpreter.left = budget = min(self._steps_max, self._left)
        try:
            if not self._decoded:
                self._value = _read(self._data)
                self._decoded = True
            value = interpreter.visit(condition.tree, self._value)
        except ConditionFailed:
            raise
        except JMESPathError as error:
            raise ConditionFailed(_type_fault(error)) from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # What the library's functions make of values that they do not expect: a number where a text is searched
            # for, a slice in steps of 0, a number beyond a double.
            raise ConditionFailed(f"{_NOT_ON_THESE} ({type(error).__name__})") from error
        except RecursionError as error:
            raise ConditionFailed("the data or the expression are nested too deeply") from error
        finally:
            self._left -= budget - max(interpreter.left, 0)
        return not (value is None or value is False or value in ("", [], {}))


class _BoundedInterpreter(TreeInterpreter):
    """The library's interpreter, which counts what it does and stops when the budget is spent.

    Attributes:
        left: steps; below 0 once it has stopped.
    """

    _functions: Functions
    _method_cache: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.left = 0

    def spend(self, steps: int) -> None:
        """Take steps from the budget.

        Raises:
            ConditionFailed: it is spent.
        """
        self.left -= steps
        if self.left < 0:
            raise ConditionFailed("evaluating the expression takes too many steps")

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        """Return a node's value."""
        self.spend(1)
        return super().visit(node, *args, **kwargs)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        """Return a list with the lists in it opened; counted before it is built."""
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self.spend(len(base))
        self.spend(sum(len(each) for each in base if isinstance(each, list)))
        flat: list[Any] = []
        for each in base:
            if isinstance(each, list):
                flat += each
            else:
                flat.append(each)
        return flat

    def visit_comparator(self, node: Any, value: Any) -> Any:
        """Compare two values, whose sizes count; only two numbers or two texts have an order."""
        left, right = (self.visit(child, value) for child in node["children"])
        if isinstance(left, list | dict | str) and type(left) is type(right):
            self._spend_size(min(left, right, key=len))
        if node["value"] not in _EQUALITY and not _have_order(left, right):
            return None
        return self.COMPARATOR_FUNC[node["value"]](left, right)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        """Call a function, whose work is counted from its arguments."""
        name = node["value"]
        arguments = [self.visit(child, value) for child in node["children"]]
        for argument in arguments:
            if name in _COMPARES_DEEPLY:
                self._spend_size(argument)
            elif isinstance(argument, list | dict):
                self.spend(len(argument) * (len(argument).bit_length() if name in _SORTS else 1))
            elif isinstance(argument, str):
                self.spend(len(argument) // _STRING_CHARACTERS_PER_STEP)
        if name == "join" and len(arguments) == 2 and isinstance(arguments[1], list):
            self._spend_size(arguments[1])
            self.spend(len(str(arguments[0])) * len(arguments[1]) // _STRING_CHARACTERS_PER_STEP)
        return self._functions.call_function(name, arguments)

    def _spend_size(self, value: Any) -> None:
        """Count a value with all that lies below it, once for every path that leads there."""
        waiting = [value]
        while waiting:
            each = waiting.pop()
            if isinstance(each, str):
                self.spend(1 + len(each) // _STRING_CHARACTERS_PER_STEP)
            elif isinstance(each, list | dict):
                self.spend(1 + len(each))
                waiting += each if isinstance(each, list) else each.values()


def _have_order(left: Any, right: Any) -> bool:
    if isinstance(left, str):
        return isinstance(right, str)
    return _is_number(left) and _is_number(right)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# -- what is wrong with an expression ----------------------------------------------------------------------


def _checked_depth(tree: Any, expression: str) -> int:
    """Return the levels of a tree.

    Raises:
        _Misused: a function is unknown, or called with what it does not take.
    """
    depth = 0
    level = [tree]
    if tree["type"] == "expref":
        raise _Misused(f"has an & where no expression is taken{_where(expression, '&')}")
    while level:
        depth += 1
        for node in level:
            _check_use(node, expression)
        level = [child for node in level for child in node["children"] if isinstance(child, dict)]
    return depth


class _Misused(ValueError):
    """A function is not used as it is meant."""


def _check_use(node: Any, expression: str) -> None:
    name = node["value"] if node["type"] == "function_expression" else None
    takes_at = None if name is None else _TAKES_EXPRESSION.get(name)
    if name is not None:
        _check_call(name, len(node["children"]), expression)
    for at, child in enumerate(node["children"]):
        is_expression = isinstance(child, dict) and child["type"] == "expref"
        if is_expression and at != takes_at:
            raise _Misused(f"has an & where no expression is taken{_where(expression, '&')}")
        if takes_at == at and not is_expression:
            raise _Misused(f"calls {name}() without & before its expression{_where(expression, f'{name}(')}")


def _check_call(name: str, given: int, expression: str) -> None:
    known = Functions.FUNCTION_TABLE.get(name)
    where = _where(expression, name)
    if known is None:
        raise _Misused(f"calls {_cut(name)}(), which is not a function of JMESPath{where}")
    wanted = known["signature"]
    if given < len(wanted) or (given > len(wanted) and not wanted[-1].get("variadic")):
        raise _Misused(f"calls {name}() with {given} arguments instead of {len(wanted)}{where}")


def _where(expression: str, part: str) -> str:
    at = expression.find(part)
    return "" if at < 0 else _at(at)


def _at(position: int) -> str:
    return f" (at character {position + 1})"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _fault(error: Exception, expression: str) -> str:
    """Return what is wrong, to follow the name of what is at fault."""
    if isinstance(error, _Misused):
        return str(error)
    if isinstance(error, EmptyExpressionError):
        return "is empty"
    if isinstance(error, IncompleteExpressionError):
        return f"is not a whole JMESPath expression: it ends too early{_at(len(expression))}"
    if isinstance(error, LexerError):
        return f"{_NOT_JMESPATH}: cannot read {_cut(str(error.lexer_value))!r}{_at(error.lexer_position)}"
    if isinstance(error, ParseError):
        return f"{_NOT_JMESPATH}: unexpected {_cut(str(error.token_value))!r}{_at(error.lex_position)}"
    return _NOT_JMESPATH


def _type_fault(error: JMESPathError) -> str:
    """Return why a function refused its arguments, without the arguments: they are the event's data."""
    name = getattr(error, "function_name", None)
    got = getattr(error, "actual_type", None)
    if name is None or got is None:
        return _NOT_ON_THESE
    return f"{name}() does not take a value of type {got}"
