"""SCORE. What a model wrote -> its three figures -> right, or the kind of error. Pure: no model, file or clock.

`parse` reads what models really write: a JSON object anywhere in the output, with the liberties listed there.
`score_answer` compares in `Decimal`, exactly: a figure that was not printed is not right, however near it is. (Among
79 real releases, a tolerance of one cent would have accepted another printed figure in 20.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from gguf_bench.records import FIELDS, Document, Score

SCORER_VERSION = "1"
"""Raised whenever the same output could get another score or kind."""

KINDS = (
    "right",
    "missed",
    "hallucinated",
    "prior_period",
    "year_to_date",
    "basic_diluted_swap",
    "gaap_adjusted_swap",
    "other_trap",
    "sign",
    "scale",
    "other",
)

Values = Mapping[str, Decimal | None]

# ---------------------------------------------------------------------------------------------------------------- parse

_MAX_DEPTH = 40
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "\u00a0": " ", "\u202f": " ", "\u2009": " "})
_THINKING_ENDS = re.compile(r"</(?:think|thinking|reasoning|thought)>", re.IGNORECASE)
_THINKING_BEGINS = re.compile(r"<(?:think|thinking|reasoning|thought)>", re.IGNORECASE)

# Every alternative takes what it can without giving back, and an unclosed string runs to the end, so that no character
# is looked at more than a fixed number of times. A comma between digits in threes belongs to the number.
_TOKEN = re.compile(
    r"""
      (?P<blank>   \s++ | //[^\n]*+ )
    | (?P<string>  "(?:[^"\\]++|\\.)*+"? | '(?:[^'\\\n]++|\\.)*+'? )
    | (?P<mark>    [{}\[\]:,] )
    | (?P<bare>    (?: [^"{}\[\],:\n/] | /(?!/) | (?<=[0-9]),(?=[0-9]{3}(?![0-9])) )++ )
    | (?P<rest>    . )
    """,
    re.VERBOSE | re.DOTALL,
)
_UNICODE_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


@dataclass(slots=True)
class _Frame:
    """An object or a list that is still open. `pending` is what has been read since the last comma or colon."""

    opened_by: str
    key: str | None = None
    pending: list[str | _Frame] = field(default_factory=list)
    members: dict[str, str | _Frame | None] = field(default_factory=dict)
    broken: bool = False

    def colon(self) -> None:
        if self.key is not None and len(self.pending) == 2:  # a comma was forgotten between two members
            self._put(self.key, [self.pending.pop(0)])
            self.key = None
        if self.key is None and len(self.pending) == 1 and isinstance(self.pending[0], str):
            self.key = self.pending[0]
        else:
            self.broken = True
        self.pending = []

    def comma_or_end(self) -> None:
        if self.key is not None:
            self._put(self.key, self.pending)
        elif self.pending:
            self.broken = True
        self.key, self.pending = None, []

    def _put(self, key: str, value: list[str | _Frame]) -> None:
        self.members[key] = value[0] if len(value) == 1 else None


def parse(output: str) -> dict[str, Decimal | None] | None:
    """The three figures of an output, or None where it holds no answer (unparseable).

    An answer is a closed JSON object with at least one of the three keys; a key left out counts as null. Taken too:
    code fences and prose around it, trailing and forgotten commas, `//` comments, single and typographic quotes,
    Python's None, one object within another, {"value": ...} in place of a number, key variants ("basic_eps",
    "Diluted EPS", "adjustedEPS", "Non-GAAP diluted earnings per share"), and the figures that `read_figure` takes.
    Text inside <think> blocks is no answer, and what follows an unclosed one is all thinking.

    Of several objects the one with the most of the three keys counts, and of those the last: models that correct
    themselves do it later. An object in which one of the three values cannot be read is no answer at all: what cannot
    be read must not pass for "not disclosed". Neither is an object cut off before its end, whose last number may be
    cut as well. Takes time linear in the output, whatever is in it.
    """
    best: dict[str, Decimal | None] | None = None
    best_count = 0
    for members in _objects(_after_thinking(output).translate(_QUOTES)):
        found: dict[str, Decimal | None] = {}
        try:
            for key, value in members.items():
                for name in _fields_of(key):
                    found[name] = _value(value)
        except ValueError:
            continue
        if found and len(found) >= best_count:
            best, best_count = {name: found.get(name) for name in FIELDS}, len(found)
    return best


def _after_thinking(output: str) -> str:
    ends = [match.end() for match in _THINKING_ENDS.finditer(output)]
    rest = output[ends[-1] :] if ends else output
    begin = _THINKING_BEGINS.search(rest)
    return rest[: begin.start()] if begin else rest


def _objects(text: str) -> Iterator[dict[str, str | _Frame | None]]:
    """The members of every closed object in `text`, inner before outer, in the order they close."""
    stack: list[_Frame] = []
    position = text.find("{")
    while 0 <= position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            return
        position = token.end()
        kind, taken = token.lastgroup, token.group()
        if taken in ("{", "["):
            stack.append(_Frame(taken))
            if len(stack) > _MAX_DEPTH:
                stack.clear()
        elif taken in ("}", "]"):
            opener = "{" if taken == "}" else "["
            while stack and stack[-1].opened_by != opener:
                stack.pop()
            if stack:
                closed = stack.pop()
                closed.comma_or_end()
                if opener == "{" and not closed.broken:
                    yield closed.members
                if stack:
                    stack[-1].pending.append(closed)
        elif taken == ":":
            stack[-1].colon()
        elif taken == ",":
            stack[-1].comma_or_end()
        elif kind == "string":
            stack[-1].pending.append(_unescaped(taken))
        elif kind in ("bare", "rest"):
            stack[-1].pending.append(taken.strip())
        if not stack:
            position = text.find("{", position)


def _unescaped(quoted: str) -> str:
    inside = quoted[1:-1] if len(quoted) > 1 and quoted[-1] == quoted[0] else quoted[1:]
    return _UNICODE_ESCAPE.sub(lambda match: chr(int(match.group(1), 16)), inside)


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_FIELD_WORDS = {"basic", "diluted", "adjusted", "adj"}
_OTHER_KEY_WORDS = {
    *("eps", "gaap", "non", "earnings", "loss", "net", "income", "profit", "per", "share", "common", "ordinary"),
    *("reported", "value", "figure", "and", "usd", "dollars"),
}


def _fields_of(key: str) -> tuple[str, ...]:
    """Which of FIELDS a key means: none for "diluted_shares", "basic_prior_year" or "adjusted_net_income"."""
    if len(key) > 80:
        return ()
    words = {word.lower() for word in _WORD.findall(key.replace("nongaap", "non gaap").replace("nonGAAP", "non GAAP"))}
    rest = words - _FIELD_WORDS
    if not rest <= _OTHER_KEY_WORDS or (rest & {"net", "income", "profit"} and "share" not in rest):
        return ()
    if words & {"adjusted", "adj"} or {"non", "gaap"} <= words:
        return ("adjusted",) if "basic" not in words or "diluted" in words else ()
    return tuple(name for name in ("basic", "diluted") if name in words)


def _value(value: str | _Frame | None) -> Decimal | None:
    if isinstance(value, _Frame):
        for key, inner in value.members.items():
            if key.lower() in ("value", "amount", "eps") and isinstance(inner, str):
                return read_figure(inner)
        raise ValueError("an object without a value")
    if value is None:
        raise ValueError("not one value")
    return read_figure(value)


_MINUS = str.maketrans(dict.fromkeys("−–—‒﹣－", "-"))
_NONE = re.compile(
    r"""-* | null | none | nil | nan | na | n/a | n\.a\.? | n/?m | unknown | undefined | missing | blank | empty
    | (?: was\ | is\ )? (?: not | none | never ) \ (?: disclosed | reported | provided | available | applicable | given
      | stated | found | mentioned | specified | meaningful | presented | shown | included | listed | present | known
      | explicitly\ stated )
      (?: \ (?:in|by)\ (?:the\ )? [a-z ]{1,30} )? """,
    re.VERBOSE,
)
_CURRENCY = r"""(?: (?:us|c|a|nz|hk|s|ca|au)?\$ | € | £ | ¥ | rs\.? | chf | usd | eur | gbp | cad | aud | jpy | sek
    | nok | dkk | inr )"""
_FIGURE = re.compile(
    rf"""
    (?P<loss> (?:a\ )? (?:net\ )? loss (?:\ per\ share)? (?:\ of)? \ )?
    (?P<sign> [-+] )? \s? (?: {_CURRENCY} \s? (?P<inner_sign> [-+] )? )?
    (?: (?P<open> \( ) \s? (?P<in_sign> - )? (?: {_CURRENCY} \s? )? )?
    (?P<number> (?: [0-9]{{1,3}} (?:,[0-9]{{3}})+ | [0-9]+ ) (?: \.[0-9]* )? | \.[0-9]+ | [0-9]+,[0-9]{{1,2}} )
    (?P<exponent> e[-+]?[0-9]{{1,2}} )?
    \s? (?P<close> \) )? \s?
    (?P<unit> cents? | ¢ | c | p | pence | cps | thousand | million | billion )? \s?
    (?P<close_late> \) )? \s? {_CURRENCY}? \s? (?: dollars? | euros? | pounds? )? \s?
    (?: (?:per|a) \ (?:(?:basic|diluted|common|ordinary) \ ){{0,3}} share )? \.?
    """,
    re.VERBOSE,
)
_UNITS = {"thousand": 3, "million": 6, "billion": 9}


def read_figure(written: str) -> Decimal | None:
    """The number a value says, None where it says that there is none; ValueError where it is neither.

    Parentheses, any dash before the number, and "loss of" mean negative. Currency signs, thousands commas and "per
    diluted share" are dropped; "42 cents" and "42p" are 0.42; a comma before one or two last digits is a decimal comma.
    No figure: percentages, ranges, two numbers, more than 20 digits, exponents beyond ±12.
    """
    text = " ".join(written.translate(_MINUS).lower().split())
    if len(text) > 60:
        raise ValueError("too long for a figure")
    if _NONE.fullmatch(text[:-1] if len(text) > 3 and text[-1] == "." else text):
        return None
    match = _FIGURE.fullmatch(text)
    if match is None:
        raise ValueError(f"no figure: {text!r}")
    digits = match["number"]
    digits = digits.replace(",", ".") if re.fullmatch(r"[0-9]+,[0-9]{1,2}", digits) else digits.replace(",", "")
    power = int(match["exponent"][1:]) if match["exponent"] else 0
    closed = bool(match["close"] or match["close_late"])
    if len(digits) > 20 or abs(power) > 12 or bool(match["open"]) != closed:
        raise ValueError(f"no figure: {text!r}")
    if unit := match["unit"]:
        power += _UNITS.get(unit, -2)
    negative = match["loss"] or match["open"] or "-" in (match["sign"], match["inner_sign"], match["in_sign"])
    return Decimal(("-" if negative else "") + digits).scaleb(power)


# ---------------------------------------------------------------------------------------------------------------- score

_TRAP_KINDS = (
    (re.compile(r"py[0-9]*|pq|pp|q-[0-9]+|prior|previous"), "prior_period"),
    (re.compile(r"ytd|fy|ltm|ttm|[0-9]+m|h[12]|q[1-4]|year|annual"), "year_to_date"),
    (re.compile(r"basic|diluted"), "basic_diluted_swap"),
    (re.compile(r"gaap|adjusted"), "gaap_adjusted_swap"),
)
_SHIFTS = (1, 2, 3, 6)


def trap_kind(name: str) -> tuple[str | None, str]:
    """The field a trap belongs to (None: any) and the error kind of an answer that equals it.

    The first word after the field decides: py, pq, q-2, prior are prior_period; ytd, fy, 9m, h1 (and the quarter, where
    a year was asked) are year_to_date, so `basic_ytd_py` is year_to_date; guidance, dividend, ffo, continuing and all
    else are other_trap. A name that begins with no field ("dividend") belongs to all three.
    """
    words = name.split("_")
    owner = words.pop(0) if words[0] in FIELDS else None
    first = words[0] if words else ""
    return owner, next((kind for pattern, kind in _TRAP_KINDS if pattern.fullmatch(first)), "other_trap")


def score_output(output: str, document: Document) -> Score:
    """Parse and judge what a model wrote about `document`."""
    return score_answer(parse(output), document)


def score_answer(values: Values | None, document: Document) -> Score:
    """Judge three figures; `values` None is an unparseable answer.

    A field is right when answer and gold are the same number (0.5 is 0.50; 0.5712 is not 0.57, for it was not printed),
    or both null. The kind of a wrong field is the first of these that holds:
    missed (null, but there is a figure) · hallucinated (a figure, but there is none) · a trap of the same field, or of
    no field: prior_period, year_to_date, swaps, other_trap, in this order · basic_diluted_swap, gaap_adjusted_swap (the
    gold of another field) · sign · scale (off by a power of ten, as cents for dollars) · a trap of another field · a
    trap of the same field with its sign lost · other.
    """
    if values is None:
        return _unread("unparseable", document)
    kinds = {name: _kind(name, values.get(name), document) for name in FIELDS}
    right = sum(kind == "right" for kind in kinds.values())
    return Score(
        status="answered", values={name: values.get(name) for name in FIELDS}, kinds=kinds, value=right / len(FIELDS)
    )


def score_over_context(document: Document) -> Score:
    """The score of a document whose prompt did not fit: 0, whatever its gold."""
    return _unread("over_context", document)


def _unread(status: Literal["unparseable", "over_context"], document: Document) -> Score:
    """No figures were read: every field is wrong. A null gold is not "missed", so its kind is "other"."""
    kinds = {name: "other" if document.gold[name] is None else "missed" for name in FIELDS}
    return Score(status=status, values=None, kinds=kinds, value=0.0)


def _kind(name: str, answer: Decimal | None, document: Document) -> str:
    gold = document.gold[name]
    if answer == gold:
        return "right"
    if answer is None:
        return "missed"
    if gold is None:
        return "hallucinated"
    traps = [(*trap_kind(trap), value) for trap, value in document.traps.items()]
    own = {kind for owner, kind, value in traps if owner in (name, None) and value == answer}
    if own:
        return min(own, key=KINDS.index)
    swapped = {_swap(name, other) for other in FIELDS if other != name and document.gold[other] == answer}
    if swapped:
        return min(swapped, key=KINDS.index)
    if answer == -gold:
        return "sign"
    if gold and any(
        abs(answer).scaleb(shift) == abs(gold) or abs(answer) == abs(gold).scaleb(shift) for shift in _SHIFTS
    ):
        return "scale"
    others = {kind for _, kind, value in traps if value == answer}
    unsigned = {kind for owner, kind, value in traps if owner in (name, None) and value == -answer}
    return min(others or unsigned or {"other"}, key=KINDS.index)


def _swap(name: str, other: str) -> str:
    return "gaap_adjusted_swap" if "adjusted" in (name, other) else "basic_diluted_swap"
