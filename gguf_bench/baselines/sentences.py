"""Figures per share in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from gguf_bench.baselines.words import PER_SHARE, Asked, Candidate, fields

_SENTENCE = re.compile(r"(?<=[a-z\d)%][.;!?])\s+(?=[A-Z“\"(])|(?<=[.;!?][”\")])\s+")
_BASIC_DILUTED = re.compile(r"\b(?:basic|diluted)\b")
_LOSS = re.compile(r"\bloss(?:es)?\b")
_PROFIT = re.compile(r"\b(?:income|earnings|profit|eps)\b")
_AMOUNT = re.compile(
    r"(?<![\d.,])(?P<open>[(−–-])?\s?(?:[a-z]{0,3}[$€£¥]\s?)?(?P<inside>[(−–-])?\s?"
    r"(?P<number>\d{0,3}\.\d{2,4}|\d{1,3}(?:\.\d{1,2})?(?=\s?(?:cents|¢|pence|cps)\b))(?![\d,]*\d)"
    r"\s?\)?(?P<cents>\s?(?:cents|¢|pence|cps))?(?!\s?(?:%|million|billion|percent))"
)
_SHARE_BEHIND = re.compile(
    r"[\s)]{0,3}(?:\(?(?:basic|diluted|and|/|,)\)?\s?){0,4}(?:per|a)\s+(?:[a-z\-]+\s+){0,4}(?:share|ads|unit)"
)
_KIND_BEHIND = re.compile(r"[\s)]{0,3}(?:for\s|\()?\s?(basic and diluted|basic|diluted)\b")
_PRIOR = re.compile(r"\b(?:compared|versus|vs|against|from|prior|previous|year[\s-]ago|last year|year earlier|than)\b")
_FROM, _TO = re.compile(r"\bfrom\b"), re.compile(r"\bto\W*$")
_AHEAD = re.compile(
    r"\bexpect\w*|\bguidance\b|\boutlook\b|\btarget\w*|\branges?\b|\bforecast\w*|\banticipat\w*|\bestimate[sd]?\b"
)
_ADJUSTED_WORDS = re.compile(
    r"\b(?:adjusted|non-?gaap|core|underlying|excluding|normali[sz]ed|without)\b|\bleaving out\b"
)
_NO_EARNINGS = re.compile(
    r"\b(?:dividends?|distributions?|ffo|affo|funds from operations|book value|asset value|cash flows?|charges?"
    r"|benefits?|impact|par value|comprehensive|pro forma|repurchase\w*|average price)\b"
)
_OTHER_LENGTH = {
    3: re.compile(
        r"\b(?:full|fiscal|whole)[\s-]year\b|\bfor the year\b|\b(?:six|nine|twelve)[\s-]months\b|"
        r"\byear[\s-]to[\s-]date\b|\bfirst half\b|\bannual"
    ),
    12: re.compile(r"\bquarter\b|\b(?:three|six|nine)[\s-]months\b"),
}


def sentences(line: str) -> list[str]:
    """A line in its own case, cut where a sentence ends and another begins."""
    return _SENTENCE.split(line)


def read_sentence(sentence: str, asked: Asked) -> Iterator[Candidate]:
    """Figures per share in a sentence in lower case, by the words before and behind each."""
    if ("share" not in sentence and "eps" not in sentence) or _AHEAD.search(sentence):
        return
    start, prior, carried = 0, False, ""
    for match in _AMOUNT.finditer(sentence):
        before = sentence[start : match.start()].replace("(loss)", "")
        start = match.end()
        if prior and _TO.search(before):  # from $0.40 a year ago to $0.42
            prior, before = False, _FROM.sub(" ", carried)
        else:
            prior = bool(_PRIOR.search(before)) or (prior and ";" not in before)
        carried = before
        behind = _SHARE_BEHIND.match(sentence, match.end(), match.end() + 120)
        if prior or not (behind or PER_SHARE.search(before)) or _NO_EARNINGS.search(before):
            continue
        figure = Decimal(match["number"]).scaleb(-2 if match["cents"] else 0)
        words = [*_LOSS.finditer(before), *_PROFIT.finditer(before)]
        lost = bool(words) and "loss" in max(words, key=lambda word: word.start())[0]
        if lost or match["open"] or match["inside"]:
            figure = -figure
        kind = _KIND_BEHIND.match(sentence, match.end())
        said = kind[1] if kind else " ".join(_BASIC_DILUTED.findall(before + (behind[0] if behind else "")))
        if _ADJUSTED_WORDS.search(before):
            said += " adjusted"
        other_period = asked.months in _OTHER_LENGTH and bool(_OTHER_LENGTH[asked.months].search(before))
        yield from fields(said, figure, 5.0 - 4 * other_period)
