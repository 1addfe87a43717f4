# ruff: noqa: E501  (a sentence with its figures is easier to read in one piece)
"""Releases of other kinds, which report no earnings per share: dividends, contracts, changes of office, forecasts."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

from scripts.eps_generator import words
from scripts.eps_generator.ledger import FIELDS
from scripts.eps_generator.names import Calendar, Company
from scripts.eps_generator.style import Style

KINDS = ("dividend", "contract", "officer", "notes", "forecast", "sales", "meeting")


def without_eps(
    tier: str, identity: str, number: int, random: Random, company: Company, calendar: Calendar, style: Style
) -> dict[str, Any]:
    """A record without any gold figure."""
    kind = KINDS[number % len(KINDS)]
    place = company.city
    line, other, third = company.lines
    traps: dict[str, Decimal] = {}

    def per_share(name: str, low: int, high: int) -> str:
        traps[name] = Decimal(random.randrange(low, high)).scaleb(-2)
        return f"{style.symbol}{traps[name]}"

    million = f"{style.symbol}{random.randrange(20, 900)} million"
    if kind == "dividend":
        title = f"{company.name} Declares Dividend"
        body = (
            f"{place}: The board of directors of {company.name} declared a dividend of {per_share('dividend', 5, 60)} per share, payable to holders of record at the end of "
            f"the month. The previous dividend was {per_share('dividend_before', 3, 58)} per share. Results for the {calendar.words} will be published in the coming weeks."
        )
    elif kind == "contract":
        title = f"{company.name} Wins Contract for {line.title()}"
        body = f"{place}: {company.name} signed a contract for {line} that runs {random.randrange(2, 8)} years and is worth about {million}. Work begins in the {calendar.words}. The customer was not named."
    elif kind == "officer":
        title = f"{company.name} Names New Chief Financial Officer"
        body = (
            f"{place}: {company.name} named a new chief financial officer, who comes from a maker of {other} and starts within {random.randrange(3, 12)} weeks. The new officer receives awards worth {million.replace('million', 'thousand')} "
            f"and options with an exercise price of {per_share('option_price', 900, 9000)} per share."
        )
    elif kind == "notes":
        title = f"{company.name} Prices Convertible Notes"
        body = (
            f"{place}: {company.name} priced {million} of {random.randrange(2, 7)}.{random.randrange(1, 9)}25% convertible notes. The conversion price is {per_share('conversion_price', 1500, 9000)} per share; "
            f"the last sale of the stock was at {per_share('stock_price', 900, 1499)} per share."
        )
    elif kind == "forecast":
        title = f"{company.name} Updates Forecast for the Year"
        low = random.randrange(110, 500)
        traps |= {
            "guidance_low": Decimal(low).scaleb(-2),
            "guidance_high": Decimal(low + random.randrange(8, 30)).scaleb(-2),
        }
        body = (
            f"{place}: {company.name} now expects diluted earnings per share for the year between {style.symbol}{traps['guidance_low']} and {style.symbol}{traps['guidance_high']}, because {line} "
            f"sell better than planned. No results are given in this release; those of the {calendar.words} follow next month."
        )
    elif kind == "sales":
        title = f"{company.name} Gives Preliminary Sales"
        body = (
            f"{place}: Sales of {company.name} for the {calendar.words} were about {million}, before the close of the books. Sales of {line} rose by {random.randrange(2, 14)}.{random.randrange(1, 9)}% and those "
            f"of {other} fell slightly. Earnings are not available yet."
        )
    else:
        title = f"{company.name} Holds Annual Meeting"
        body = f"{place}: Shareholders of {company.name} elected {random.randrange(6, 11)} directors and approved the auditor. They also raised the authorized capital, with a par value of {per_share('par_value', 1, 10)} per share."
    parts = [title, body]
    if tier != "plain":
        votes = [random.randrange(30, 90) * 1_000_000 + random.randrange(1_000_000) for _ in range(4)]
        rows = [["Proposal", "Votes for", "Votes against"]]
        rows += [
            [f"Proposal {i + 1}", f"{vote:,}", f"{vote // random.randrange(8, 40):,}"] for i, vote in enumerate(votes)
        ]
        if kind in ("meeting", "dividend"):
            parts.append(f"Voting Results\n{style.table(rows)}")
        parts.append(
            f"New location\nThe company will move its {other} business to a new building of {random.randrange(9, 60)},000 square feet."
        )
        if kind != "notes":
            parts.append(
                f"Financing\nThe company's credit line of {million} was extended by {random.randrange(2, 5)} years."
            )
    fill = {
        "line1": line, "line2": other, "line3": third, "line1c": line.capitalize(), "line2c": other.capitalize(), "line3c": third.capitalize(),
        "capital": million, "co": company.short, "name": company.name, "town": place.split(",")[0].title(), "ticker": company.ticker,
    }  # fmt: skip

    def filled(template: str) -> str:
        numbers = {
            "n1": random.randrange(2, 19),
            "n2": random.randrange(2, 9),
            "n3": random.randrange(31, 79),
            "n4": f"{random.randrange(1_100, 19_000):,}",
            "n5": random.randrange(40, 900),
            "rate": f"{random.uniform(1, 9):.1f}",
            "n6": random.randrange(4, 10),
        }
        return template.format(**fill, **numbers)

    special = {"bank": words.BANK_PROSE, "realty": words.REALTY_PROSE}
    prose = list(special.get(company.sector.books, words.PROSE))
    random.shuffle(prose)
    sentences = {"plain": 1, "ordinary": random.randrange(14, 22), "hard": len(words.PROSE) - 1}[tier]
    chosen = [filled(template) for template in prose[:sentences]]
    parts += [" ".join(chosen[i : i + 5]) for i in range(0, len(chosen), 5)]
    if tier != "plain":
        picks = random.sample(range(1, len(words.BOILERPLATE)), 5 if tier == "hard" else 1)
        parts += [
            f"{random.choice(words.BOILERPLATE[i])}\n{filled(random.choice(words.BOILERPLATE_TEXTS[i]))}"
            for i in (*picks, 0)
            if i != 1
        ]
        parts.append(filled(random.choice(words.ABOUT)))
    return {
        "id": identity,
        "company": company.name,
        "period": calendar.label if number % 2 else None,
        "text": ("\n\n" if tier != "plain" else "\n").join(parts),
        "gold": dict.fromkeys(FIELDS),
        "traps": {name: str(value) for name, value in traps.items()},
        "tags": sorted(("no_eps_in_document", "other_release", f"other_{kind}")),
        "tier": tier,
        "source": {"kind": "generated", "theme": "other", "ledger": None},
    }
