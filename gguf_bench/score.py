"""SCORE. What a model wrote -> its three figures -> right, or the kind of error. Pure: no model, file or clock.

`parse` reads what models really write: a JSON object anywhere in the output, with the liberties listed there.
`score_answer` compares in `Decimal`, exactly: a figure that was not printed is not right, however near it is. (Among
79 real releases, a tolerance of one cent would have accepted another printed figure in 20.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from gguf_bench.records import FIELDS, Document, Score

SCORER_VERSION = "3"
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
_SPELLINGS = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'"}  # typographic quotes
    | {"：": ":", "，": ",", "（": "(", "）": ")", "＄": "$"}  # wide forms, as Chinese models write them
    | dict.fromkeys("\u00a0\u202f\u2009", " ")
    | dict.fromkeys("\u200b\u2060\ufeff")  # of no width
)
_THOUGHT = "think|thinking|thought|reasoning|reflection|scratchpad|seed:think"
_THINKING_ENDS = re.compile(
    rf"</(?:{_THOUGHT})>|\[/think\]|<\|end_of_thought\|>|<\|channel\|>final<\|message\|>", re.IGNORECASE
)
_THINKING_BEGINS = re.compile(
    rf"<(?:{_THOUGHT})>|\[think\]|<\|begin_of_thought\|>|<\|channel\|>(?:analysis|commentary)", re.IGNORECASE
)
_TURN_ENDS = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|end|endoftext|end_of_text|return|user)\|>|</s>|<eos>|<end_of_turn>|\[INST\]"
    r"|<\|im_start\|>user|<start_of_turn>user|<\|start_header_id\|>user|<｜end▁of▁sentence｜>"
    r"|^[ \t]*(?:\#{1,3}[ ]?)?(?:Human|HUMAN|User|USER|Instruction):",
    re.MULTILINE,
)

# Every alternative takes what it can without giving back, and an unclosed string or comment runs to the end, so that no
# character is looked at more than a fixed number of times. A comma between digits in threes belongs to the number.
_TOKEN = re.compile(
    r"""
      (?P<blank>   \s++ | (?://|\#)[^\n]*+ | /\*(?:[^*]++|\*(?!/))*+(?:\*/)? )
    | (?P<string>  "(?:[^"\\]++|\\.)*+"? | '(?:[^'\\\n]++|\\.)*+'? )
    | (?P<mark>    [{}\[\]:,] )
    | (?P<bare>    (?: [^"{}\[\],:\n/#] | /(?![/*]) | (?<=[0-9]),(?=[0-9]{3}(?![0-9])) )++ )
    | (?P<rest>    . )
    """,
    re.VERBOSE | re.DOTALL,
)
_OUTERMOST = re.compile(r"\{|\[\s*+(?=\{)")  # a list of objects is one thing; other square brackets outside are prose
_UNICODE_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_ESCAPED = re.compile(r"\\([\\\"n])")
_QUOTED_OBJECT = re.compile(r'"\s*+\{(?:[^"\\]++|\\.)*+"', re.DOTALL)


@dataclass(slots=True)
class _Frame:
    """An object or a list. `pending` is what has been read since the last comma or colon.

    `items` are the first two values without a key (more than one is as bad as many); `names_fields`: a key in it, at
    any depth, is one of the three.
    """

    opened_by: str
    key: str | None = None
    pending: list[str | _Frame] = field(default_factory=list)
    members: dict[str, str | _Frame | None] = field(default_factory=dict)
    items: list[str | _Frame] = field(default_factory=list)
    broken: bool = False
    names_fields: bool = False

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
        else:
            self.items = [*self.items, *self.pending[:2]][:2]
        self.key, self.pending = None, []

    def _put(self, key: str, value: list[str | _Frame]) -> None:
        self.members[key] = value[0] if len(value) == 1 else None
        self.names_fields = self.names_fields or bool(_fields_of(key))


def parse(output: str) -> dict[str, Decimal | None] | None:
    """The three figures of an output, or None where it holds no answer (unparseable).

    An answer is a closed JSON object with at least one of the three keys; a key left out counts as null. Taken too:
    code fences and prose around it, trailing and forgotten commas, comments (`//`, `#`, `/* */`), single, typographic
    and escaped quotes, Python's None, {"value": ...} or a list of one in place of a number, key variants ("basic_eps",
    "adjustedEPS", "Diluted EPS (Q3 2023)", "Non-GAAP diluted earnings per share"), the figures that `read_figure`
    takes, and a note behind one that agrees with its key ("0.60 (non-GAAP)"). Text inside <think> blocks is no answer,
    and what follows an unclosed one is all thinking; of what a </think> without a beginning parts, the last part with
    a brace counts. Of an output that goes on to another turn of the conversation only the first turn counts.

    Only an outermost object counts, or the one object in it that names the fields, where the keys beside it name none
    ({"company": "X", "eps": {...}}, a list of one). Where more than one object names them, it is not for a parser to
    guess which was meant: this year's or last year's, GAAP or adjusted. Outermost objects that share no field are
    one answer (JSON lines); of others the one with the most of the three keys counts, and of those the last: models
    that correct themselves do it later.

    Within an object the key itself ("basic") counts before a variant, and variants must agree. An object in which one
    of the three values cannot be read is no answer at all: what cannot be read must not pass for "not disclosed".
    Neither is an object cut off before its end, whose last number may be cut as well. Text without an object is none,
    whatever stands in it: releases are full of lines like "Diluted EPS: $0.57", and one copied is no answer. Takes
    time linear in the output, whatever is in it.
    """
    text = _spoken(output.translate(_SPELLINGS))
    found = _answers(text)
    if not found and '\\"' in text:  # JSON in a string of JSON, or escaped as if it were
        quoted = [match.group()[1:-1] for match in _QUOTED_OBJECT.finditer(text)]
        found = [figures for part in quoted or [text] for figures in _answers(_ESCAPED.sub(_unescape, part))]
    if not found:
        return None
    named = [name for figures in found for name in figures]
    if len(named) == len(set(named)):
        figures = {name: figure for part in found for name, figure in part.items()}
    else:
        figures = max(reversed(found), key=len)
    return {name: figures.get(name) for name in FIELDS}


def _spoken(output: str) -> str:
    """What of an output may hold the answer: the first turn with a brace outside of thinking."""
    return next((spoken for turn in _TURN_ENDS.split(output) if (spoken := _after_thinking(turn))), "")


def _after_thinking(output: str) -> str:
    for part in reversed(_THINKING_ENDS.split(output)):
        begin = _THINKING_BEGINS.search(part)
        spoken = part[: begin.start()] if begin else part
        if "{" in spoken:
            return spoken
    return ""


def _unescape(escaped: re.Match[str]) -> str:
    return "\n" if escaped.group(1) == "n" else escaped.group(1)


def _answers(text: str) -> list[dict[str, Decimal | None]]:
    """The figures of every outermost object that can be read and has some."""
    found = []
    for frame in _outermost(text):
        if frame.names_fields:
            with suppress(ValueError):
                found.append(_read(_unwrapped(frame)))
    return [figures for figures in found if figures]


def _outermost(text: str) -> Iterator[_Frame]:
    """The closed objects, and lists of objects, of `text` that stand in no other, in their order.

    A brace in the prose that is never closed hides nothing. What nests deeper than any answer ends the reading.
    """
    stack: list[_Frame] = []
    position = 0
    while position < len(text):
        if not stack:
            start = _OUTERMOST.search(text, position)
            if start is None:
                return
            position = start.start()
        token = _TOKEN.match(text, position)
        if token is None:
            return
        position = token.end()
        kind, taken = token.lastgroup, token.group()
        if taken in ("{", "["):
            stack.append(_Frame(taken))
            if len(stack) > _MAX_DEPTH:
                return
        elif taken in ("}", "]"):
            closed = _closed(stack, "{" if taken == "}" else "[")
            if closed and stack:
                stack[-1].pending.append(closed)
                stack[-1].names_fields = stack[-1].names_fields or closed.names_fields
            elif closed:
                yield closed
        elif taken == ":":
            stack[-1].colon()
        elif taken == ",":
            stack[-1].comma_or_end()
        elif kind == "string":
            stack[-1].pending.append(_unescaped(taken))
        elif kind in ("bare", "rest"):
            stack[-1].pending.append(taken.strip(" \t\r;"))
    if len(stack) == 1 and not (stack[0].key or stack[0].members or stack[0].items or stack[0].broken):
        inside = [part for part in stack[0].pending if isinstance(part, _Frame)]
        if len(inside) == 1:
            yield inside[0]


def _closed(stack: list[_Frame], opener: str) -> _Frame | None:
    """The frame that a bracket closes, taken off; None where none was open. A wrong bracket breaks the rest."""
    if all(frame.opened_by != opener for frame in stack):
        stack[-1].broken = True
        return None
    closed = stack.pop()
    while closed.opened_by != opener:
        stack[-1].broken = True
        stack[-1].names_fields = stack[-1].names_fields or closed.names_fields
        closed = stack.pop()
    closed.comma_or_end()
    return closed


_OTHER_ANSWERS = {
    *("basic", "diluted", "adjusted", "adj", "non", "nongaap", "core", "underlying", "normalized", "pro", "forma"),
    *("prior", "previous", "prev", "last", "ago", "py", "pq", "comparative", "date", "ytd", "ttm", "ltm"),
    *("guidance", "outlook", "forecast", "expected", "example", "schema", "continuing", "discontinued"),
}
"""A wrapper with one of these words does not hold the three figures that were asked for ("date": year to date)."""


def _unwrapped(frame: _Frame) -> Mapping[str, str | _Frame | None]:
    """The members of the object that `frame` is, or of the one object in it that names fields.

    ValueError where it is no one object: keys of fields, or other objects with such, beside it leave it open which.
    """
    while not frame.broken:
        items: list[tuple[str, str | _Frame | None]] = [("", item) for item in frame.items]
        inside = [*items, *frame.members.items()]
        objects = [(key, part) for key, part in inside if isinstance(part, _Frame) and part.names_fields]
        if not objects and not items and frame.opened_by == "{":
            return frame.members
        if len(objects) != 1 or len(items) > (len(inside) == 1) or any(_fields_of(key) for key in frame.members):
            break
        ((key, frame),) = objects
        if _words(key) & _OTHER_ANSWERS:
            break
    raise ValueError("not one object")


def _unescaped(quoted: str) -> str:
    inside = quoted[1:-1] if len(quoted) > 1 and quoted[-1] == quoted[0] else quoted[1:]
    return _UNICODE_ESCAPE.sub(lambda match: chr(int(match.group(1), 16)), inside)


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_FIELD_WORDS = {"basic", "diluted", "adjusted", "adj"}
_NOTE_WORDS = {
    *("eps", "gaap", "non", "per", "share", "common", "ordinary", "ads", "reported", "unaudited", "and", "in"),
    *("us", "usd", "dollars"),
}
_GAINS = {"earnings", "income", "profit"}
_PERIOD_WORDS = {
    *("q", "fy", "h", "quarter", "quarterly", "first", "second", "third", "fourth", "half", "fiscal", "full", "year"),
    *("period", "three", "six", "nine", "twelve", "months", "ended", "ending", "current", "this", "the", "for", "of"),
    *("in", "january", "february", "march", "april", "may", "june", "july", "august", "september", "october"),
    *("november", "december", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"),
}
_HOLDERS = {"attributable", "available", "to", "stockholders", "shareholders", "holders", "owners", "parent"}
_OTHER_KEY_WORDS = _NOTE_WORDS | _GAINS | _PERIOD_WORDS | _HOLDERS | {"loss", "net", "value", "amount", "figure"}
_DATE_NUMBER = re.compile(r"[0-9]{1,2}|(?:19|20)[0-9]{2}")
_LONGEST_KEY = 80


def _words(key: str) -> set[str]:
    key = key[:_LONGEST_KEY].replace("nongaap", "non gaap").replace("nonGAAP", "non GAAP")
    return {word.lower() for word in _WORD.findall(key)}


def _fields_of(key: str) -> tuple[str, ...]:
    """Which of FIELDS a key means: none for "diluted_shares", "basic_prior_year" or "adjusted_earnings"."""
    if len(key) > _LONGEST_KEY or "%" in key:
        return ()
    words = {word for word in _words(key) if not _DATE_NUMBER.fullmatch(word)}
    rest = words - _FIELD_WORDS
    if not rest <= _OTHER_KEY_WORDS or (rest & (_GAINS | {"net", "loss"}) and not rest & {"share", "eps", "ads"}):
        return ()
    if words & {"adjusted", "adj"} or {"non", "gaap"} <= words:
        return ("adjusted",) if "basic" not in words or "diluted" in words else ()
    return tuple(name for name in ("basic", "diluted") if name in words)


def _read(members: Mapping[str, str | _Frame | None]) -> dict[str, Decimal | None]:
    """The figures of an object, without the fields it leaves out; ValueError where one cannot be read."""
    exact: dict[str, Decimal | None] = {}
    variants: dict[str, set[Decimal | None]] = {}
    named = [(key, value, _fields_of(key)) for key, value in members.items()]
    plain = {key: key.strip(" *`").lower() for key, _, names in named if names}
    taken = set(plain.values())
    for key, value, names in named:
        for name in names:
            if plain[key] == name:
                exact[name] = _value(value, name)
            elif name not in taken:
                variants.setdefault(name, set()).add(_under(key, _value(value, name)))
    if any(len(figures) > 1 for figures in variants.values()):
        raise ValueError("variants of one key differ")
    return {name: figure for name, (figure,) in variants.items()} | exact


def _under(key: str, figure: Decimal | None) -> Decimal | None:
    """`figure`, unless its sign is anyone's guess: a positive one under "basic loss per share"."""
    words = _words(key)
    if figure and figure > 0 and "loss" in words and not words & _GAINS:
        raise ValueError("a loss without a sign")
    return figure


def _value(value: str | _Frame | None, name: str) -> Decimal | None:
    unit = ""
    if isinstance(value, _Frame):
        value, unit = _amount(value)
    if value is None or isinstance(value, _Frame):
        raise ValueError("not one value")
    figure, _, note = value.strip().rpartition("(")
    written = figure if figure.strip() and _agrees(note, name) else value
    is_bare = unit and _BARE_NUMBER.fullmatch(written.strip())
    return read_figure(f"{written.strip()} {unit}" if is_bare else written)


_BARE_NUMBER = re.compile(r"[-+]?[0-9.,]{1,20}")


def _amount(frame: _Frame) -> tuple[str | _Frame | None, str]:
    """(value, unit or "") of {"value": ..., "unit": ...}, or of a list of one."""
    if frame.broken or (frame.items and (len(frame.items) > 1 or frame.members)):
        raise ValueError("more than one value")
    if frame.items:
        return frame.items[0], ""
    members = {key.lower(): inner for key, inner in frame.members.items()}
    amounts = [members[key] for key in ("value", "amount", "eps") if key in members]
    unit = members.get("unit") or ""
    if len(amounts) != 1 or len(members) < len(frame.members) or isinstance(unit, _Frame):
        raise ValueError("an object without one value")
    return amounts[0], unit


def _agrees(note: str, name: str) -> bool:
    """Whether a note, "diluted)", says what the key of its figure says, as this does under diluted and adjusted."""
    words = _words(note)
    if not re.fullmatch(r"[A-Za-z ,/&-]{1,40}\)", note) or not words or words - _FIELD_WORDS - _NOTE_WORDS:
        return False
    if words & {"adjusted", "adj", "non"}:
        return name == "adjusted" and ("basic" not in words or "diluted" in words)
    if "gaap" in words and name == "adjusted":
        return False
    kinds = words & {"basic", "diluted"}
    return not kinds or ("basic" if name == "basic" else "diluted") in kinds


_MINUS = str.maketrans(dict.fromkeys("−–—‒﹣－", "-"))
_NOT_GIVEN = re.compile(
    r"""(?: (?:was|is)\ )? (?: not | none | never )
    (?: \ (?: explicitly | separately | specifically | directly | clearly ) )?
    \ (?: disclosed | reported | provided | available | applicable | given | stated | found | mentioned | specified
      | meaningful | presented | shown | included | listed | present | known )
    (?: \ (?: in | by | for | within ) (?: \ [a-z]{1,15} ){0,5} (?: \ q[1-4] )? (?: \ (?:19|20)[0-9]{2} )? )?""",
    re.VERBOSE,
)
_NOTHING = {
    *("null", "none", "nil", "nan", "na", "n/a", "n.a", "nm", "n/m", "n.m", "nd", "n/d", "not", "no"),
    *("never", "cannot", "unknown", "undefined", "unavailable", "undisclosed", "unreported", "unspecified", "missing"),
    *("absent", "blank", "empty", "without", "isn't", "wasn't", "doesn't", "didn't"),
}
_SAID_OF_NOTHING = {
    *("a", "an", "the", "this", "that", "any", "it", "is", "was", "are", "were", "be", "been", "has", "have", "does"),
    *("did", "do", "can", "could", "in", "by", "for", "from", "of", "on", "to", "within", "and", "as", "so"),
    *("explicitly", "separately", "specifically", "directly", "clearly", "found", "given", "known", "present"),
    *("disclosed", "reported", "provided", "available", "applicable", "stated", "mentioned", "specified", "presented"),
    *("shown", "included", "listed", "determined", "determinable", "calculable", "calculated", "meaningful"),
    *("disclose", "report", "provide", "state", "mention", "present", "give", "specify", "include", "separate"),
    *("basic", "diluted", "adjusted", "non", "gaap", "eps", "earnings", "per", "share", "figure", "figures", "value"),
    *("amount", "measure", "measures", "data", "information", "company", "release", "press", "document"),
    *("text", "excerpt", "statement", "statements", "filing", "table", "source", "context", "quarter", "period"),
    *("year", "financial", "results", "q1", "q2", "q3", "q4"),
}
_BETWEEN_WORDS = re.compile(r"[ ,;:()&-]+|(?<!\bn)/|/(?![amd]\b)")  # n/a is one word
_YEAR = re.compile(r"(?:19|20)[0-9]{2}")
_LONGEST_FIGURE, _LONGEST_REASON = 60, 200
_CURRENCY = r"""(?: (?:us\ ?|c|a|nz|hk|s|ca|au|r|nt|mx)?\$ | € | £ | (?:cn|jp)?¥ | ₹ | ₩ | rs\.? | kr\.? | chf | usd
    | eur | gbp | cad | aud | nzd | jpy | sek | nok | dkk | inr | rmb | cny | hkd | twd | sgd | krw | brl | mxn | zar
    | pln )"""
_FIGURE = re.compile(
    rf"""
    (?: (?P<loss> (?:a\ )? (?:net\ )? loss (?:\ per\ share)? (?:\ of)? \ )
      | (?:net\ )? (?:earnings|income|profit|eps) (?:\ per\ share)? (?:\ of|:)\  )?
    (?P<sign> [-+] | minus\  | negative\  )? \s? (?: {_CURRENCY} \s? (?P<inner_sign> [-+] )? )?
    (?: (?P<open> \( ) \s? (?P<in_sign> - )? (?: {_CURRENCY} \s? )? )?
    (?P<number> (?: [1-9][0-9]{{0,2}} (?:,[0-9]{{3}})+ | [0-9]+ ) (?: \.[0-9]* )? | \.[0-9]+
      | [0-9]+,[0-9]{{1,2}} | 0,[0-9]{{3}} )
    (?P<exponent> e[-+]?[0-9]{{1,2}} )?
    \s? (?P<close> \) )? \s?
    (?P<unit> (?:(?:us|euro)\ )?cents? | ¢ | c | p | pence | cps | thousand | million | billion )? \s?
    (?P<close_late> \) )? \s? {_CURRENCY}? \s? (?: dollars? | euros? | pounds? )? \s?
    (?P<late_loss> (?:net\ )? loss | \( (?:net\ )? loss \) )? \s?
    (?: (?: (?:per|a)\  | /\s? ) (?:(?:basic|diluted|common|ordinary) \ ){{0,3}} (?: share | ads ) | \ ?eps )? \.?
    """,
    re.VERBOSE,
)
_UNITS = {"thousand": 3, "million": 6, "billion": 9}


def _says_nothing(text: str) -> bool:
    """Whether a value in lower case says that there is no figure: a dash, "n/a", "no adjusted EPS was reported"."""
    if len(text) > _LONGEST_REASON or text.count("(") != text.count(")"):
        return False
    words = {word.strip(".") for word in _BETWEEN_WORDS.split(text)} - {""}
    if not words:
        return not text.strip("- ")
    others = {word for word in words - _NOTHING - _SAID_OF_NOTHING if not _YEAR.fullmatch(word)}
    return bool(words & _NOTHING and not others) or _NOT_GIVEN.fullmatch(text.removesuffix(".")) is not None


def read_figure(written: str) -> Decimal | None:
    """The number a value says, None where it says that there is none; ValueError where it is neither.

    Parentheses, any dash before the number, "minus", "negative" and "loss" mean negative. Currency signs, thousands
    commas, asterisks around it and "per diluted share" are dropped; "42 cents" and "42p" are 0.42. A comma is a decimal
    comma before one or two last digits, and in 0,570: no thousands begin with 0.
    No figure: percentages, ranges, two numbers, more than 20 digits, exponents beyond ±12.
    """
    text = " ".join(written.translate(_MINUS).lower().split())
    text = text.strip("*").strip() or text
    if _says_nothing(text):
        return None
    if len(text) > _LONGEST_FIGURE:
        raise ValueError("too long for a figure")
    match = _FIGURE.fullmatch(text)
    if match is None:
        raise ValueError(f"no figure: {text!r}")
    digits = match["number"]
    digits = (
        digits.replace(",", ".") if re.fullmatch(r"[0-9]+,[0-9]{1,2}|0,[0-9]{3}", digits) else digits.replace(",", "")
    )
    power = int(match["exponent"][1:]) if match["exponent"] else 0
    closed = bool(match["close"] or match["close_late"])
    if len(digits) > 20 or abs(power) > 12 or bool(match["open"]) != closed:
        raise ValueError(f"no figure: {text!r}")
    if unit := match["unit"]:
        power += _UNITS.get(unit, -2)
    signs = (match["sign"], match["inner_sign"], match["in_sign"])
    negative = match["loss"] or match["late_loss"] or match["open"] or any(sign and sign != "+" for sign in signs)
    return Decimal(("-" if negative else "") + digits).scaleb(power)


# ---------------------------------------------------------------------------------------------------------------- score

_TRAP_KINDS = (
    (re.compile(r"py[0-9]*|pq|pp|q-[0-9]+|prior|previous"), "prior_period"),
    (re.compile(r"ytd|fy|ltm|ttm|[0-9]+m|h[12]|q[1-4]|year|annual"), "year_to_date"),
    (re.compile(r"basic|diluted"), "basic_diluted_swap"),
    (re.compile(r"gaap|adjusted"), "gaap_adjusted_swap"),
)
_SHIFTS = (1, 2, 3, 6)


@lru_cache(maxsize=4096)
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
    trap of the same field, or the gold of another, with its sign lost or in cents · other.
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
    own = [(kind, value) for owner, kind, value in traps if owner in (name, None)]
    rivals = [(_swap(name, other), document.gold[other]) for other in FIELDS if other != name]
    if known := _first(own, {answer}) or _first(rivals, {answer}):
        return known
    if answer == -gold:
        return "sign"
    if gold and any(
        abs(answer).scaleb(shift) == abs(gold) or abs(answer) == abs(gold).scaleb(shift) for shift in _SHIFTS
    ):
        return "scale"
    others = [(kind, value) for _, kind, value in traps]
    twice_wrong = {-answer, answer.scaleb(-2), -answer.scaleb(-2)}  # its sign lost, or cents for dollars
    return _first(others, {answer}) or _first(own, twice_wrong) or _first(rivals, twice_wrong) or "other"


def _first(figures: Iterable[tuple[str, Decimal | None]], wanted: set[Decimal]) -> str | None:
    """The kind of the figures that are in `wanted`, of several the first in KINDS; None where there is none."""
    return min((kind for kind, figure in figures if figure in wanted), key=KINDS.index, default=None)


def _swap(name: str, other: str) -> str:
    return "gaap_adjusted_swap" if "adjusted" in (name, other) else "basic_diluted_swap"
