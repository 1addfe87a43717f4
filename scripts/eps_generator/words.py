# ruff: noqa: E501  (a sentence with its figures is easier to read in one piece)
"""Invented names, dates and the sentences between the figures. Written for this project; no person is named."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

HEADS = (
    *(
        "Quell",
        "Varn",
        "Tessel",
        "Orrin",
        "Halden",
        "Brix",
        "Culver",
        "Dray",
        "Ember",
        "Fenwick",
        "Garro",
        "Hollis",
        "Irid",
    ),
    *(
        "Jorvik",
        "Keld",
        "Lumen",
        "Marrow",
        "Nettle",
        "Oster",
        "Pell",
        "Quarry",
        "Rusk",
        "Sable",
        "Thorn",
        "Umber",
        "Vesper",
    ),
    *("Wexley", "Yarrow", "Zephyr", "Alder", "Bram", "Cinder"),
)
TAILS = ("mark", "wick", "field", "stone", "well", "gate", "ridge", "ford", "haven", "bridge", "moor", "crest")
TRADES = {
    "Instruments": ("industrial sensors", "process analyzers", "calibration services"),
    "Foods": ("frozen vegetables", "ready meals", "bakery ingredients"),
    "Logistics": ("refrigerated freight", "parcel sorting", "warehouse leasing"),
    "Therapeutics": ("infusion pumps", "specialty injectables", "contract manufacturing"),
    "Software": ("billing software", "scheduling software", "hosting services"),
    "Materials": ("coated paper", "glass fiber", "specialty resins"),
    "Energy Services": ("well testing", "pressure control", "pipeline inspection"),
    "Properties": ("light industrial parks", "self-storage sites", "medical offices"),
    "Outfitters": ("work clothing", "footwear", "online sales"),
    "Marine": ("harbor tugs", "dredging", "ship repair"),
}
ENDINGS = ("Inc.", "Corporation", "Holdings, Inc.", "Group", "plc")
CITIES = (
    "Ashcombe",
    "Port Ellery",
    "Dunmore Falls",
    "Kestrel Bay",
    "Millhaven",
    "Norrington",
    "Salt Fork",
    "Upper Tarrin",
)
ORDINALS = ("first", "second", "third", "fourth")
LENGTHS = {3: "Three", 6: "Six", 9: "Nine", 12: "Twelve"}


@dataclass(frozen=True)
class Company:
    name: str
    short: str
    city: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Calendar:
    """The reported period: `quarter` 1 to 4 of fiscal `year`, which ends in month `last_month`."""

    quarter: int
    year: int
    last_month: int

    @property
    def fiscal(self) -> bool:
        return self.last_month != 12

    @property
    def label(self) -> str:
        return f"Q{self.quarter} {'FY' if self.fiscal else ''}{self.year}"

    @property
    def words(self) -> str:
        return f"{ORDINALS[self.quarter - 1]} quarter of {'fiscal ' if self.fiscal else ''}{self.year}"

    @property
    def title(self) -> str:
        return f"{ORDINALS[self.quarter - 1].title()} Quarter {'Fiscal ' if self.fiscal else ''}{self.year}"

    def end(self, back_years: int = 0) -> str:
        month = (self.last_month - 1 - 3 * (4 - self.quarter)) % 12 + 1
        year = self.year - back_years - (1 if month > self.last_month else 0)
        return f"{_MONTHS[month - 1]}, {year}"

    def head_date(self) -> str:
        return self.end().rsplit(",", 1)[0]

    def column_year(self, back_years: int = 0) -> str:
        return self.end(back_years).rsplit(" ", 1)[1]

    def quarter_label(self, back: int) -> str:
        index = self.year * 4 + self.quarter - 1 - back
        return f"Q{index % 4 + 1} {index // 4}"


_MONTHS = (
    *("January 31", "February 28", "March 31", "April 30", "May 31", "June 30"),
    *("July 31", "August 31", "September 30", "October 31", "November 30", "December 31"),
)


def draw_company(random: Random, taken: set[str], heads: tuple[str, ...]) -> Company:
    while True:
        short = random.choice(heads) + random.choice(TAILS)
        if short not in taken:
            break
    taken.add(short)
    trade = random.choice(sorted(TRADES))
    return Company(f"{short} {trade} {random.choice(ENDINGS)}", short, random.choice(CITIES), TRADES[trade])


def draw_calendar(random: Random) -> Calendar:
    return Calendar(random.randrange(1, 5), random.randrange(2016, 2025), random.choice((12,) * 6 + (6, 9, 1)))


def management_words(random: Random, company: Company) -> str:
    """A paragraph without a figure that could be mistaken for one per share."""
    line, other = random.sample(company.lines, 2)
    openings = (
        f"Demand for {line} held up through the period, while {other} saw slower orders after an early start.",
        f"Management said that {line} gained from new contracts and that {other} worked through older stock.",
        f"The company moved part of its {line} business to a single site and began to renew its {other} equipment.",
        f"Prices in {line} rose in step with costs; in {other}, longer terms delayed part of the effect.",
        f"Two large customers of {line} renewed for {random.randrange(2, 6)} years, and {other} opened {random.randrange(2, 9)} locations.",
        f"Weather closed several {line} locations for {random.randrange(3, 12)} days, which was largely made up in {other}.",
    )
    middles = (
        "Freight and labor costs eased from the levels of a year before, and overtime fell.",
        f"Headcount at the end of the period was {random.randrange(900, 19_000):,}, little changed from the previous year.",
        f"Backlog stood at {random.randrange(40, 900)} orders, of which about {random.randrange(55, 90)}% should ship within a year.",
        f"The order book covers roughly {random.randrange(4, 11)} months of capacity at the present pace.",
        "Working capital rose because receivables were collected later than planned.",
    )
    ends = (
        "The chief executive officer said that the year had begun as planned and that the priorities were unchanged.",
        "The chief financial officer said that capital spending would stay close to depreciation.",
        "The board reviewed the plan in its latest meeting and left it as it was.",
        "No single customer accounted for more than a tenth of sales.",
    )
    return f"{random.choice(openings)} {random.choice(middles)} {random.choice(ends)}"


BOILERPLATE = (
    "Forward-Looking Statements\n"
    "Parts of this release speak of the future: of orders, costs, markets and plans. They rest on what the company knows today "
    "and can turn out otherwise, because of demand, prices, weather, suppliers, courts, interest rates or currencies. The "
    "company does not promise to correct them later. Its annual report describes the risks at length.",
    "Use of Non-GAAP Measures\n"
    "Alongside the figures required by accounting rules the company shows adjusted ones, which leave out items that management "
    "does not regard as part of ordinary business. Other companies may reckon them differently. They add to, and do not replace, "
    "the statements, and each is reconciled below to the nearest required figure.",
    "Conference Call\n"
    "A call for investors takes place on the morning after this release. It can be followed live and later on the company's "
    "website, where the slides are available as well. Questions are taken from analysts first.",
    "Basis of Presentation\n"
    "The statements are condensed and unaudited. Certain amounts of earlier periods were regrouped to match the present layout, "
    "without effect on net income. Columns may not add because of rounding.",
    "Seasonality\n"
    "Sales of the company follow the calendar of its customers, so that one quarter says little about the next, and a "
    "comparison with the same quarter of the year before is usually the better guide.",
    "Liquidity\n"
    "The company finances itself from operations and a committed credit line, of which a small part was drawn at the end "
    "of the period. It was in compliance with the terms of all its borrowings.",
)
